"""Caveats from a record's checks, in rows and notes of tables."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from sample_records import sample_record, sample_score

from benchmark.errors import RecordError
from benchmark.records import index
from benchmark.records.caveats import NOTES, caveats_of
from benchmark.records.record import Record
from benchmark.records.record_files import write_record
from benchmark.reports.score_tables import score_tables
from benchmark.reports.table import Table

OVERLAP = {"exact": 3, "near": 35, "of": 360, "threshold": 0.97}


def _checked(method: str = "aet", seed: int = 0, **checks: Any) -> Record:
    return sample_record(method, seed=seed, checks={"trained": True, "failed_to_learn": None, "frozen": True, **checks})


def _remarks(table: Table) -> dict[str, str]:
    if "remarks" not in table.columns:
        return {row[0]: "" for row in table.rows}
    return {row[0]: row[table.columns.index("remarks")] for row in table.rows}


def test_checks_that_passed_or_are_absent_give_no_caveat() -> None:
    assert caveats_of({}) == ()
    assert caveats_of({"frozen": True, "labels_unseen": True, "chosen_on_test": [], "augmented": []}) == ()
    assert caveats_of({"overlap": {"exact": 0, "near": 0, "of": 360}}) == ()
    (table,) = score_tables([sample_record()])
    assert "remarks" not in table.columns
    assert len(table.notes) == 1


@pytest.mark.parametrize(
    ("checks", "caveat"),
    [
        ({"labels_unseen": False}, "saw labels"),
        ({"frozen": False}, "not frozen"),
        ({"overlap": OVERLAP}, "overlap 3+35/360"),
        ({"skipped_images": {"count": 3, "of": 63, "reasons": {}}}, "skipped 3/63"),
        ({"chosen_on_test": ["knn", "fc1"]}, "chose on test"),
        ({"augmented": ["knn"]}, "augmented"),
    ],
)
def test_each_check_gives_a_caveat_in_its_row_and_one_note(checks: Any, caveat: str) -> None:
    (table,) = score_tables([_checked("aet", **checks), _checked("dim")])
    assert _remarks(table) == {"aet": caveat, "dim": ""}
    explanations = [note for note in table.notes if note in NOTES.values()]
    assert len(explanations) == 1
    assert explanations[0].startswith(caveat.partition(" 3")[0])


def test_evaluator_caveat_is_shown_only_in_its_tables() -> None:
    scores = (sample_score(), sample_score(evaluator="fc1", protocol="fc1@1", metric="accuracy"))
    record = dataclasses.replace(_checked(augmented=["fc1"]), scores=scores)
    knn, heads = score_tables([record])
    assert _remarks(knn) == {"aet": ""}
    assert _remarks(heads) == {"aet": "augmented"}
    assert not any("augmented" in note for note in knn.notes)


def test_overlap_of_all_rows_is_stated_once() -> None:
    (table,) = score_tables([_checked("aet", overlap=OVERLAP), _checked("dim", overlap=OVERLAP, labels_unseen=False)])
    assert _remarks(table) == {"aet": "", "dim": "saw labels"}
    assert any(note.startswith("All rows, overlap 3+35/360. overlap a+b/n: ") for note in table.notes)


def test_saw_labels_is_shown_in_every_row() -> None:
    (table,) = score_tables([_checked("aet", labels_unseen=False), _checked("dim", labels_unseen=False)])
    assert _remarks(table) == {"aet": "saw labels", "dim": "saw labels"}


def test_different_overlaps_are_shown_per_row() -> None:
    (table,) = score_tables([_checked("aet", overlap=OVERLAP), _checked("dim", overlap={**OVERLAP, "exact": 0})])
    assert _remarks(table) == {"aet": "overlap 3+35/360", "dim": "overlap 0+35/360"}
    assert sum(note == NOTES["overlap"] for note in table.notes) == 1


def test_caveat_of_one_seed_is_shown_in_the_row() -> None:
    (table,) = score_tables([_checked(seed=0), _checked(seed=1, labels_unseen=False), _checked(seed=2)])
    assert _remarks(table) == {"aet": "saw labels"}
    assert table.columns[4:6] == ("seeds", "accuracy@k=20")


def test_caveats_follow_other_remarks() -> None:
    (table,) = score_tables([_checked(failed_to_learn=True, labels_unseen=False)])
    assert _remarks(table) == {"aet": "did not learn; saw labels"}


def test_index_keeps_caveats(tmp_path: Path) -> None:
    records = [_checked("aet", labels_unseen=False, overlap=OVERLAP, augmented=["knn"]), _checked("dim")]
    for record in records:
        write_record(tmp_path / record.id[:10], record)
    by_method = {record.cell["method"]["label"]: record for record in records}
    for _ in range(2):
        columns, _ = index.read(tmp_path)
        found = {brief.shared.method: brief.caveats for brief in columns.summaries}
        assert found == {method: caveats_of(record.checks) for method, record in by_method.items()}
        assert len(found["aet"]) == 3


@pytest.mark.parametrize("overlap", [[1, 2], {"exact": "many"}, 3])
def test_malformed_check_is_a_record_error(overlap: Any) -> None:
    with pytest.raises(RecordError, match="is incomplete"):
        score_tables([_checked(overlap=overlap)])
