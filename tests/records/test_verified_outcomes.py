"""Outcomes are used only if they are those of their score: exchanged, reordered, half-replaced and malformed files."""

from __future__ import annotations

import dataclasses
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Bench
from damaged_records import SPECIAL_FILES
from numpy.typing import NDArray
from sample_cells import AET, ROTATION, cell_score, outcomes_of, write_cell
from sample_records import sample_record, sample_score

from benchmark.errors import RecordError
from benchmark.records.export import export
from benchmark.records.leaderboard import read_leaderboard
from benchmark.records.outcomes import (
    FolderOutcomes,
    LeaderboardOutcomes,
    digests_of,
    mismatch,
    read_predictions,
    verified_predictions,
)
from benchmark.records.record import PREDICTIONS, RECORD, Record
from benchmark.records.record_files import read_record, write_record

Outcomes = NDArray[Any]
NAME = "layer4|average|knn|knn@1|accuracy@k=20"
Change = Callable[[dict[str, Outcomes]], object]


def with_digests(record: Record) -> Record:
    """A record as this version writes it, with the checksums of its arrays."""
    folder = Path(record.folder)
    checks = {**record.checks, "arrays_sha256": digests_of(read_predictions(folder))}
    write_record(folder, dataclasses.replace(record, checks=checks))
    return read_record(folder)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """A cell with outcomes and predictions."""
    score = cell_score(0.8)
    arrays = {NAME: outcomes_of(0, 0.8), "layer4|prediction|class": np.arange(1000)}
    return with_digests(write_cell(tmp_path / "runs", "aet", 0, score, arrays=arrays))


def change_arrays(path: Path, change: Change) -> None:
    """Writes an .npz file with other arrays."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    with path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for options


def set_array(change: Callable[[Outcomes], Outcomes]) -> Change:
    return lambda arrays: arrays.update({NAME: change(arrays[NAME])})


CHANGES: dict[str, Change] = {
    "reversed": set_array(lambda values: values[::-1].copy()),
    "one image": set_array(lambda values: np.concatenate([~values[:1], values[1:]])),
    "shorter": set_array(lambda values: values[:-1]),
    "longer": set_array(lambda values: np.append(values, True)),
    "as numbers": set_array(lambda values: values.astype(np.float64)),
    "two axes": set_array(lambda values: values[None]),
    "all NaN": set_array(lambda values: np.full(len(values), np.nan)),
    "absent": lambda arrays: arrays.pop(NAME),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_outcomes_are_left_out_and_named(name: str, record: Record, caplog: pytest.LogCaptureFixture) -> None:
    (score,) = record.scores
    assert FolderOutcomes()(record, score) is not None
    change_arrays(Path(record.folder) / PREDICTIONS, CHANGES[name])
    assert FolderOutcomes()(record, score) is None
    assert f"left out: outcomes of accuracy@k=20 of knn at layer4 of {AET}/0" in caplog.text
    with pytest.raises(RecordError, match=r"accuracy@k=20 of knn .*--rerun all"):
        verified_predictions(record)
    left_out: list[str] = []
    assert export([record], Path("boards"), left_out) == {}
    assert len(left_out) == 1


def test_changed_predictions_are_refused(record: Record) -> None:
    change_arrays(
        Path(record.folder) / PREDICTIONS, lambda arrays: arrays.update({"layer4|prediction|class": np.zeros(1000)})
    )
    with pytest.raises(RecordError, match=r"cannot use 'layer4\|prediction\|class'"):
        verified_predictions(record)


@pytest.mark.parametrize("name", ["shorter", "longer", "two axes", "all NaN", "one image"])
def test_record_without_checksums_is_compared_by_number_and_mean(name: str, record: Record) -> None:
    del record.checks["arrays_sha256"]
    assert FolderOutcomes()(record, record.scores[0]) is not None
    change_arrays(Path(record.folder) / PREDICTIONS, CHANGES[name])
    assert FolderOutcomes()(record, record.scores[0]) is None


def test_outcomes_of_two_cells_that_were_exchanged_are_left_out_by_compare(tmp_path: Path, bench: Bench) -> None:
    cells = [with_digests(write_cell(tmp_path / "runs", method, 0, 0.8)) for method in ("aet", "rotation")]
    before = bench("compare", f"{AET}/0", f"{ROTATION}/0")
    first, second = (Path(cell.folder) / PREDICTIONS for cell in cells)
    shutil.move(first, tmp_path / "kept")
    shutil.move(second, first)
    shutil.move(tmp_path / "kept", second)
    after = bench("compare", f"{AET}/0", f"{ROTATION}/0")
    assert (before.exit_code, after.exit_code) == (0, 0)
    assert "no per-image outcomes" in after.stdout
    assert "no per-image outcomes" not in before.stdout
    assert after.stderr.count("bench: left out: outcomes of accuracy@k=20 of knn at layer4 of ") == 2


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_mean_of_outcomes_is_compared_within_their_rounding() -> None:
    values = np.random.default_rng(0).random(1000).astype(np.float32)
    score = sample_score(float(values.mean(dtype=np.float64)), n=1000)
    assert mismatch(score, values) == ""
    assert mismatch(score, values.astype(np.float16)) == ""
    assert mismatch(dataclasses.replace(score, value=score.value + 1e-4), values) != ""
    assert mismatch(dataclasses.replace(score, value=score.value + 1e-3), values.astype(np.float16)) != ""
    large = values * 1e4
    assert mismatch(dataclasses.replace(score, value=float(large.mean(dtype=np.float64))), large) == ""


def test_images_without_an_outcome_may_count_or_not() -> None:
    values = np.array([1, 0, np.nan, 1], np.float32)
    for n, valid in ((3, True), (4, True), (2, False), (5, False)):
        assert (mismatch(sample_score(2 / 3, n=n), values) == "") is valid, n


# --- malformed files ----------------------------------------------------------------------------------------------------


def header(shape: str, dtype: str = "|b1") -> bytes:
    """The header of a .npy file."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


