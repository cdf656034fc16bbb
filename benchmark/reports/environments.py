"""A table that counts records by the environment in which they were made."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from benchmark.records.record import Record
from benchmark.reports.table import Table


def environment_table(records: Sequence[Record]) -> Table:
    """Number of cells by device, precision, torch version and thread count."""
    keys = ("device", "device_name", "precision", "torch", "threads")
    counts = collections.Counter(tuple(str(r.provenance.get(key, "-")) for key in keys) for r in records)
    return Table(
        title=f"{len(records)} cells by environment",
        columns=("device", "name", "precision", "torch", "threads", "cells"),
        rows=tuple((*values, str(count)) for values, count in sorted(counts.items())),
        notes=(
            "Devices, precisions and versions round differently: seeds of one method may differ for this reason alone.",
        )
        if len(counts) > 1
        else (),
    )
