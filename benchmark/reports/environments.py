"""A report that counts records by the environment in which they were computed."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.records.record import Record
from benchmark.reports.table import Report, Table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {"device": "device", "device_name": "name", "precision": "precision", "torch": "torch", "threads": "threads"}
"""Key of the provenance -> column."""
NOTE = "Devices, precisions and versions round differently, so equal settings may give other scores in another environment."


def environment_report(records: Sequence[Record]) -> Report:
    """Number of cells by device, precision, torch version and thread count."""
    counts = collections.Counter(tuple(str(record.provenance.get(key, "-")) for key in COLUMNS) for record in records)
    rows = [(*values, count) for values, count in sorted(counts.items())]

    def frame() -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(rows, columns=[*COLUMNS.values(), "cells"])

    return Report(tables=lambda: [_table(rows, len(records))], frame=frame)


def _table(rows: Sequence[Sequence[object]], cells: int) -> Table:
    return Table(
        title=f"{cells} cells by environment",
        columns=(*COLUMNS.values(), "cells"),
        rows=tuple(tuple(map(str, row)) for row in rows),
        notes=(NOTE,) if len(rows) > 1 else (),
    )
