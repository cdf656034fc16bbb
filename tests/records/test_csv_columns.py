"""Definitions of the CSV columns."""

from __future__ import annotations

import pytest

from benchmark.records.columns import RecordSummary, SharedMetadata
from benchmark.records.csv_columns import CSV_COLUMNS, NAMES, SORT_RECORDS, SORT_SCORES, VARIES
from benchmark.records.record import Score


def test_columns_have_unique_names_and_sort_keys_exist() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert {*SORT_RECORDS, *SORT_SCORES, *VARIES} <= set(NAMES)
    assert {"csv"} <= set(SharedMetadata.__dataclass_fields__) & set(RecordSummary.__dataclass_fields__)


def test_score_columns_are_attributes_of_scores() -> None:
    for column in CSV_COLUMNS:
        if column.scope in ("score", "score key"):
            assert column.name in Score.__dataclass_fields__


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "3", 3),
        ("seed", "", None),
        ("value", "0.5", 0.5),
        ("value", "", None),
        ("device", "", ""),
        ("n", "8", 8),
    ],
)
def test_parse_returns_the_type_of_the_column(name: str, text: str, value: object) -> None:
    (column,) = (column for column in CSV_COLUMNS if column.name == name)
    assert column.parse(text) == value


@pytest.mark.parametrize(("name", "text"), [("seed", "1.5"), ("n", "eight"), ("value", "high")])
def test_parse_refuses_another_type(name: str, text: str) -> None:
    (column,) = (column for column in CSV_COLUMNS if column.name == name)
    with pytest.raises(ValueError, match=text):
        column.parse(text)
