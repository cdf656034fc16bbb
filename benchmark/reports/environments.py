"""A report that counts records by the environment in which they were computed."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.records.columns import Columns, columns_of
from benchmark.records.record import Record
from benchmark.reports.table import Report, Table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("device", "name", "precision", "torch", "threads")
"""Columns for the values of `columns.ENVIRONMENT`."""
NOTE = "Devices, precisions and versions round differently, so equal settings may give other scores in another environment."


def environment_report(records: Sequence[Record] | Columns) -> Report:
    """Number of cells by device, precision, torch version and thread count."""
    counts = collections.Counter(summary.shared.environment for summary in columns_of(records).summaries)
    rows = [(*values, count) for values, count in sorted(counts.items())]

    def frame() -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(rows, columns=[*COLUMNS, "cells"])

    return Report(tables=lambda: [_table(rows, len(records))], frame=frame)


def _table(rows: Sequence[Sequence[object]], cells: int) -> Table:
    return Table(
        title=f"{cells} cells by environment",
        columns=(*COLUMNS, "cells"),
        rows=tuple(tuple(map(str, row)) for row in rows),
        notes=(NOTE,) if len(rows) > 1 else (),
    )
