"""Rank intervals of table rows from per-image outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Bench
from sample_records import sample_record, sample_score

from benchmark.records import index
from benchmark.records.columns import RecordSummary, ScoreKey
from benchmark.records.export import export
from benchmark.records.leaderboard_records import Leaderboard
from benchmark.records.record import PREDICTIONS, Record
from benchmark.records.record_files import read_record, write_record
from benchmark.reports.ranks import Ranker, RankLimits, TieMode, outcomes_of_index, ranker
from benchmark.reports.score_tables import score_tables
from benchmark.reports.table import MissingCell, Table

IMAGES = 400
NAME = "layer4|average|knn|knn@1|accuracy@k=20"


def _hits(accuracy: float, seed: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(IMAGES,) right or wrong; the same images are hard for all methods."""
    rng = np.random.default_rng(seed)
    return np.asarray(np.sort(rng.random(IMAGES)) + 0.02 * rng.standard_normal(IMAGES) < accuracy)


def put(out: Path, method: str, accuracy: float, seeds: tuple[int | None, ...], **changes: Any) -> list[Record]:
    """Write finished cells with outcomes."""
    records = []
    for seed in seeds:
        hits = _hits(accuracy, (seed or 0) + 10 * len(method))
        score = sample_score(float(hits.mean()), outcomes=NAME, n=IMAGES)
        record = sample_record(method, seed=seed, scores=(score,), **changes)
        folder = out / f"{method}-{seed}-{record.id[:10]}"
        write_record(folder, record)
        np.savez_compressed(folder / PREDICTIONS, **{NAME: hits})
        records.append(read_record(folder))
    return records


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two similar methods, a worse one, a method without seeds, and one with a single seed."""
    put(tmp_path / "runs", "aet", 0.90, (0, 1, 2))
    put(tmp_path / "runs", "dimm", 0.90, (0, 1, 2))
    put(tmp_path / "runs", "rotation", 0.50, (0, 1, 2))
    put(tmp_path / "runs", "pixels", 0.70, (None,))
    put(tmp_path / "runs", "one", 0.95, (0,))
    return tmp_path / "runs"


def _ranks(table: Table) -> dict[str, str]:
    return {row[0]: row[table.columns.index("rank")] for row in table.rows}


def _table(out: Path, ties: TieMode = "auto") -> Table:
    columns, _ = index.read(out)
    (table,) = score_tables(columns, (), ranker(columns, ties, out))
    return table


EXPECTED = {"aet": "1-2", "dimm": "1-2", "pixels": "3", "rotation": "4", "one": "1 seed"}


def test_indistinguishable_rows_share_a_rank_interval(out: Path) -> None:
    table = _table(out)
    assert _ranks(table) == EXPECTED
    assert table.columns[5:7] == ("accuracy@k=20", "rank")
    assert any("simultaneous rank interval among 4 rows" in note for note in table.notes)


def test_row_with_one_seed_has_no_rank_and_a_note(out: Path) -> None:
    table = _table(out)
    assert table.rows[0][0] == "one", "best by its mean"
    assert any(note.startswith("rank, 1 seed: variance across seeds unknown") for note in table.notes)


def test_table_with_one_rankable_row_has_no_ranks(tmp_path: Path) -> None:
    put(tmp_path, "aet", 0.9, (0,))
    put(tmp_path, "dimm", 0.5, (0,))
    put(tmp_path, "rotation", 0.5, (0, 1, 2))
    table = _table(tmp_path, "on")
    assert "rank" not in table.columns
    assert table.notes[-1].endswith("One seed: variance across seeds unknown.")


def test_leaderboard_and_run_folders_give_the_same_ranks(out: Path, tmp_path: Path) -> None:
    records = [read_record(folder) for folder in sorted(out.iterdir()) if folder.is_dir()]
    (table,) = score_tables(records, (), ranker(records, "auto"))
    assert _ranks(table) == EXPECTED
    export(records, tmp_path / "results")
    board = tmp_path / "results" / "digits.jsonl"
    store = Leaderboard(board)
    (table,) = score_tables(store.columns, (), ranker(store.columns, "auto", store))
    assert _ranks(table) == EXPECTED


def test_missing_cell_has_no_rank_and_the_best_stays_marked(out: Path) -> None:
    columns, _ = index.read(out)
    missing = MissingCell(method="lost", encoder="resnet18", dataset="digits", seed=0, reason="failed")
    (plain,), (table,) = (
        score_tables(columns, [missing]),
        score_tables(columns, [missing], ranker(columns, "auto", out)),
    )
    assert _ranks(table)["lost"] == "-"
    assert table.rows[-1][-1] == "failed"
    assert table.best == plain.best != frozenset()


def test_smoke_run_is_not_ranked(out: Path) -> None:
    put(out, "smoke", 0.99, (0, 1, 2), state="smoke")
    assert _ranks(_table(out)) == {**EXPECTED, "smoke": "-"}


def test_rows_on_other_images_are_not_ranked(out: Path) -> None:
    for folder in out.glob("dimm-*"):
        record = folder / "record.json"
        record.write_text(record.read_text().replace("f" * 64, "e" * 64))
    table = _table(out)
    assert _ranks(table) == {**EXPECTED, "aet": "1", "pixels": "2", "rotation": "3", "dimm": "-"}
    assert any("no outcomes on the test images of the other rows" in note for note in table.notes)


def test_table_without_outcomes_has_a_note(out: Path) -> None:
    for path in out.glob(f"*/{PREDICTIONS}"):
        path.unlink()
    table = _table(out)
    assert "rank" not in table.columns
    assert table.notes[-1] == "No ranks: accuracy@k=20 has no per-image outcomes."


def test_damaged_outcomes_remove_only_the_ranks(out: Path) -> None:
    next(iter(out.glob(f"aet-*/{PREDICTIONS}"))).write_bytes(b"PK")
    table = _table(out)
    assert "rank" not in table.columns
    assert "cannot read" in table.notes[-1]


@pytest.mark.parametrize("limit", [{"rows": 3}, {"work": 1000}, {"files": 5}, {"records": 10}], ids=str)
def test_auto_reads_no_outcomes_beyond_its_limits(limit: dict[str, int], out: Path) -> None:
    columns, _ = index.read(out)
    read: list[str] = []

    def outcomes(summary: RecordSummary, key: ScoreKey) -> Any:
        read.append(summary.folder)
        return outcomes_of_index(out)(summary, key)

    (table,) = score_tables(columns, (), Ranker(columns, outcomes, "auto", RankLimits(**limit)))
    assert read == []
    assert "rank" not in table.columns
    assert table.notes[-1].endswith("--ties on computes them.")
    (table,) = score_tables(columns, (), Ranker(columns, outcomes, "on", RankLimits(**limit)))
    assert _ranks(table) == EXPECTED
    assert len(read) == len(set(read)) == 10, "once per record that can be ranked"


def test_command_shows_or_hides_ranks(out: Path, bench: Bench) -> None:
    assert " rank " in bench("table", str(out)).output
    assert " rank " not in bench("table", str(out), "--ties", "off").output
    assert "rank" not in bench("table", str(out), "--format", "csv").output
