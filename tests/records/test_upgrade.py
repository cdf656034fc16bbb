"""Schema version 1: stored records and a leaderboard are read as version 2 with unchanged numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Bench

from benchmark.records import index
from benchmark.records.dataframe import to_frame
from benchmark.records.earlier_folders import EarlierFolders
from benchmark.records.export import export
from benchmark.records.leaderboard import outcomes_path, read_leaderboard
from benchmark.records.outcomes import read_outcomes, read_predictions
from benchmark.records.output_folder import OutputFolder
from benchmark.records.record import RECORD
from benchmark.records.record_files import read_record, read_records, write_record
from benchmark.records.upgrade import upgrade

STORED = Path(__file__).parents[1] / "data" / "records_v1"
CELL = STORED / "runs" / "pixels-none-digits-snone-e544a2feb0"
LEADERBOARD = STORED / "digits.jsonl"


def _raw_lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in LEADERBOARD.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A copy of the stored output folder."""
    shutil.copytree(STORED / "runs", tmp_path / "runs")
    return tmp_path / "runs"


def test_cell_folder_is_read_with_unchanged_scores() -> None:
    raw = json.loads((CELL / RECORD).read_text(encoding="utf-8"))
    record = read_record(CELL)
    assert (raw["schema_version"], record.schema_version) == (1, 2)
    fields = ("tap", "evaluator", "protocol", "metric", "value", "ci_low", "ci_high", "n", "outcomes")
    assert [[getattr(score, name) for name in fields] for score in record.scores] == [
        [score[name] for name in fields] for score in raw["scores"]
    ]
    outcomes = read_predictions(CELL)
    assert all(score.outcomes in outcomes for score in record.scores if score.outcomes)


def test_leaderboard_is_read_under_the_new_names() -> None:
    for raw, record in zip(_raw_lines(), read_leaderboard(LEADERBOARD), strict=True):
        assert record.cell["method"]["params"]["fill"] == "gray"
        assert record.cell["method"]["version"] == raw["cell"]["method"]["law"]
        assert record.cell["recipe"]["optimizer"] == raw["cell"]["recipe"]["optimiser"]
        assert record.provenance["versions"] == raw["provenance"]["law"]
        assert record.checks["failed_to_learn"] is (not raw["checks"]["learned"])
        assert not {"law", "optimiser"} & {*record.cell["method"], *record.cell["recipe"], *record.provenance}
        assert "learned" not in record.checks


def test_leaderboard_outcomes_are_found_under_the_version_1_id() -> None:
    outcomes = read_outcomes(outcomes_path(LEADERBOARD))
    for record in read_leaderboard(LEADERBOARD):
        for score in record.scores:
            assert np.nanmean(outcomes[record.outcomes_key(score)].astype(np.float64)) == pytest.approx(score.value)


@pytest.mark.parametrize(("stored", "upgraded"), [(True, False), (False, True), (None, None)])
def test_learned_becomes_failed_to_learn(stored: bool | None, upgraded: bool | None) -> None:
    body = {**_raw_lines()[0], "checks": {"trained": True, "learned": stored}}
    assert upgrade(body)["checks"] == {"trained": True, "failed_to_learn": upgraded}


def test_words_inside_other_words_are_not_respelled() -> None:
    body = _raw_lines()[0]
    body["cell"]["dataset"]["label"] = "greyhounds[grey=true,name=greys]"
    body["cell"]["method"]["params"] = {"fill": "grey", "note": "a grey dog"}
    cell = upgrade(body)["cell"]
    assert cell["dataset"]["label"] == "greyhounds[gray=true,name=greys]"
    assert cell["method"]["params"] == {"fill": "gray", "note": "a grey dog"}


def test_id_follows_from_the_settings_and_an_unknown_id_is_kept() -> None:
    first, second = read_leaderboard(LEADERBOARD)
    raw = _raw_lines()
    assert len({first.id, second.id, raw[0]["id"], raw[1]["id"]}) == 4
    assert upgrade({**raw[0], "id": "f" * 64})["id"] == "f" * 64


def test_upgraded_record_is_written_as_version_2(runs: Path) -> None:
    folder = runs / CELL.name
    record = read_record(folder)
    write_record(folder, record)
    assert json.loads((folder / RECORD).read_text())["schema_version"] == 2
    assert read_record(folder) == record


def test_every_reader_takes_version_1(runs: Path, bench: Bench) -> None:
    record = read_record(runs / CELL.name)
    assert [each.id for each in read_records(runs)[0]] == [record.id]
    assert OutputFolder(runs).find("pixels/-/digits/-").id == record.id
    for _ in range(2):
        columns, problems = index.read(runs)
        assert (columns.summaries[0].id, problems) == (record.id, [])
    assert list(to_frame(columns)["versions"].unique()) == ["1.1.1"]
    for command in (
        ("table", str(runs)),
        ("table", str(LEADERBOARD)),
        ("check", str(runs), "--baseline", str(LEADERBOARD)),
    ):
        assert bench(*command).exit_code in (0, 4), command


def test_bench_run_finds_a_version_1_folder(runs: Path, bench: Bench) -> None:
    result = bench("run", "--methods", "pixels", "--no-floors", "--out", str(runs), "--dry-run")
    assert "0 to run" in result.output
    assert CELL.name in result.output
    write_record(runs / CELL.name, read_record(runs / CELL.name))
    again = bench("run", "--methods", "pixels", "--no-floors", "--out", str(runs), "--dry-run")
    assert "0 to run" in again.output, "after the record was rewritten as version 2"


def test_earlier_folder_is_found_by_name_and_id(runs: Path) -> None:
    record = read_record(runs / CELL.name)
    new_name = f"pixels-none-digits-snone-{record.short_id}"
    names = [path.name for path in runs.iterdir()]
    assert EarlierFolders(runs, names).find(new_name, record.id) == CELL.name
    assert EarlierFolders(runs, names).find(new_name, "f" * 64) is None
    assert EarlierFolders(runs, names).find(f"aet-none-digits-snone-{record.short_id}", record.id) is None
    (runs / CELL.name / RECORD).write_text("{")
    assert EarlierFolders(runs, names).find(new_name, record.id) is None


def test_folder_named_after_its_own_id_is_no_earlier_folder(tmp_path: Path, runs: Path) -> None:
    record = read_record(runs / CELL.name)
    name = f"pixels-none-digits-snone-{record.short_id}"
    write_record(runs / name, record)
    assert EarlierFolders(runs, [name]).find("pixels-none-digits-snone-ffffffffff", record.id) is None


def test_export_converts_a_version_1_leaderboard(runs: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    for path in STORED.glob("digits.*"):
        shutil.copy(path, results)
    export([read_record(runs / CELL.name)], results)
    records = read_leaderboard(results / "digits.jsonl")
    outcomes = read_outcomes(results / "digits.outcomes.npz")
    assert len(records) == 3
    assert all('"schema_version": 2' in line for line in (results / "digits.jsonl").read_text().splitlines())
    before = read_outcomes(outcomes_path(LEADERBOARD))
    for old in read_leaderboard(LEADERBOARD):
        new = next(record for record in records if record.id == old.id)
        for score in old.scores:
            np.testing.assert_array_equal(outcomes[new.outcomes_key(score)], before[old.outcomes_key(score)])
