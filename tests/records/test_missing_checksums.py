"""Records whose checksums were removed: marked wherever their numbers are used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import INLINE
from conftest import Bench
from verified_runs import change_records

from benchmark.records.record_files import read_records

CELL = ("--methods", "mean_color", "--encoders", "tiny", "--dataset", "stripes", "--evaluators", "centroid")
MARK = "unverified, no checksum of the record"
COMPARE = "compare mean_color/tiny/stripes before/stripes.jsonl#mean_color/tiny/stripes"
OF_RECORD = ("record_sha256",)
OF_OUTCOMES = ("record_sha256", "predictions_file", "arrays_sha256")


@pytest.fixture
def runs(third_party: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished cell in runs/, and its leaderboard in before/."""
    monkeypatch.setenv("BENCH_PLUGINS", "third_party,executors")
    result = bench("run", *CELL, *INLINE, "--quiet")
    assert result.exit_code == 0, result.output
    assert bench("export", "runs", "--to", "before").exit_code == 0
    return Path("runs")


def without(*names: str, value: float | None = None) -> Callable[[dict[str, Any]], None]:
    """A change of a record that removes some of its checksums, and changes its scores if there is a value."""

    def change(body: dict[str, Any]) -> None:
        for name in names:
            del body["checks"][name]
        for score in body["scores"] if value is not None else ():
            score.update(value=value, ci_low=value - 0.05, ci_high=value + 0.05, outcomes=None)

    return change


def reverse_outcomes(folder: Path) -> None:
    """Reverses all arrays of each cell: their means stay."""
    for path in folder.glob("*/predictions.npz"):
        with np.load(path) as file:
            arrays = {name: file[name][::-1] for name in file.files}
        np.savez_compressed(path, **arrays)


def texts(bench: Bench, *commands: str) -> dict[str, str]:
    """What commands print to standard output, each run of white space as one space."""
    return {command: " ".join(bench(*command.split()).stdout.split()) for command in commands}


def test_edited_score_without_the_checksum_of_its_record_is_marked_everywhere(runs: Path, bench: Bench) -> None:
    change_records(runs, without(*OF_RECORD, value=0.45))
    for _ in range(2):  # from the records, and from the index
        for command, text in texts(
            bench,
            "table runs --format md",
            "table runs --by tap --format md",
            f"plan {' '.join((*CELL, *INLINE))} --format json",
            "check runs --baseline before/stripes.jsonl --format json",
            f"{COMPARE} --format json",
        ).items():
            assert MARK in text, command
        assert "unverified" in bench("table", "runs", "--format", "csv").stdout


def test_mark_is_exported(runs: Path, bench: Bench) -> None:
    change_records(runs, without(*OF_RECORD, value=0.45))
    assert bench("export", "runs", "--to", "boards").exit_code == 0
    assert MARK in " ".join(bench("table", "boards/stripes.jsonl", "--format", "md").stdout.split())
    assert ",unverified," in Path("boards/stripes.csv").read_text()
    assert "unverified" in bench("table", "boards/stripes.csv", "--format", "md").output


def test_outcomes_without_checksums_are_marked_and_not_intact(runs: Path, bench: Bench) -> None:
    change_records(runs, without(*OF_OUTCOMES))
    reverse_outcomes(runs)
    assert f"{MARK}, predictions.npz" in " ".join(bench("table", "runs", "--format", "md").stdout.split())
    text = bench(*COMPARE.split(), "--format", "json").stdout
    assert f"A {MARK}, predictions.npz" in text
    text = bench("verify", "runs", "--files", "--format", "json").stdout
    assert "no checksum of the record, predictions.npz" in text
    assert "files intact" not in text


@pytest.mark.parametrize("names", [OF_RECORD, ("record_sha256", "arrays_sha256")])
def test_line_of_a_leaderboard_without_its_checksum_is_marked(runs: Path, bench: Bench, names: tuple[str, ...]) -> None:
    board = Path("before/stripes.jsonl")
    body = json.loads(board.read_text())
    without(*names, value=0.45)(body)
    board.write_text(json.dumps(body, sort_keys=True) + "\n")
    result = bench("table", str(board), "--format", "md")
    assert MARK in " ".join(result.stdout.split())


def test_line_of_an_earlier_version_is_not_marked(runs: Path, bench: Bench) -> None:
    board = Path("before/stripes.jsonl")
    body = json.loads(board.read_text())
    without("model_file", "curve_file", "source_sha256", *OF_OUTCOMES)(body)
    del body["provenance"]["sources"]
    board.write_text(json.dumps(body, sort_keys=True) + "\n")
    assert "unverified" not in bench("table", str(board)).output


def test_record_with_all_checksums_is_not_marked(runs: Path, bench: Bench) -> None:
    (record,) = read_records(runs)[0]
    assert "unverified" not in record.checks
    assert "unverified" not in bench("table", "runs").output
    assert "files intact" in bench("verify", "runs", "--files", "--format", "json").stdout


def test_cell_that_is_trained_again_loses_the_mark(runs: Path, bench: Bench) -> None:
    change_records(runs, without(*OF_RECORD))
    assert bench("run", *CELL, *INLINE, "--quiet", "--rerun", "all").exit_code == 0
    assert "unverified" not in bench("table", "runs").output


def test_altered_record_is_named_in_check_compare_and_csv(runs: Path, bench: Bench) -> None:
    change_records(runs, without(value=0.45))
    for command in ("check runs --baseline before/stripes.jsonl", COMPARE):
        assert "altered" in bench(*command.split(), "--format", "json").stdout, command
    assert ",altered," in bench("table", "runs", "--format", "csv").stdout
    assert bench("export", "runs", "--to", "boards").exit_code == 0
    assert ",altered," in Path("boards/stripes.csv").read_text()
    assert "altered" in bench("check", "runs", "--baseline", "boards/stripes.csv", "--format", "json").stdout


def test_changed_losses_by_epoch_are_damage(runs: Path, bench: Bench) -> None:
    (curve,) = runs.glob("*/curve.csv")
    curve.write_text(curve.read_text() + "9,0.1,0.1\n")
    text = bench("verify", "runs", "--files", "--format", "json").stdout
    assert "damaged files" in text
    assert "curve.csv" in text
