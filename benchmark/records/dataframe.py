"""Records as a pandas data frame, as CSV and as JSON: one row per score."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.records.columns import Columns, RecordSummary, Whole, columns_of
from benchmark.records.record import Record

if TYPE_CHECKING:
    import pandas as pd

CSV_COLUMNS = (
    *("method", "encoder", "dataset", "seed", "epochs", "tap", "pool", "evaluator", "protocol", "metric"),
    *("value", "ci_low", "ci_high", "n", "train_seconds", "device", "cell", "method_params", "versions", "fingerprint"),
    *("state", "repbench_version", "commit", "images_seen", "peak_memory_bytes", "precision"),
)
"""Of a leaderboard CSV, in order."""
OF_RECORD = (*CSV_COLUMNS[:5], *CSV_COLUMNS[14:])
OF_SCORE_KEY = CSV_COLUMNS[5:10]
"""Columns that all scores of a record share, and those that say what a score is of."""
SORT_RECORDS = ("dataset", "method", "encoder", "method_params", "epochs", "seed", "cell")
SORT_SCORE_KEYS = ("evaluator", "pool", "tap", "metric")
"""By what rows are sorted: first the records, then the scores of each."""
TIMES = ("train_seconds", "peak_memory_bytes")
"""Columns that differ between two runs of the same cells."""


def to_frame(records: Sequence[Record] | Columns) -> pd.DataFrame:
    """One row per score, columns as in COLUMNS, raw fractions, sorted so that a diff is readable."""
    import pandas as pd  # here, so that a table for people does not wait for it

    columns = _scored(records)
    order = _order(columns)
    rows = [_of_record(brief) for brief in columns.briefs]
    rows = [{**row, "seed": pd.NA if row["seed"] is None else row["seed"]} for row in rows]
    of_record = pd.DataFrame(rows, columns=list(OF_RECORD))
    of_kind = pd.DataFrame([{name: getattr(each, name) for name in OF_SCORE_KEY} for each in columns.kinds])
    scores = {"value": columns.value, "ci_low": columns.low, "ci_high": columns.high, "n": columns.n}
    found = {
        **{name: of_record[name].array.take(columns.record[order]) for name in OF_RECORD},
        **{name: of_kind[name].array.take(columns.kind[order]) for name in OF_SCORE_KEY if len(of_kind)},
        **{name: numbers[order] for name, numbers in scores.items()},
    }
    return pd.DataFrame(found, columns=list(CSV_COLUMNS))


def write_csv(records: Sequence[Record] | Columns) -> str:
    """The leaderboard as CSV text: numbers to 6 significant places, so that the same record gives the same bytes."""
    columns = _scored(records)
    order = _order(columns)
    shared = [_of_record(brief) for brief in columns.briefs]
    for name in ("epochs", "train_seconds", "images_seen", "peak_memory_bytes"):
        for row, text in zip(shared, _numbers([row[name] for row in shared]), strict=True):
            row[name] = text
    before, after = (
        _joined([row[name] for name in names] for row in shared) for names in (CSV_COLUMNS[:5], CSV_COLUMNS[14:])
    )
    between = _joined([getattr(kind, name) for name in OF_SCORE_KEY] for kind in columns.kinds)
    places = (columns.record, columns.kind, columns.value, columns.low, columns.high, columns.n)
    lines = [
        f"{before[record]},{between[kind]},{value:.6g},{low:.6g},{high:.6g},{n},{after[record]}"
        if low == low and high == high  # an end that is none is NaN
        else f"{before[record]},{between[kind]},{value:.6g},{_end(low)},{_end(high)},{n},{after[record]}"
        for record, kind, value, low, high, n in zip(*(each[order].tolist() for each in places), strict=True)
    ]
    return "\n".join([",".join(CSV_COLUMNS), *lines, ""])


def records_as_json(records: Sequence[Record] | Columns) -> str:
    """The scores as JSON: a list of objects with the CSV's columns, missing values as null."""
    found = to_frame(records)
    return json.dumps(json.loads(found.to_json(orient="records", double_precision=15)), indent=1) + "\n"


def _columns(records: Sequence[Record] | Columns) -> Columns:
    return records if isinstance(records, Columns) else columns_of(records)


def _scored(records: Sequence[Record] | Columns) -> Columns:
    """Those that have scores."""
    columns = _columns(records)
    return columns if columns.count.all() else columns.chosen(np.flatnonzero(columns.count).tolist())


def _of_record(brief: RecordSummary) -> dict[str, Any]:
    common = brief.common
    return {
        "method": common.method,
        "encoder": common.encoder,
        "dataset": common.dataset,
        "seed": brief.seed,
        "epochs": common.epochs,
        "train_seconds": brief.train_seconds,
        "device": common.device,
        "cell": brief.id[:10],
        "method_params": common.method_params,
        "versions": common.versions,
        "fingerprint": common.fingerprint,
        "state": "did not learn" if brief.dull else brief.state,
        "repbench_version": common.repbench_version,
        "commit": common.commit,
        "images_seen": brief.images_seen,
        "peak_memory_bytes": brief.peak_memory_bytes,
        "precision": common.precision,
    }


def _order(columns: Columns) -> Whole:
    """The places of all scores, sorted; what has no epochs or seed comes first."""
    rows = [_of_record(brief) for brief in columns.briefs]
    of_record = _ranks(
        [
            tuple(
                (row[name] is not None, row[name] or 0) if name in ("epochs", "seed") else row[name]
                for name in SORT_RECORDS
            )
            for row in rows
        ]
    )
    of_kind = _ranks([tuple(getattr(kind, name) for name in SORT_SCORE_KEYS) for kind in columns.kinds])
    return np.argsort(of_record[columns.record] * (len(of_kind) + 1) + of_kind[columns.kind], kind="stable")


def _ranks(keys: Sequence[tuple[Any, ...]]) -> Whole:
    """The rank of each key; equal keys have the same."""
    ranks = {key: rank for rank, key in enumerate(sorted(set(keys)))}
    return np.array([ranks[key] for key in keys], np.int64)


def _numbers(values: Sequence[float | None]) -> list[str]:
    """A column of numbers: whole ones as they are if all are whole."""
    if all(isinstance(value, int) for value in values):
        return [str(value) for value in values]
    return ["" if value is None else f"{value:.6g}" for value in values]


def _end(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _joined(rows: Iterable[Sequence[object]]) -> list[str]:
    """Each row's fields as they stand in a CSV."""
    lines: list[str] = []
    writer = csv.writer(_Lines(lines), lineterminator="\n")
    writer.writerows(rows)
    return [line[:-1] for line in lines]


class _Lines:
    """A file that keeps each row apart: a field may hold a line break."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append
