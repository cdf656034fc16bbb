"""Output folders of several machines in one: nothing is lost, nothing is mixed, and nothing is half copied."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from sample_records import sample_record, sample_score

from benchmark.errors import BenchError, RecordError, UsageError
from benchmark.records import locks, merge
from benchmark.records.record import CURVE, LOG, MODEL, PREDICTIONS, Record, read_records, write_record


def put(out: Path, record: Record, **files: bytes) -> Path:
    """A cell's folder with weights that say where it was trained."""
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
    """Folders of two machines that share a cell, and a place for both."""
    a, b = tmp_path / "a", tmp_path / "b"
    for seed in (0, 1):
        put(a, _scored(seed=seed))
    for seed in (1, 2):
        put(b, _scored(seed=seed))
    return a, b, tmp_path / "to"


def test_cells_of_both_are_in_the_new_folder_and_those_of_both_once(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    before = _state(a), _state(b)
    found = merge.merge([a, b], to)
    assert (found.copied, found.kept, found.twice, found.left_out) == (3, 0, 1, ())
    records, problems = read_records(to)
    assert (sorted(record.cell["seed"] for record in records), problems) == ([0, 1, 2], [])
    assert (_state(a), _state(b)) == before, "sources stay as they are"
    assert sorted(path.name for path in to.iterdir()) == sorted(Path(record.folder).name for record in records)
    by_seed = {record.cell["seed"]: (Path(record.folder) / MODEL).read_text() for record in records}
    assert by_seed == {0: str(a), 1: str(a), 2: str(b)}, "each with its own weights; of equals, the first"
    assert all((Path(record.folder) / CURVE).exists() for record in records)


def test_the_summary_counts_cells_by_device_precision_and_torch(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    record = _scored(seed=7)
    on_gpu = {**record.provenance, "device": "cuda", "device_name": "NVIDIA H100", "precision": "bfloat16"}
    put(b, dataclasses.replace(record, provenance=on_gpu))
    table = merge.merge([a, b], to).table
    assert table.rows == (
        ("cpu", "-", "-", "2.15.0", "-", "3"),
        ("cuda", "NVIDIA H100", "bfloat16", "2.15.0", "-", "1"),
    )
    assert table.notes


def test_a_second_merge_changes_nothing_and_a_later_one_adds(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    merge.merge([a], to)
    before = _state(to)
    assert merge.merge([a], to).copied == 0
    assert _state(to) == before
    found = merge.merge([b], to)
    assert (found.copied, found.kept) == (1, 2)
    assert before.items() <= _state(to).items()


def _refused(sources: list[Path], to: Path, *words: str, prefer: str | None = None, kind: type = RecordError) -> None:
    before = _state(to) if to.exists() else None
    with pytest.raises(BenchError) as caught:
        merge.merge(sources, to, prefer)
    assert isinstance(caught.value, kind)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert (_state(to) if to.exists() else None) == before, "nothing was copied"


def test_unequal_scores_of_one_cell_are_refused_with_what_differs(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    put(b, _scored(0.75, seed=0))
    words = ("nothing was merged", "accuracy@k=20 of knn at layer4 is 0.5 and 0.75", "--prefer")
    _refused([a, b], to, *words)
    merge.merge([a], to)
    _refused([b], to, "0.5 and 0.75")


def test_the_one_that_is_preferred_is_taken(two: tuple[Path, Path, Path], tmp_path: Path) -> None:
    a, b, to = two
    put(a, _scored(0.25, seed=0, time="2026-01-01T00:00:00+00:00"))
    put(b, _scored(0.75, seed=0, time="2026-01-02T00:00:00+00:00"))

    def value(prefer: str) -> float:
        shutil.rmtree(to, ignore_errors=True)
        merge.merge([a, b], to, prefer)
        return next(r.scores[0].value for r in read_records(to)[0] if r.cell["seed"] == 0)

    assert [value(str(a)), value(str(b)), value("newest")] == [0.25, 0.75, 0.75]
    _refused([a, b], to, "none of", prefer=str(tmp_path / "c"), kind=UsageError)


def test_what_was_there_is_replaced_only_by_what_is_preferred(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    put(b, _scored(0.75, seed=0))
    merge.merge([a], to)
    found = merge.merge([b], to, str(b))
    assert (found.copied, found.kept) == (2, 1)
    values = {record.cell["seed"]: record.scores[0].value for record in read_records(to)[0]}
    assert values == {0: 0.75, 1: 0.5, 2: 0.5}
    assert not [path for path in to.iterdir() if path.name.startswith(".merge")]


@pytest.mark.parametrize(
    ("change", "words"),
    [("dataset", "datasets have other contents"), ("version", "versions differ")],
)
def test_one_identity_with_other_data_or_laws_is_refused_whatever_is_preferred(
    change: str, words: str, two: tuple[Path, Path, Path]
) -> None:
    a, b, to = two
    record = _scored(seed=0)
    if change == "dataset":
        record.cell["dataset"]["fingerprint"] = "e" * 64
        record = dataclasses.replace(record, id=_scored(seed=0).id)
    else:
        version = {"method": 2, "encoder": 1, "dataset": 1}
        record = dataclasses.replace(record, provenance={**record.provenance, "version": version})
    put(b, record)
    for prefer in (None, "newest", str(b)):
        _refused([a, b], to, words, "not the same cell", prefer=prefer)


def test_a_record_with_more_scores_holds_what_the_other_has(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    more = (sample_score(0.5), sample_score(0.25, evaluator="linear", protocol="linear@1"))
    put(b, dataclasses.replace(_scored(seed=0), scores=more))
    put(a, dataclasses.replace(_scored(seed=2), scores=(), state="failed", failure={"stage": "", "reason": ""}))
    merge.merge([a, b], to)
    found = {record.cell["seed"]: (len(record.scores), record.state) for record in read_records(to)[0]}
    assert found == {0: (2, "done"), 1: (1, "done"), 2: (1, "done")}


def test_records_that_each_lack_the_others_scores_are_not_joined_by_guess(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    put(b, dataclasses.replace(_scored(seed=0), scores=(sample_score(evaluator="linear", protocol="linear@1"),)))
    _refused([a, b], to, "each has scores that the other lacks", "--prefer")


def test_what_cannot_be_read_and_what_a_run_works_on_is_left_out_and_told(two: tuple[Path, Path, Path]) -> None:
    a, b, to = two
    (put(a, _scored(seed=5)) / "record.json").write_text("{")
    busy = put(b, _scored(seed=6))
    claim = locks.acquire(busy, "aet", "cpu")
    assert claim is not None
    try:
        found = merge.merge([a, b], to)
    finally:
        claim.release()
    assert found.copied == 3
    assert len(found.left_out) == 2
    assert any("a run works on it" in sentence for sentence in found.left_out)
    assert merge.merge([a, b], to).copied == 1, "once the run has ended"


def test_only_a_cells_own_files_travel(two: tuple[Path, Path, Path]) -> None:
    a, _, to = two
    folder = next(path for path in a.iterdir())
    (folder / "notes.txt").write_text("mine")
    (folder / LOG).write_text("caught")
    (folder / PREDICTIONS).write_bytes(b"PK")
    merge.merge([a], to)
    assert sorted(path.name for path in (to / folder.name).iterdir()) == sorted(
        [CURVE, LOG, MODEL, PREDICTIONS, "record.json"]
    )


def test_a_folder_that_is_in_the_way_is_not_touched(two: tuple[Path, Path, Path]) -> None:
    a, _, to = two
    name = next(path for path in a.iterdir()).name
    (to / name).mkdir(parents=True)
    (to / name / "mine").write_text("precious")
    _refused([a], to, "in the way")


def test_too_little_room_is_seen_before_anything_is_copied(
    two: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _, to = two
    to.mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    _refused([a], to, "MB are to be copied")


def test_an_error_in_the_middle_leaves_no_cell_behind(
    two: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_sources_and_target_must_be_different_folders(two: tuple[Path, Path, Path]) -> None:
    a, b, _ = two
    _refused([a, b], b, "one of the folders to be merged", kind=UsageError)
    _refused([a, a], b, "named twice", kind=UsageError)


def test_the_command_says_what_it_did(two: tuple[Path, Path, Path], bench: Bench) -> None:
    a, b, to = two
    result = bench("merge", str(a), str(b), "--to", str(to))
    assert result.exit_code == 0
    assert "3 cells copied, 0 were there, 1 stood in several folders" in result.output
    put(b, _scored(0.75, seed=0))
    result = bench("merge", str(a), str(b), "--to", str(to.parent / "other"))
    assert result.exit_code == 2
    assert json.loads((to / next(iter(to.iterdir())).name / "record.json").read_text())["schema_version"] == 1
