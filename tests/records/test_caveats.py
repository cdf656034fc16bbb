"""Marks: what a record's checks found stands beside the row that it is true of, and is explained once under the table."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from sample_records import sample_record, sample_score

from benchmark.errors import RecordError
from benchmark.records import index
from benchmark.records.caveats import NOTES, caveats_of
from benchmark.records.record import Record, write_record
from benchmark.reports.score_tables import score_tables
from benchmark.reports.table import Table

OVERLAP = {"exact": 3, "near": 35, "of": 360, "threshold": 0.97}


def _checked(method: str = "aet", seed: int = 0, **checks: Any) -> Record:
    return sample_record(method, seed=seed, checks={"trained": True, "learned": None, "frozen": True, **checks})


def _remarks(table: Table) -> dict[str, str]:
    if "remarks" not in table.columns:
        return {row[0]: "" for row in table.rows}
    return {row[0]: row[table.columns.index("remarks")] for row in table.rows}


def test_what_was_not_checked_leaves_no_mark() -> None:
    assert caveats_of({}) == ()
    assert caveats_of({"frozen": True, "labels_unseen": True, "chosen_on_test": [], "augmented": []}) == ()
    assert caveats_of({"overlap": {"exact": 0, "near": 0, "of": 360}}) == ()
    (table,) = score_tables([sample_record()])
    assert "remarks" not in table.columns
    assert len(table.notes) == 1


@pytest.mark.parametrize(
    ("checks", "mark"),
    [
        ({"labels_unseen": False}, "saw labels"),
        ({"frozen": False}, "not frozen"),
        ({"overlap": OVERLAP}, "overlap 3+35/360"),
        ({"chosen_on_test": ["knn", "fc1"]}, "chose on test"),
        ({"augmented": ["knn"]}, "augmented"),
    ],
)
def test_each_finding_is_a_mark_beside_its_row_with_a_note_that_explains_it(checks: Any, mark: str) -> None:
    (table,) = score_tables([_checked("aet", **checks), _checked("dim")])
    assert _remarks(table) == {"aet": mark, "dim": ""}
    explained = [note for note in table.notes if note in NOTES.values()]
    assert len(explained) == 1
    assert explained[0].startswith(mark.partition(" 3")[0])


def test_what_an_evaluator_did_is_told_in_its_own_tables_alone() -> None:
    scores = (sample_score(), sample_score(evaluator="fc1", protocol="fc1@1", metric="accuracy"))
    record = dataclasses.replace(_checked(augmented=["fc1"]), scores=scores)
    knn, heads = score_tables([record])
    assert _remarks(knn) == {"aet": ""}
    assert _remarks(heads) == {"aet": "augmented"}
    assert not any("augmented" in note for note in knn.notes)


def test_what_is_true_of_every_row_is_told_once_under_the_table() -> None:
    (table,) = score_tables([_checked("aet", overlap=OVERLAP), _checked("dim", overlap=OVERLAP, labels_unseen=False)])
    assert _remarks(table) == {"aet": "", "dim": "saw labels"}
    assert any(note.startswith("All rows, overlap 3+35/360. overlap a+b/n: ") for note in table.notes)


def test_labels_that_reached_every_method_are_told_of_each() -> None:
    (table,) = score_tables([_checked("aet", labels_unseen=False), _checked("dim", labels_unseen=False)])
    assert _remarks(table) == {"aet": "saw labels", "dim": "saw labels"}


def test_different_overlaps_are_told_row_by_row() -> None:
    (table,) = score_tables([_checked("aet", overlap=OVERLAP), _checked("dim", overlap={**OVERLAP, "exact": 0})])
    assert _remarks(table) == {"aet": "overlap 3+35/360", "dim": "overlap 0+35/360"}
    assert sum(note == NOTES["overlap"] for note in table.notes) == 1


def test_a_mark_of_any_seed_is_a_mark_of_the_row() -> None:
    (table,) = score_tables([_checked(seed=0), _checked(seed=1, labels_unseen=False), _checked(seed=2)])
    assert _remarks(table) == {"aet": "saw labels"}
    assert table.columns[4:6] == ("seeds", "accuracy@k=20")


def test_marks_stand_beside_other_remarks() -> None:
    (table,) = score_tables([_checked(learned=False, labels_unseen=False)])
    assert _remarks(table) == {"aet": "did not learn; saw labels"}


def test_marks_come_back_from_the_index(tmp_path: Path) -> None:
    records = [_checked("aet", labels_unseen=False, overlap=OVERLAP, augmented=["knn"]), _checked("dim")]
    for record in records:
        write_record(tmp_path / record.id[:10], record)
    by_method = {record.cell["method"]["label"]: record for record in records}
    for _ in range(2):
        columns, _ = index.read(tmp_path)
        found = {brief.common.method: brief.marks for brief in columns.briefs}
        assert found == {method: caveats_of(record.checks) for method, record in by_method.items()}
        assert len(found["aet"]) == 3


@pytest.mark.parametrize("overlap", [[1, 2], {"exact": "many"}, 3])
def test_a_check_that_is_none_is_told_with_the_record(overlap: Any) -> None:
    with pytest.raises(RecordError, match="is not whole"):
        score_tables([_checked(overlap=overlap)])
