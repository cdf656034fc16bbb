"""The columns of a leaderboard's CSV: name, type and source of each, defined once.

The CSV writer, the index of an output folder and the reader of CSV baselines use this list. To add a column, add it here
and to the documentation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmark.records.record import KINDS, Record

Scope = Literal["setting", "record", "score key", "score"]
"""`setting`: equal in records that differ only in the seed. `record`: of one record. `score key`: of scores of one kind."""
Value = str | int | float | None


def _of_score(record: Record) -> Value:
    raise TypeError("this column is an attribute of a score, not of a record")


@dataclass(frozen=True, kw_only=True)
class CsvColumn:
    """One column."""

    name: str
    """For scopes `score key` and `score` also the name of the attribute of `Score`."""
    type: Literal["text", "integer", "number"]
    """Missing values are empty in CSV and null in JSON and Parquet."""
    scope: Scope
    read: Callable[[Record], Value] = _of_score
    """The value of a record, for scopes `setting` and `record`."""

    def parse(self, text: str) -> Value:
        """The value of a CSV field; None if it is empty.

        Raises:
            ValueError: the text is not of the column's type.
        """
        if self.type == "text":
            return text
        if not text:
            return None
        return int(text) if self.type == "integer" else float(text)


def device_of(record: Record) -> str | None:
    """`cpu`, or the name of the GPU."""
    name: str | None = record.provenance.get("device_name" if record.provenance.get("device") == "cuda" else "device")
    return name


def commit_of(record: Record) -> str:
    """The first 10 digits of the commit, followed by + if files were modified; empty if it is not recorded."""
    commit = str(record.provenance.get("commit") or "")[:10]
    return f"{commit}+" if commit and record.provenance.get("dirty") else commit


def _versions(record: Record) -> str:
    versions = record.provenance.get("versions", {})
    return ".".join(str(versions.get(kind, "")) for kind in KINDS)


def fingerprint_of(record: Record) -> str:
    """The first 16 digits of the dataset's fingerprint."""
    return str(record.cell["dataset"].get("fingerprint", ""))[:16]


NOT_LEARNED = "did not learn"
"""`state` of a finished record that failed to learn."""
IN_DOUBT = ("altered", "unverified")
"""`state` of a finished record that was edited, or that lacks some of its checksums; also the key among its checks."""


def _state(record: Record) -> str:
    if record.state == "done":
        doubt = next((key for key in IN_DOUBT if record.checks.get(key)), "")
        if doubt:
            return doubt
    return NOT_LEARNED if record.failed_to_learn else record.state


CSV_COLUMNS: tuple[CsvColumn, ...] = (
    CsvColumn(name="method", type="text", scope="setting", read=lambda record: record.labels[0]),
    CsvColumn(name="encoder", type="text", scope="setting", read=lambda record: record.labels[1]),
    CsvColumn(name="dataset", type="text", scope="setting", read=lambda record: record.labels[2]),
    CsvColumn(name="seed", type="integer", scope="record", read=lambda record: record.seed),
    CsvColumn(
        name="epochs", type="number", scope="setting", read=lambda record: record.cell.get("recipe", {}).get("epochs")
    ),
    CsvColumn(name="tap", type="text", scope="score key"),
    CsvColumn(name="pool", type="text", scope="score key"),
    CsvColumn(name="evaluator", type="text", scope="score key"),
    CsvColumn(name="protocol", type="text", scope="score key"),
    CsvColumn(name="metric", type="text", scope="score key"),
    CsvColumn(name="value", type="number", scope="score"),
    CsvColumn(name="ci_low", type="number", scope="score"),
    CsvColumn(name="ci_high", type="number", scope="score"),
    CsvColumn(name="n", type="integer", scope="score"),
    CsvColumn(
        name="train_seconds", type="number", scope="record", read=lambda record: record.cost.get("train_seconds")
    ),
    CsvColumn(name="device", type="text", scope="setting", read=device_of),
    CsvColumn(name="cell", type="text", scope="record", read=lambda record: record.short_id),
    CsvColumn(
        name="method_params",
        type="text",
        scope="setting",
        read=lambda record: json.dumps(record.cell["method"]["params"], sort_keys=True),
    ),
    CsvColumn(name="versions", type="text", scope="setting", read=_versions),
    CsvColumn(name="fingerprint", type="text", scope="setting", read=fingerprint_of),
    CsvColumn(
        name="state",
        type="text",
        scope="record",
        read=_state,
    ),
    CsvColumn(
        name="repbench_version", type="text", scope="setting", read=lambda record: record.provenance.get("repbench")
    ),
    CsvColumn(name="commit", type="text", scope="setting", read=commit_of),
    CsvColumn(name="images_seen", type="number", scope="record", read=lambda record: record.cost.get("images_seen")),
    CsvColumn(
        name="peak_memory_bytes",
        type="number",
        scope="record",
        read=lambda record: record.cost.get("peak_memory_bytes"),
    ),
    CsvColumn(name="precision", type="text", scope="setting", read=lambda record: record.provenance.get("precision")),
)
"""In the order of the CSV."""
NAMES = tuple(column.name for column in CSV_COLUMNS)
SORT_RECORDS = ("dataset", "method", "encoder", "method_params", "epochs", "seed", "cell")
SORT_SCORES = ("evaluator", "pool", "tap", "metric")
"""Rows are sorted by record, then by score. A missing value comes first."""
VARIES = ("train_seconds", "peak_memory_bytes")
"""Columns that differ between two runs of the same cell."""


def columns_of_scope(scope: Scope) -> tuple[CsvColumn, ...]:
    """The columns of one scope, in the order of the CSV."""
    return tuple(column for column in CSV_COLUMNS if column.scope == scope)


OF_SETTING = columns_of_scope("setting")
OF_RECORD = columns_of_scope("record")