MEMBERS = {
    "10^13 items": header("(10000000000000,)") + bytes(1000),
    "many axes": header(f"({'9,' * 40})") + bytes(1000),
    "negative": header("(-1,)") + bytes(1000),
    "text": header("(1000,)", "<U1") + bytes(4000),
    "objects": header("(1,)", "|O") + b"cos\nsystem\n",
    "brackets": b"\x93NUMPY\x01\x00\x10\x00" + b"(" * 16 + bytes(1000),
    "long header": b"\x93NUMPY\x02\x00" + (10**6).to_bytes(4, "little") + b"(" * 10**6,
    "version 9": b"\x93NUMPY\x09\x00\x10\x00" + bytes(1000),
    "cut": header("(1000,)") + bytes(10),
    "nothing": b"",
}


def write_member(path: Path, contents: bytes) -> None:
    """Replaces the array NAME in an .npz file by other bytes."""
    with zipfile.ZipFile(path) as file:
        members = {info.filename: file.read(info) for info in file.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, body in members.items():
            file.writestr(name, contents if NAME in name else body)


@pytest.mark.parametrize("name", MEMBERS)
def test_malformed_array_is_left_out_and_named(name: str, record: Record, caplog: pytest.LogCaptureFixture) -> None:
    export([record], Path(record.folder).parents[1] / "boards")
    board = Path(record.folder).parents[1] / "boards" / "digits.jsonl"
    write_member(Path(record.folder) / PREDICTIONS, MEMBERS[name])
    write_member(board.with_name("digits.outcomes.npz"), MEMBERS[name])
    (exported,) = read_leaderboard(board)
    assert FolderOutcomes()(record, record.scores[0]) is None
    assert LeaderboardOutcomes(board.with_name("digits.outcomes.npz"))(exported, exported.scores[0]) is None
    assert PREDICTIONS in caplog.text
    assert "digits.outcomes.npz" in caplog.text


def test_array_of_3_gb_in_a_small_file_is_refused(record: Record) -> None:
    path = Path(record.folder) / PREDICTIONS
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open(f"{NAME}.npy", "w") as member:
        member.write(header("(3000000000,)") + bytes(10**6))
    body = bytearray(path.read_bytes())
    place = body.rindex(b"PK\x01\x02") + 24
    body[place : place + 4] = (3 * 10**9).to_bytes(4, "little")  # the size that the directory claims
    path.write_bytes(body)
    with pytest.raises(RecordError, match="more than the 1,073,741,824 that are read"):
        read_predictions(Path(record.folder))


def test_array_that_occurs_twice_is_refused(record: Record) -> None:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(Path(record.folder) / PREDICTIONS, "a") as file:
        file.writestr(f"{NAME}.npy", header("(1000,)") + bytes(1000))
    with pytest.raises(RecordError, match="twice"):
        read_predictions(Path(record.folder))


@pytest.mark.parametrize("name", SPECIAL_FILES)
def test_special_file_instead_of_predictions_is_named(
    name: str, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    SPECIAL_FILES[name][0](Path(record.folder) / PREDICTIONS)
    assert FolderOutcomes()(record, record.scores[0]) is None
    assert f"{Path(record.folder).name}/{PREDICTIONS}" in caplog.text


# --- leaderboards -----------------------------------------------------------------------------------------------------


@pytest.fixture
def boards(tmp_path: Path, bench: Bench) -> tuple[Path, Path]:
    """A leaderboard before and after one of its two cells was scored again with the same mean, and one was added."""
    for seed in range(2):
        with_digests(write_cell(tmp_path / "runs", "aet", seed, 0.8))
    assert bench("export", "runs", "--to", "before").exit_code == 0
    again = write_cell(tmp_path / "runs", "aet", 0, cell_score(0.8), arrays={NAME: outcomes_of(99, 0.8)})
    with_digests(again)
    with_digests(write_cell(tmp_path / "runs", "rotation", 0, 0.75))
    shutil.copytree(tmp_path / "before", tmp_path / "after")
    assert bench("export", "runs", "--to", "after").exit_code == 0
    return tmp_path / "before", tmp_path / "after"


@pytest.mark.parametrize("replaced", [("digits.outcomes.npz",), ("digits.outcomes.npz", "digits.jsonl")])
def test_export_that_was_killed_between_two_files_is_detected_and_healed_by_the_next(
    replaced: tuple[str, ...], boards: tuple[Path, Path], bench: Bench, tmp_path: Path
) -> None:
    before, after = boards
    shutil.copytree(before, tmp_path / "half")
    (tmp_path / "half" / ".digits.jsonl-0123abcd").write_bytes(b"as a killed export left it")
    for name in replaced:
        shutil.copy(after / name, tmp_path / "half" / name)
    whole = after if "digits.jsonl" in replaced else before
    expected = bench("compare", f"{whole.name}/digits.jsonl#{AET}/1", f"{AET}/1")
    assert (
        bench("compare", f"half/digits.jsonl#{AET}/1", f"{AET}/1").stdout.replace("half", whole.name) == expected.stdout
    )
    result = bench("compare", f"half/digits.jsonl#{AET}/0", f"{AET}/1")
    assert result.exit_code == 0
    assert ("their checksum is not that in the record" in result.stderr) == (len(replaced) == 1)
    assert ("no per-image outcomes" in result.stdout) == (len(replaced) == 1)
    assert bench("export", "runs", "--to", "half").exit_code == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "half").iterdir()} == {
        path.name: path.read_bytes() for path in after.iterdir()
    }


