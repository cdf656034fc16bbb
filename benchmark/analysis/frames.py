"""Results as a data frame that keeps every digit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def exact_frame(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Rows as a data frame of objects: every digit is kept, and a number that is missing or not finite is None.

    Args:
        rows: one mapping per result.
        columns: names of the columns, needed if there may be no row; None: the keys of the rows.
    """
    import pandas as pd  # imported here because tables for people do not need it

    values = [{name: _finite(value) for name, value in row.items()} for row in rows]
    return pd.DataFrame(values, columns=None if columns is None else list(columns), dtype=object)


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
