"""Merging of output folders."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from sample_records import sample_record, sample_score

from benchmark.errors import BenchError, RecordError, UsageError
from benchmark.records import locks, merge
from benchmark.records.merge_folder import merge_folder, recover_abandoned
from benchmark.records.record import CURVE, LOG, MODEL, PREDICTIONS, SCHEMA_VERSION, Record
from benchmark.records.record_files import read_records, write_record
from benchmark.reports.environments import environment_report


def put(out: Path, record: Record) -> Path:
    """A cell folder whose weights hold the name of its output folder."""
    folder = out / f"cell-{record.id[:10]}"
    write_record(folder, record)
    (folder / MODEL).write_bytes(str(out).encode())
    (folder / CURVE).write_text("epoch,loss\n1,2\n")
    return folder


def _scored(value: float = 0.5, seed: int = 0, time: str = "2026-01-01T00:00:00+00:00", **words: Any) -> Record:
    record = sample_record(seed=seed, scores=(sample_score(value),), **words)
    return dataclasses.replace(record, provenance={**record.provenance, "time": time, "torch": "2.15.0"})


def _state(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and when it was changed."""
    return {
        str(path.relative_to(folder)): path.read_bytes() + str(path.stat().st_mtime_ns).encode()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Folders of two machines that share a cell, and a target."""
    a, b = tmp_path / "a", tmp_path / "b"
    for seed in (0, 1):
        put(a, _scored(seed=seed))
    for seed in (1, 2):
        put(b, _scored(seed=seed))
    return a, b, tmp_path / "to"


def test_merge_copies_the_cells_of_all_sources_once(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    before = _state(a), _state(b)
    result = merge.merge([a, b], to)
    assert (result.copied, result.kept, result.duplicates, result.left_out) == (3, 0, 1, ())
    records, problems = read_records(to)
    assert (sorted(record.cell["seed"] for record in records), problems) == ([0, 1, 2], [])
    assert (_state(a), _state(b)) == before, "sources stay as they are"
    assert sorted(path.name for path in to.iterdir()) == sorted(Path(record.folder).name for record in records)
    by_seed = {record.cell["seed"]: (Path(record.folder) / MODEL).read_text() for record in records}
    assert by_seed == {0: str(a), 1: str(a), 2: str(b)}, "each with its own weights; of equals, the first"
    assert all((Path(record.folder) / CURVE).exists() for record in records)


def test_environment_report_counts_cells_by_device_precision_and_torch(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    record = _scored(seed=7)
    on_gpu = {**record.provenance, "device": "cuda", "device_name": "NVIDIA H100", "precision": "bfloat16"}
    put(b, dataclasses.replace(record, provenance=on_gpu))
    (table,) = environment_report(merge.merge([a, b], to).records).tables()
    assert table.rows == (
        ("cpu", "-", "-", "2.15.0", "-", "3"),
        ("cuda", "NVIDIA H100", "bfloat16", "2.15.0", "-", "1"),
    )
    assert table.notes


def test_repeated_merge_changes_nothing_and_another_source_is_added(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    merge.merge([a], to)
    before = _state(to)
    assert merge.merge([a], to).copied == 0
    assert _state(to) == before
    result = merge.merge([b], to)
    assert (result.copied, result.kept) == (1, 2)
    assert before.items() <= _state(to).items()


def _refused(sources: list[Path], to: Path, *words: str, prefer: str | None = None, kind: type = RecordError) -> None:
    before = _state(to) if to.exists() else None
    with pytest.raises(BenchError) as caught:
        merge.merge(sources, to, prefer)
    assert isinstance(caught.value, kind)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert (_state(to) if to.exists() else None) == before, "nothing was copied"


def test_unequal_scores_are_refused_with_the_difference(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    put(b, _scored(0.75, seed=0))
    words = ("nothing was merged", "accuracy@k=20 of knn at layer4 is 0.5 and 0.75", "--prefer")
    _refused([a, b], to, *words)
    merge.merge([a], to)
    _refused([b], to, "0.5 and 0.75")


def test_prefer_decides_between_unequal_scores(two: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, b, to = two
    put(a, _scored(0.25, seed=0, time="2026-01-01T00:00:00+00:00"))
    put(b, _scored(0.75, seed=0, time="2026-01-02T00:00:00+00:00"))

    def value(prefer: str) -> float:
        shutil.rmtree(to, ignore_errors=True)
        merge.merge([a, b], to, prefer)
        return next(r.scores[0].value for r in read_records(to)[0] if r.cell["seed"] == 0)

    assert [value(str(a)), value(str(b)), value("newest")] == [0.25, 0.75, 0.75]
    _refused([a, b], to, "is not a source", prefer=str(tmp_path / "c"), kind=UsageError)


def test_prefer_replaces_a_cell_of_the_target(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    put(b, _scored(0.75, seed=0))
    merge.merge([a], to)
    result = merge.merge([b], to, str(b))
    assert (result.copied, result.kept) == (2, 1)
    values = {record.cell["seed"]: record.scores[0].value for record in read_records(to)[0]}
    assert values == {0: 0.75, 1: 0.5, 2: 0.5}
    assert not [path for path in to.iterdir() if path.name.startswith(".merge")]


@pytest.mark.parametrize(("change", "words"), [("dataset", "dataset contents differ"), ("version", "versions differ")])
def test_other_data_or_versions_are_refused_despite_prefer(
    change: str, words: str, two: tuple[Path, Path, Path]
) -> None:
    a, b, to = two
    record = _scored(seed=0)
    if change == "dataset":
        record.cell["dataset"]["fingerprint"] = "e" * 64
        record = dataclasses.replace(record, id=_scored(seed=0).id)
    else:
        version = {"method": 2, "encoder": 1, "dataset": 1}
        record = dataclasses.replace(record, provenance={**record.provenance, "versions": version})
    put(b, record)
    for prefer in (None, "newest", str(b)):
        _refused([a, b], to, words, "not the same cell", prefer=prefer)


def test_record_with_more_scores_is_kept(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    more = (sample_score(0.5), sample_score(0.25, evaluator="linear", protocol="linear@1"))
    put(b, dataclasses.replace(_scored(seed=0), scores=more))
    put(a, dataclasses.replace(_scored(seed=2), scores=(), state="failed", failure={"stage": "", "reason": ""}))
    merge.merge([a, b], to)
    found = {record.cell["seed"]: (len(record.scores), record.state) for record in read_records(to)[0]}
    assert found == {0: (2, "done"), 1: (1, "done"), 2: (1, "done")}


def test_records_with_disjoint_scores_are_refused(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    put(b, dataclasses.replace(_scored(seed=0), scores=(sample_score(evaluator="linear", protocol="linear@1"),)))
    _refused([a, b], to, "each has scores that the other lacks", "--prefer")


def test_damaged_and_locked_records_are_left_out(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    (put(a, _scored(seed=5)) / "record.json").write_text("{")
    busy = put(b, _scored(seed=6))
    lock = locks.acquire(busy, "aet", "cpu")
    assert lock is not None
    try:
        result = merge.merge([a, b], to)
    finally:
        lock.release()
    assert result.copied == 3
    assert len(result.left_out) == 2
    assert any("a run works on this cell" in sentence for sentence in result.left_out)
    assert merge.merge([a, b], to).copied == 1, "once the run has ended"


def test_merge_copies_only_files_of_a_cell(two: tuple[Path, Path, Path]) -> None:
    a, _, to = two
    folder = next(path for path in a.iterdir())
    (folder / "notes.txt").write_text("mine")
    (folder / LOG).write_text("caught")
    (folder / PREDICTIONS).write_bytes(b"PK")
    merge.merge([a], to)
    assert sorted(path.name for path in (to / folder.name).iterdir()) == sorted(
        [CURVE, LOG, MODEL, PREDICTIONS, "record.json"]
    )


def test_existing_folder_of_another_kind_is_not_touched(two: tuple[Path, Path, Path]) -> None:
    a, _, to = two
    name = next(path for path in a.iterdir()).name
    (to / name).mkdir(parents=True)
    (to / name / "mine").write_text("precious")
    _refused([a], to, "exists and is not the cell of")


def test_disk_space_is_checked_before_copying(two: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    a, _, to = two
    to.mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    _refused([a], to, "MB are needed")


def test_failed_copy_leaves_no_cell_behind(two: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    a, _, to = two
    real, calls = shutil.copy2, []

    def failing(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(shutil, "copy2", failing)
    with pytest.raises(RecordError, match="No space left"):
        merge.merge([a], to)
    assert list(to.iterdir()) == []


def test_sources_and_target_must_differ(two: tuple[Path, Path, Path]) -> None:
    a, b, _ = two
    _refused([a, b], b, "is one of the sources", kind=UsageError)
    _refused([a, a], b, "named twice", kind=UsageError)


def test_command_prints_the_counts(two: tuple[Path, Path, Path], bench: Bench) -> None:
    a, b, to = two
    result = bench("merge", str(a), str(b), "--to", str(to))
    assert result.exit_code == 0
    assert "3 cells copied, 0 already there, 1 in several folders" in result.output
    put(b, _scored(0.75, seed=0))
    result = bench("merge", str(a), str(b), "--to", str(to.parent / "other"))
    assert result.exit_code == 2
    assert (
        json.loads((to / next(iter(to.iterdir())).name / "record.json").read_text())["schema_version"] == SCHEMA_VERSION
    )


def test_merge_follows_no_links(two: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, b, to = two
    secret = tmp_path / "secret.txt"
    secret.write_text("not in a source")
    linked = put(a, _scored(seed=5))
    (linked / LOG).symlink_to(secret)
    (b / "elsewhere").symlink_to(put(tmp_path / "c", _scored(seed=6)))
    result = merge.merge([a, b], to)
    assert result.copied == 3
    assert sorted(message.partition(": ")[2].partition(";")[0] for message in result.left_out) == [
        "elsewhere is a link",
        f"{LOG} is a link",
    ]
    assert not any(path.is_symlink() or "secret" in path.name for path in to.rglob("*"))


def test_large_files_take_no_space_and_small_ones_are_copies(two: tuple[Path, Path, Path]) -> None:
    a, _, to = two
    merge.merge([a], to)
    for folder in to.iterdir():
        assert (folder / MODEL).samefile(a / folder.name / MODEL)
        assert not (folder / CURVE).samefile(a / folder.name / CURVE)
        assert not (folder / "record.json").samefile(a / folder.name / "record.json")


@pytest.mark.parametrize("then", ["merge", "run"])
def test_cell_that_a_killed_merge_was_replacing_is_put_back(
    then: str, two: tuple[Path, Path, Path], bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    a, b, to = two
    merge.merge([a], to)
    before = _state(to)
    cell = to / f"cell-{_scored(seed=1).id[:10]}"
    script = (
        "import os, signal, sys; from pathlib import Path; from benchmark.records import merge\n"
        "rename = Path.rename\n"
        "def killed(self, target):\n"
        "    if self.parent.name == 'new': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return rename(self, target)\n"
        "Path.rename = killed\n"
        "merge.merge([Path(sys.argv[1])], Path(sys.argv[2]), 'newest')\n"
    )
    later = _scored(0.625, seed=1, time="2027-01-01T00:00:00+00:00")
    write_record(b / cell.name, later)
    killed = subprocess.run([sys.executable, "-c", script, str(b), str(to)], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not cell.exists()
    if then == "run":
        bench("run", "--methods", "pixels", "--smoke", "--out", str(to), "--no-floors", "--executor", "inline")
    else:
        merge.merge([a], to)
    assert {name: body for name, body in _state(to).items() if name in before} == before
    assert not list(to.glob(".merge-*"))
    assert f"put back: {cell}" in caplog.text


def test_recovery_leaves_the_folders_of_running_merges(tmp_path: Path) -> None:
    def use(_: int) -> None:
        with merge_folder(tmp_path) as (new, old):
            (new / "cell").mkdir()
            recover_abandoned(tmp_path)
            assert new.exists()
            assert old.exists()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(200)))
    assert not list(tmp_path.iterdir())
