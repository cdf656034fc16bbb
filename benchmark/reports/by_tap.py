"""Scores along an encoder's depth: one row per method and encoder, one column per tap, shallow to deep.

The encoder's plugin defines the order of the taps. If it is not installed, taps are in the order of the record's scores,
which differs only if taps were added later.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.api.catalog import Catalog
from benchmark.api.parameters import bind
from benchmark.errors import RecordError
from benchmark.records.columns import Columns, RecordSummary, columns_of
from benchmark.records.record import KINDS, Record
from benchmark.records.record_files import read_record
from benchmark.records.store import RecordStore
from benchmark.reports.aggregate import AggregatedRow, AggregatedScores, aggregate
from benchmark.reports.row_text import remarks_of, seeds_text, table_title, value_text
from benchmark.reports.table import HEADLINE, Report, Table

if TYPE_CHECKING:
    import pandas as pd

BEST_TAP = (
    "best tap: the highest value of the row (bold), selected on test images. It shows where features lie; do not report "
    "it as the result of a method."
)
Taps = dict[str, AggregatedRow]
"""One method on one encoder: tap -> its row."""


def tap_report(records: Sequence[Record] | Columns, catalog: Catalog, source: Path | RecordStore) -> Report:
    """Headline scores by tap. For machines: one row per method, encoder and tap.

    Args:
        records: with scores at several taps, from `bench run --taps all`.
        catalog: source of the order of taps.
        source: the output folder or the store of columns; not needed for records.
    """
    columns = columns_of(records)
    known = {} if isinstance(records, Columns) else {record.id: record for record in records}

    def read(summary: RecordSummary) -> Record:
        if isinstance(source, RecordStore):
            return source.read_id(summary.id)
        return known.get(summary.id) or read_record(source / summary.folder)

    order = _TapOrder(catalog, read)
    return Report(
        tables=lambda: [table for scores in aggregate(columns) for table in _tables(scores, order)],
        frame=lambda: _frame(columns, order),
    )


def _group(scores: AggregatedScores, order: _TapOrder) -> dict[tuple[str, ...], list[Taps]]:
    """Rows by the taps of their encoder, in depth order."""
    methods: dict[str, Taps] = {}
    for row in scores.rows:
        methods.setdefault(row.first.shared.grouping_key, {})[row.tap] = row
    taps_of: dict[str, dict[str, None]] = {}
    for taps in methods.values():
        taps_of.setdefault(_first(taps).first.shared.encoder, {}).update(dict.fromkeys(taps))
    groups: dict[tuple[str, ...], list[Taps]] = {}
    for taps in methods.values():
        summary = _first(taps).first
        groups.setdefault(order.sort(summary, taps_of[summary.shared.encoder]), []).append(taps)
    return groups


def _tables(scores: AggregatedScores, order: _TapOrder) -> Iterator[Table]:
    groups = _group(scores, order)
    curves = {names: methods for names, methods in groups.items() if len(names) > 1} or groups
    single = [taps for names, methods in groups.items() if names not in curves for taps in methods]
    for names, methods in curves.items():
        yield _curves(scores, names, methods, single)


def _curves(scores: AggregatedScores, names: tuple[str, ...], methods: list[Taps], single: list[Taps]) -> Table:
    metric = scores.headline
    direction = next((1 if v.higher_is_better else -1 for taps in methods if (v := _first(taps).values.get(metric))), 1)

    def best(taps: Taps) -> float:
        return max((direction * mean for mean in _means(taps, metric).values()), default=-math.inf)

    methods = sorted(methods, key=best, reverse=True)
    remarks = remarks_of(scores, [list(taps.values()) for taps in methods])
    rows, bold = [], set()
    for number, taps in enumerate(methods):
        first, means = _first(taps), _means(taps, metric)
        highest = (
            [] if first.smoke else [name for name in names if name in means and direction * means[name] == best(taps)]
        )
        shared = first.first.shared
        left = (shared.method, shared.encoder, ", ".join(highest) or "-", shared.shown_epochs, seeds_text(first))
        rows.append((*left, *(value_text(scores, taps.get(name), metric) for name in names)))
        bold |= {(number, HEADLINE + names.index(name)) for name in highest}
    return Table(
        title=f"{metric} by depth: {table_title(scores)}",
        columns=remarks.columns(("method", "encoder", "best tap", "epochs", "seeds", *names)),
        rows=remarks.rows(rows),
        best=frozenset(bold),
        notes=(*_notes_on_single_taps(scores, single), BEST_TAP, *remarks.notes),
    )


def _first(taps: Taps) -> AggregatedRow:
    return next(iter(taps.values()))


def _means(taps: Taps, metric: str) -> dict[str, float]:
    """Tap -> mean over seeds; taps without the metric are left out."""
    return {name: row.values[metric].mean for name, row in taps.items() if metric in row.values}


def _notes_on_single_taps(scores: AggregatedScores, methods: Sequence[Taps]) -> Iterator[str]:
    """Notes: scores of methods with features of their own, for comparison, and encoders that were scored at one tap
    only.
    """
    encoders: dict[str, None] = {}
    for taps in methods:
        row = _first(taps)
        shared = row.first.shared
        if shared.encoder == "-":
            yield f"{shared.method} (no depth): {value_text(scores, row, scores.headline)}."
        else:
            encoders[shared.encoder] = None
    if encoders:
        yield f"Scored at one tap only: {', '.join(encoders)}. bench run --taps all adds the others."


def _frame(columns: Columns, order: _TapOrder) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for scores in aggregate(columns):
        for names, methods in _group(scores, order).items():
            for taps in methods:
                for depth, name in enumerate(names):
                    if name in taps and scores.headline in taps[name].values:
                        rows.append(_frame_row(scores, taps[name], depth))
    return pd.DataFrame(rows)


def _frame_row(scores: AggregatedScores, row: AggregatedRow, depth: int) -> dict[str, object]:
    shared, value = row.first.shared, row.values[scores.headline]
    return {
        **dict(zip(KINDS, shared.labels, strict=True)),
        "evaluator": scores.evaluator,
        "pool": scores.pool,
        "protocol": scores.protocol,
        "metric": scores.headline,
        "tap": row.tap,
        "depth": depth,
        "epochs": shared.epochs,
        "seeds": value.records,
        "value": value.mean,
        "spread": value.spread if value.records > 1 else None,
    }


class _TapOrder:
    """Sorts taps by depth. Each encoder's layout is computed once."""

    def __init__(self, catalog: Catalog, read: Callable[[RecordSummary], Record]) -> None:
        self._catalog = catalog
        self._read = read
        self._known: dict[tuple[str, str], dict[str, int]] = {}

    def sort(self, summary: RecordSummary, taps: Iterable[str]) -> tuple[str, ...]:
        """Taps of a record's encoder, shallow to deep; unknown ones come last, in their order."""
        key = (summary.shared.encoder, summary.shared.dataset)
        if key not in self._known:
            self._known[key] = {name: depth for depth, name in enumerate(self._layout(summary))}
        depth = self._known[key]
        return tuple(sorted(taps, key=lambda tap: depth.get(tap, len(depth))))

    def _layout(self, summary: RecordSummary) -> list[str]:
        try:
            record = self._read(summary)
        except RecordError:
            return []
        cell: Any = record.cell
        with contextlib.suppress(Exception):  # plugin code, or a plugin that is not installed
            method = self._catalog.find(self._catalog.methods, "method", cell["method"]["name"]).spec
            encoders = self._catalog.encoders
            spec = method.own_encoder or self._catalog.find(encoders, "encoder", cell["encoder"]["name"]).spec
            params = bind(spec.params, cell["encoder"]["params"], f"encoder '{spec.name}'")
            return [tap.name for tap in spec.layout(params, tuple(cell["image_shape"])).taps]
        return []
