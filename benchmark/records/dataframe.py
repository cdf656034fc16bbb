"""Records as a pandas data frame or as CSV: one row per score, columns as in `csv_columns`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmark.records.columns import Columns, Integers, ScoreKey, columns_of
from benchmark.records.csv_columns import (
    CSV_COLUMNS,
    NAMES,
    OF_RECORD,
    OF_SETTING,
    SORT_RECORDS,
    SORT_SCORES,
    CsvColumn,
    Value,
    columns_of_scope,
)
from benchmark.records.record import Record

if TYPE_CHECKING:
    import pandas as pd


def to_frame(records: Sequence[Record] | Columns) -> pd.DataFrame:
    """One row per score, raw fractions, sorted so that a diff is readable."""
    import pandas as pd  # slow to import, and tables for people do not need it

    columns = columns_of(records).with_scores()
    rows = _record_rows(columns)
    order = _order(columns, rows)
    of_record = pd.DataFrame(rows, columns=[column.name for column in (*OF_SETTING, *OF_RECORD)])
    of_record["seed"] = [pd.NA if row["seed"] is None else row["seed"] for row in rows]
    of_key = pd.DataFrame([vars(key) for key in columns.score_keys], columns=list(ScoreKey.__dataclass_fields__))
    records_of, keys_of = columns.record_index[order], columns.score_key[order]
    series = {
        **{name: of_record[name].array.take(records_of) for name in of_record.columns},
        **{column.name: of_key[column.name].array.take(keys_of) for column in columns_of_scope("score key")},
        **{column.name: getattr(columns, column.name)[order] for column in columns_of_scope("score")},
    }
    return pd.DataFrame(series, columns=list(NAMES))


def frame_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV: numbers to 6 significant digits, so that equal records give equal bytes."""
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.6g")


def records_csv(records: Sequence[Record] | Columns) -> str:
    """The CSV of a leaderboard: the text of `frame_csv(to_frame(records))`, without importing pandas.

    Every run writes a CSV while its cells start, and importing pandas would delay them by a second.
    """
    columns = columns_of(records).with_scores()
    rows = _record_rows(columns)
    order = _order(columns, rows)
    records_of, keys_of = columns.record_index[order].tolist(), columns.score_key[order].tolist()
    texts = []
    for column in CSV_COLUMNS:
        if column.scope == "score":
            texts.append(_texts(column, getattr(columns, column.name)[order].tolist()))
        elif column.scope == "score key":
            texts.append([getattr(columns.score_keys[index], column.name) for index in keys_of])
        else:
            values = _texts(column, [row[column.name] for row in rows])
            texts.append([values[index] for index in records_of])
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(NAMES)
    writer.writerows(zip(*texts, strict=True))
    return stream.getvalue()


def _texts(column: CsvColumn, values: Sequence[Value]) -> list[str]:
    """The fields of a column. Integers are written in full if the column has no other numbers and no missing one."""
    if column.type == "text" or column.type == "integer" or all(isinstance(value, int) for value in values):
        return ["" if value is None else str(value) for value in values]
    return ["" if value is None or math.isnan(value) else f"{value:.6g}" for value in values]  # type: ignore[arg-type]  # numbers


def _record_rows(columns: Columns) -> list[dict[str, Value]]:
    """For each record its values of the columns that its scores share."""
    names = [column.name for column in (*OF_SETTING, *OF_RECORD)]
    return [dict(zip(names, (*summary.shared.csv, *summary.csv), strict=True)) for summary in columns.summaries]


def _order(columns: Columns, rows: Sequence[dict[str, Value]]) -> Integers:
    """Indices of all scores in the order of the CSV."""
    of_record = _ranks([tuple(map(_sortable, (row[name] for name in SORT_RECORDS))) for row in rows])
    of_key = _ranks([tuple(getattr(key, name) for name in SORT_SCORES) for key in columns.score_keys])
    ranks = of_record[columns.record_index] * (len(of_key) + 1) + of_key[columns.score_key]
    return np.argsort(ranks, kind="stable")


def _sortable(value: Value) -> tuple[bool, Value]:
    """A missing value sorts before any other."""
    return value is not None, 0 if value is None else value


def _ranks(keys: Sequence[tuple[object, ...]]) -> Integers:
    """The rank of each key; equal keys have equal ranks."""
    ranks = {key: rank for rank, key in enumerate(sorted(set(keys)))}
    return np.array([ranks[key] for key in keys], np.int64)
