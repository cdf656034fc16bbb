"""Records as a pandas data frame or as CSV: one row per score, columns as in `csv_columns`."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.plain_text import csv_field
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

CHUNK = 20_000
"""Rows of a CSV that are written at once."""


def to_frame(records: Sequence[Record] | Columns) -> pd.DataFrame:
    """One row per score, raw fractions, sorted so that a diff is readable."""
    columns = columns_of(records)
    (frame,) = frame_chunks(columns, max(1, len(columns.value)))
    return frame


def frame_chunks(columns: Columns, size: int = CHUNK // 10) -> Iterator[pd.DataFrame]:
    """The rows of `to_frame` in frames of at most `size` rows, at least one: all of 10,000 records take a gigabyte."""
    import pandas as pd  # slow to import, and tables for people do not need it

    columns = columns.with_scores()
    rows = _record_rows(columns)
    order = _order(columns, rows)
    of_record = pd.DataFrame(rows, columns=[column.name for column in (*OF_SETTING, *OF_RECORD)])
    of_record["seed"] = [pd.NA if row["seed"] is None else row["seed"] for row in rows]
    of_key = pd.DataFrame([vars(key) for key in columns.score_keys], columns=list(ScoreKey.__dataclass_fields__))
    for start in range(0, max(1, len(order)), size):
        chosen = order[start : start + size]
        records_of, keys_of = columns.record_index[chosen], columns.score_key[chosen]
        series = {
            **{name: of_record[name].array.take(records_of) for name in of_record.columns},
            **{column.name: of_key[column.name].array.take(keys_of) for column in columns_of_scope("score key")},
            **{column.name: getattr(columns, column.name)[chosen] for column in columns_of_scope("score")},
        }
        yield pd.DataFrame(series, columns=list(NAMES))


def frame_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV: numbers to 6 significant digits, so that equal records give equal bytes."""
    texts = {name: _fields(frame[name]) for name in frame.select_dtypes(["object", "str"]).columns}
    return frame.assign(**texts).rename(columns=csv_field).to_csv(index=False, lineterminator="\n", float_format="%.6g")


def _fields(column: pd.Series[Any]) -> pd.Series[Any]:
    """A column with its texts as fields of a CSV; other values stay as they are."""
    values = [csv_field(value) if isinstance(value, str) else value for value in column]
    return type(column)(values, index=column.index, dtype=column.dtype)


def records_csv(records: Sequence[Record] | Columns) -> str:
    """The CSV of a leaderboard: the text of `frame_csv(to_frame(records))`, without importing pandas.

    Every run writes a CSV while its cells start, and importing pandas would delay them by a second.
    """
    return "".join(csv_chunks(columns_of(records)))


def csv_chunks(columns: Columns) -> Iterator[str]:
    """The text of `records_csv` in parts of `CHUNK` rows: that of 10,000 records has 200 MB.

    A row is joined from texts that many rows share, so that only its numbers are formatted.
    """
    columns = columns.with_scores()
    rows = _record_rows(columns)
    order = _order(columns, rows)
    yield _csv_text([NAMES])
    segments = [_segment(columns, rows, kind, tuple(group)) for kind, group in itertools.groupby(CSV_COLUMNS, _kind)]
    for start in range(0, len(order), CHUNK):
        chosen = order[start : start + CHUNK]
        yield "\n".join(map(",".join, zip(*(texts(chosen) for texts in segments), strict=True))) + "\n"


def _kind(column: CsvColumn) -> str:
    return "record" if column.scope in ("setting", "record") else column.scope


def _segment(
    columns: Columns, rows: Sequence[dict[str, Value]], kind: str, group: Sequence[CsvColumn]
) -> Callable[[Integers], list[str]]:
    """A function from indices of scores to the texts of neighboring columns of one kind."""
    names = [column.name for column in group]
    if kind == "score":
        return lambda chosen: _score_texts(columns, group, chosen)
    if kind == "score key":
        texts = _csv_texts([[csv_field(getattr(key, name)) for name in names] for key in columns.score_keys])
        return lambda chosen: [texts[index] for index in columns.score_key[chosen].tolist()]
    fields = [_texts(column, [row[column.name] for row in rows]) for column in group]
    texts = _csv_texts(zip(*fields, strict=True))
    return lambda chosen: [texts[index] for index in columns.record_index[chosen].tolist()]


def _score_texts(columns: Columns, group: Sequence[CsvColumn], chosen: Integers) -> list[str]:
    fields = [_texts(column, getattr(columns, column.name)[chosen].tolist()) for column in group]
    return list(map(",".join, zip(*fields, strict=True)))


def _csv_texts(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows as they are in CSV, quoted where needed, without the end of the line."""
    return [_csv_text([row])[:-1] for row in rows]


def _csv_text(rows: Iterable[Sequence[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def _texts(column: CsvColumn, values: Sequence[Value]) -> list[str]:
    """The fields of a column. Integers are written in full if the column has no other numbers and no missing one."""
    if column.type == "text":
        return ["" if value is None else csv_field(str(value)) for value in values]
    if column.type == "integer" or all(isinstance(value, int) for value in values):
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
