"""Damaged records: each is left out and named by every reader, and the others are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Bench
from damaged_records import DAMAGED_RECORDS, with_value
from sample_cells import AET, cell_score, write_cell, write_seeds
from sample_records import sample_record, sample_score

from benchmark.api.catalog import load_catalog
from benchmark.errors import RecordError
from benchmark.records import index
from benchmark.records.export import export
from benchmark.records.metric_ranges import range_of
from benchmark.records.record import RECORD
from benchmark.records.record_files import read_record, read_records, write_record


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with the records of two cells."""
    for seed in range(2):
        write_record(tmp_path / "runs" / f"cell-{seed}", sample_record(seed=seed))
    return tmp_path / "runs"


@pytest.mark.parametrize("name", DAMAGED_RECORDS)
def test_damaged_record_is_left_out_and_named(name: str, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage, reason = DAMAGED_RECORDS[name]
    index.read(out)
    damage(out / "cell-0" / RECORD)
    records, problems = read_records(out)
    assert [Path(record.folder).name for record in records] == ["cell-1"]
    (problem,) = problems
    assert "cell-0" in problem
    assert reason in problem
    columns, of_index = index.read(out)
    assert ([summary.folder for summary in columns.summaries], of_index) == (["cell-1"], problems)
    assert [each.getMessage() for each in caplog.records] == [f"left out: {problem}"] * 2
    with pytest.raises(RecordError, match="cell-0"):
        read_record(out / "cell-0")


@pytest.mark.parametrize(
    ("score", "valid"),
    [
        (sample_score(1.0), True),
        (sample_score(1.0000001), True),  # rounding
        (sample_score(1.01), False),
        (sample_score(0.5, ci_low=None), True),
        (sample_score(0.5, n=0), True),
        (sample_score(87.5, metric="share", unit="fraction"), False),
        (sample_score(87.5, metric="share"), True),  # of an earlier version, which recorded no units
        (sample_score(-0.25, protocol="clustering@1", metric="ari"), True),
        (sample_score(-1.5, protocol="clustering@1", metric="ari"), False),
        (sample_score(12.5, protocol="rankme@1", metric="rankme"), True),
        (sample_score(-3.0, protocol="rankme@1", metric="rankme"), False),
        (sample_score(-3.0, protocol="uniformity@1", metric="uniformity"), True),
        (sample_score(3.0, protocol="uniformity@1", metric="uniformity"), False),
        (sample_score(-3.0, metric="dv", unit="nats"), True),
    ],
)
def test_value_must_be_in_the_range_of_its_metric(score: object, valid: bool, tmp_path: Path) -> None:
    write_record(tmp_path / "cell", sample_record(scores=(score,)))  # type: ignore[arg-type]  # a score
    records, problems = read_records(tmp_path)
    assert (len(records), len(problems)) == ((1, 0) if valid else (0, 1))


def test_range_of_each_fraction_follows_from_its_spec() -> None:
    for entry in load_catalog().evaluators:
        for metric in entry.spec.metrics:
            if metric.unit == "fraction":
                limits = (
                    range_of(entry.spec.protocol, metric.name),
                    range_of(entry.spec.protocol, metric.name, "fraction"),
                )
                assert limits[0] == limits[1] == pytest.approx((0, 1), abs=1e-5), (entry.spec.name, metric.name)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads every file")
def test_record_without_permission_is_named(out: Path) -> None:
    (out / "cell-0").chmod(0)
    try:
        assert "cell-0" in read_records(out)[1][0]
        assert "cell-0" in index.read(out)[1][0]
    finally:
        (out / "cell-0").chmod(0o755)


# --- commands ---------------------------------------------------------------------------------------------------------

COMMANDS = {
    "table": ("table", "runs"),
    "table by tap": ("table", "runs", "--by", "tap"),
    "table csv": ("table", "runs", "--format", "csv"),
    "compare": ("compare", AET, "rotation/resnet18/digits", "--out", "runs"),
    "explain": ("explain", f"{AET}/0", f"{AET}/1", "--out", "runs"),
    "export": ("export", "runs", "--to", "boards"),
    "merge": ("merge", "runs", "--to", "merged"),
    "correlate": ("correlate", "runs"),
    "status": ("status", "runs"),
    "table of a leaderboard": ("table", "results/digits.jsonl"),
    "compare leaderboards": ("compare", "results/digits.jsonl", "results/digits.jsonl"),
}
LINE = "bench: left out: "


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two methods with three seeds each, exported, and a damaged seventh cell on both sides."""
    for method, value in (("aet", 0.80), ("rotation", 0.75)):
        write_seeds(tmp_path / "runs", method, value)
    bad = write_cell(tmp_path / "runs", "bad", 0, cell_score(0.25))
    export(read_records(tmp_path / "runs")[0], tmp_path / "results")
    with_value("2.0")(Path(bad.folder) / RECORD)
    board = tmp_path / "results" / "digits.jsonl"
    board.write_bytes(board.read_bytes().replace(b'"value": 0.25}', b'"value": 2.0}'))
    return tmp_path / "runs"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_names_a_damaged_record_once_in_the_same_words(name: str, runs: Path, bench: Bench) -> None:
    bad = next(runs.glob("bad-*")).name
    reason = "is not valid: accuracy@k=20 of knn at layer4 is 2.0, but must be between 0 and 1"
    file, remedy = f"runs/{bad}/{RECORD}", "run the cell again with bench run"
    if "leaderboard" in name:
        file, remedy = "line 4: results/digits.jsonl", "restore the file from git"
    result = bench(*COMMANDS[name])
    assert result.exit_code == 0, result.output
    assert [line for line in result.stderr.splitlines() if line.startswith(LINE)] == [
        f"{LINE}{file} {reason}; {remedy}"
    ]


def test_check_does_not_pass_with_a_damaged_record(runs: Path, bench: Bench) -> None:
    result = bench("check", "runs", "--baseline", "results/digits.csv")
    assert result.exit_code == 2  # the baseline is damaged as well
    board = runs.parent / "results" / "digits.jsonl"
    board.write_bytes(b"".join(line for line in board.read_bytes().splitlines(keepends=True) if b'"bad"' not in line))
    result = bench("check", "runs", "--baseline", "results/digits.csv")
    assert result.exit_code == 4
    assert "not comparable" in result.stdout
    assert f"{LINE}runs/{next(runs.glob('bad-*')).name}" in result.stderr
