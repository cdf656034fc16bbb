"""The report of `bench verify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.execution.verify import VerifiedCell
from benchmark.reports.table import Report, Table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("method", "encoder", "dataset", "seed", "verdict", "weights", "equal", "within", "outside", "remarks")
WEIGHTS = {True: "identical", False: "different", None: "-"}


def verify_report(cells: Sequence[VerifiedCell], what: str = "run again") -> Report:
    """One row per cell; `what` was done with the cells."""
    return Report(tables=lambda: [_table(cells, what)], frame=lambda: _frame(cells))


def _table(cells: Sequence[VerifiedCell], what: str) -> Table:
    rows = tuple(
        (
            *cell.record.labels,
            "-" if cell.record.seed is None else str(cell.record.seed),
            cell.verdict,
            WEIGHTS[cell.weights],
            str(cell.equal),
            str(cell.within),
            str(cell.outside),
            cell.reason,
        )
        for cell in cells
    )
    return Table(
        title=f"{len(cells)} cells {what}",
        columns=COLUMNS,
        rows=rows,
        notes=(
            "equal: scores identical to the last bit. within: other scores in the stored score's 95 % interval over test "
            "images. outside: all other scores, including those without an interval or without a new number.",
        ),
        kept=len(COLUMNS) - 1,
    )


def _frame(cells: Sequence[VerifiedCell]) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {
            "id": cell.record.id,
            **dict(zip(("method", "encoder", "dataset"), cell.record.labels, strict=True)),
            "seed": cell.record.seed,
            "verdict": cell.verdict,
            "weights_identical": cell.weights,
            "equal": cell.equal,
            "within": cell.within,
            "outside": cell.outside,
            "remarks": cell.reason,
        }
        for cell in cells
    ]
    frame = pd.DataFrame(rows)
    return frame.astype({"seed": "Int64"}) if rows else frame