def test_check_of_a_half_replaced_baseline_says_so(boards: tuple[Path, Path], bench: Bench) -> None:
    before, after = boards
    shutil.copy(after / "digits.outcomes.npz", before / "digits.outcomes.npz")
    result = bench("check", "runs", "--baseline", "before/digits.csv")
    assert "left out: outcomes of accuracy@k=20 of knn at layer4 of aet/resnet18/digits/0" in result.stderr
    assert "before/digits.outcomes.npz: their checksum is not that in the record" in result.stderr


def test_exported_record_holds_the_checksums_of_its_packed_outcomes(record: Record, tmp_path: Path) -> None:
    export([record], tmp_path / "boards")
    (exported,) = read_leaderboard(tmp_path / "boards" / "digits.jsonl")
    assert list(exported.checks["arrays_sha256"]) == [NAME]
    outcomes = LeaderboardOutcomes(tmp_path / "boards" / "digits.outcomes.npz")
    np.testing.assert_array_equal(outcomes(exported, exported.scores[0]), outcomes_of(0, 0.8))
    change_arrays(
        tmp_path / "boards" / "digits.outcomes.npz",
        lambda arrays: arrays.update({name: values[::-1].copy() for name, values in arrays.items()}),
    )
    assert LeaderboardOutcomes(tmp_path / "boards" / "digits.outcomes.npz")(exported, exported.scores[0]) is None


def test_one_cell_with_other_outcomes_does_not_stop_an_export(tmp_path: Path, bench: Bench) -> None:
    cells = [with_digests(write_cell(tmp_path / "runs", "aet", seed, 0.8)) for seed in range(2)]
    change_arrays(Path(cells[0].folder) / PREDICTIONS, CHANGES["reversed"])
    result = bench("export", "runs", "--to", "boards")
    assert result.exit_code == 0
    assert Path(cells[0].folder).name in result.stderr
    assert [record.seed for record in read_leaderboard(tmp_path / "boards" / "digits.jsonl")] == [1]


def test_merge_names_predictions_that_do_not_match_their_record(tmp_path: Path, bench: Bench) -> None:
    record = sample_record()
    write_record(tmp_path / "runs" / "cell", record)
    size = {"bytes": 3, "sha256": "0" * 64}
    write_record(tmp_path / "runs" / "cell", dataclasses.replace(record, checks={"predictions_file": size}))
    (tmp_path / "runs" / "cell" / PREDICTIONS).write_bytes(b"abc")
    result = bench("merge", "runs", "--to", "merged")
    assert result.exit_code == 0
    assert f"bench: copied as it is: runs/cell/{PREDICTIONS} is not the file that its record describes" in result.stderr
    assert (tmp_path / "merged" / "cell" / RECORD).is_file()
