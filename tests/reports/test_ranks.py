"""Ranks beside rows: from outcomes of single images, only where that pays, and never where nothing is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Bench
from sample_records import sample_record, sample_score

from benchmark.records import index
from benchmark.records.leaderboard import export, read_board
from benchmark.records.record import PREDICTIONS, Record, read_record, write_record
from benchmark.reports import ranks as ties
from benchmark.reports.score_tables import score_tables
from benchmark.reports.table import Table

IMAGES = 400
NAME = "layer4|average|knn|knn@1|accuracy@k=20"


def _hits(accuracy: float, seed: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(IMAGES,) right or wrong; the same images are hard for everybody."""
    rng = np.random.default_rng(seed)
    return np.asarray(np.sort(rng.random(IMAGES)) + 0.02 * rng.standard_normal(IMAGES) < accuracy)


def put(out: Path, method: str, accuracy: float, seeds: tuple[int | None, ...], **words: Any) -> list[Record]:
    """Finished cells in folders, with outcomes."""
    found = []
    for seed in seeds:
        hits = _hits(accuracy, (seed or 0) + 10 * len(method))
        score = sample_score(float(hits.mean()), outcomes=NAME, n=IMAGES)
        record = sample_record(method, seed=seed, scores=(score,), **words)
        folder = out / f"{method}-{seed}-{record.id[:10]}"
        write_record(folder, record)
        np.savez_compressed(folder / PREDICTIONS, **{NAME: hits})
        found.append(read_record(folder))
    return found


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two methods near to each other, one far behind, a floor without a seed, and one method with a single seed."""
    put(tmp_path / "runs", "aet", 0.90, (0, 1, 2))
    put(tmp_path / "runs", "dimm", 0.90, (0, 1, 2))
    put(tmp_path / "runs", "rotation", 0.50, (0, 1, 2))
    put(tmp_path / "runs", "pixels", 0.70, (None,))
    put(tmp_path / "runs", "one", 0.95, (0,))
    return tmp_path / "runs"


def _ranks(table: Table) -> dict[str, str]:
    return {row[0]: row[table.columns.index("rank")] for row in table.rows}


def _table(out: Path, asked: ties.TieMode = "auto") -> Table:
    columns, _ = index.read(out)
    (table,) = score_tables(columns, (), ties.ranker(columns, asked, out))
    return table


EXPECTED = {"aet": "1-2", "dimm": "1-2", "pixels": "3", "rotation": "4", "one": "1 seed"}


def test_rows_that_cannot_be_told_apart_share_their_places_and_others_do_not(out: Path) -> None:
    table = _table(out)
    assert _ranks(table) == EXPECTED
    assert table.columns[5:7] == ("accuracy@k=20", "rank")
    assert any("places that a row may have among 4" in note for note in table.notes)


def test_a_row_of_one_seed_says_so_and_a_note_says_why(out: Path) -> None:
    table = _table(out)
    assert table.rows[0][0] == "one", "best by its mean"
    assert any(note.startswith("rank, 1 seed: nothing is known") for note in table.notes)


def test_a_table_without_two_rows_that_can_be_ranked_has_no_column_of_ranks(tmp_path: Path) -> None:
    put(tmp_path, "aet", 0.9, (0,))
    put(tmp_path, "dimm", 0.5, (0,))
    put(tmp_path, "rotation", 0.5, (0, 1, 2))
    table = _table(tmp_path, "on")
    assert "rank" not in table.columns
    assert table.notes[-1].startswith("1 seed: ")


def test_a_leaderboard_and_records_that_know_their_folders_give_the_same_ranks(out: Path, tmp_path: Path) -> None:
    records = [read_record(folder) for folder in sorted(out.iterdir()) if folder.is_dir()]
    (table,) = score_tables(records, (), ties.ranker(records, "auto"))
    assert _ranks(table) == EXPECTED
    export(records, tmp_path / "results")
    board = tmp_path / "results" / "digits.jsonl"
    records = read_board(board)
    (table,) = score_tables(records, (), ties.ranker(records, "auto", board))
    assert _ranks(table) == EXPECTED


def test_a_cell_that_is_missing_has_no_rank_and_the_best_stays_marked(out: Path) -> None:
    from benchmark.reports.table import MissingCell

    columns, _ = index.read(out)
    missing = MissingCell(method="lost", encoder="resnet18", dataset="digits", seed=0, reason="failed")
    (plain,), (table,) = (
        score_tables(columns, [missing]),
        score_tables(columns, [missing], ties.ranker(columns, "auto", out)),
    )
    assert _ranks(table)["lost"] == "-"
    assert table.rows[-1][-1] == "failed"
    assert table.best == plain.best != frozenset()


def test_a_smoke_run_is_not_ranked(out: Path) -> None:
    put(out, "smoke", 0.99, (0, 1, 2), state="smoke")
    assert _ranks(_table(out)) == {**EXPECTED, "smoke": "-"}


def test_rows_scored_on_other_images_are_not_compared(out: Path) -> None:
    for folder in out.glob("dimm-*"):
        record = folder / "record.json"
        record.write_text(record.read_text().replace("f" * 64, "e" * 64))
    table = _table(out)
    assert _ranks(table) == {**EXPECTED, "aet": "1", "pixels": "2", "rotation": "3", "dimm": "-"}
    assert any("no outcomes on the test images of the others" in note for note in table.notes)


def test_without_outcomes_a_note_says_that_there_are_no_ranks(out: Path) -> None:
    for path in out.glob(f"*/{PREDICTIONS}"):
        path.unlink()
    table = _table(out)
    assert "rank" not in table.columns
    assert table.notes[-1] == "No ranks: no outcomes of single images behind accuracy@k=20."


def test_damaged_outcomes_cost_the_ranks_and_not_the_table(out: Path) -> None:
    next(iter(out.glob(f"aet-*/{PREDICTIONS}"))).write_bytes(b"PK")
    table = _table(out)
    assert "rank" not in table.columns
    assert "is not whole" in table.notes[-1]


def _reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    real: Callable[..., Any] = ties.read_record
    monkeypatch.setattr(ties, "read_record", lambda folder: (names.append(folder.name), real(folder))[1])
    return names


@pytest.mark.parametrize(("limit", "value"), [("ROWS", 3), ("WORK", 1000), ("FILES", 5), ("MANY", 10)])
def test_nothing_is_read_unasked_where_it_would_take_long(
    limit: str, value: int, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ties, limit, value)
    names = _reads(monkeypatch)
    table = _table(out)
    assert names == []
    assert "rank" not in table.columns
    assert table.notes[-1].endswith("--ties on shows them.")
    assert _ranks(_table(out, "on")) == EXPECTED
    assert len(names) == 10, "each record once; the one that cannot be ranked not at all"


def test_the_command_line_shows_them_or_not(out: Path, bench: Bench) -> None:
    assert " rank " in bench("table", str(out)).output
    assert " rank " not in bench("table", str(out), "--ties", "off").output
    assert "rank" not in bench("table", str(out), "--format", "csv").output
