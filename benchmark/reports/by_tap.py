"""Scores along an encoder's depth: one row for each method on an encoder, one column for each tap, shallow to deep.

The order of the taps is the encoder's own, as its plugin gives it; where that is not installed, the order in which a record's
scores stand, which is the same unless taps were added later.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.api.catalog import Catalog
from benchmark.api.parameters import bind
from benchmark.errors import RecordError
from benchmark.records.caveats import notes as notes_of_marks
from benchmark.records.caveats import shared, words
from benchmark.records.columns import Columns, RecordSummary, columns_of
from benchmark.records.record import Record, read_record
from benchmark.reports.aggregate import AggregatedRow, AggregatedScores, aggregate
from benchmark.reports.score_tables import format_value, notes_on_seeds, remark, seeds, title
from benchmark.reports.table import Table

CHOSEN = (
    "best tap: the highest of its row (bold), chosen on test images; it shows where features lie, and is no number to "
    "report for a method."
)


@dataclass(kw_only=True)
class _Row:
    """One method on one encoder, over its taps."""

    lines: dict[str, AggregatedRow] = field(default_factory=dict)
    """Tap -> scores."""

    @property
    def first(self) -> AggregatedRow:
        return next(iter(self.lines.values()))

    def mean(self, tap: str, metric: str) -> float | None:
        """Of the headline over seeds; None where it is missing."""
        value = self.lines[tap].values.get(metric) if tap in self.lines else None
        return None if value is None else value.mean


def tap_tables(records: Sequence[Record] | Columns, catalog: Catalog, out: Path) -> list[Table]:
    """One table for each dataset, evaluator and set of taps, the method with the best tap first.

    Args:
        records: with scores at several taps; `bench run --taps all` makes them.
        catalog: gives the order of the taps.
        out: the folder below which records are, where they do not know it.
    """
    columns = records if isinstance(records, Columns) else columns_of(records)
    order = _Orders(catalog, out, {} if isinstance(records, Columns) else {record.id: record for record in records})
    return [table for sheet in aggregate(columns) for table in _of_sheet(sheet, order)]


def _of_sheet(sheet: AggregatedScores, order: _Orders) -> Iterator[Table]:
    rows: dict[str, _Row] = {}
    for line in sheet.lines:
        rows.setdefault(line.first.common.grouping_key, _Row()).lines[line.tap] = line
    seen: dict[str, dict[str, None]] = {}
    for row in rows.values():
        seen.setdefault(row.first.first.common.encoder, {}).update(dict.fromkeys(row.lines))
    groups: dict[tuple[str, ...], list[_Row]] = {}
    for row in rows.values():
        brief = row.first.first
        groups.setdefault(order.of(brief, seen[brief.common.encoder]), []).append(row)
    curves = {taps: found for taps, found in groups.items() if len(taps) > 1} or groups
    beside = [row for taps, found in groups.items() if taps not in curves for row in found]
    for taps, found in curves.items():
        yield _curve(sheet, taps, found, beside)


def _curve(sheet: AggregatedScores, taps: tuple[str, ...], rows: Sequence[_Row], beside: Sequence[_Row]) -> Table:
    metric = sheet.metrics[0]
    sign = next((1 if v.higher_is_better else -1 for row in rows if (v := row.first.values.get(metric))), 1)

    def best(row: _Row) -> float:
        return max((sign * mean for tap in taps if (mean := row.mean(tap, metric)) is not None), default=-math.inf)

    rows = sorted(rows, key=best, reverse=True)
    marks = [
        words(dict.fromkeys(m for line in row.lines.values() for m in line.marks), sheet.evaluator) for row in rows
    ]
    everywhere = shared(marks)
    texts, bold = [], set()
    for number, (row, found) in enumerate(zip(rows, marks, strict=True)):
        highest = (
            []
            if row.first.smoke
            else [tap for tap in taps if (mean := row.mean(tap, metric)) is not None and sign * mean == best(row)]
        )
        common = row.first.first.common
        values = [
            format_value(row.lines[tap].values.get(metric) if tap in row.lines else None, sheet.values, True)
            for tap in taps
        ]
        texts.append(
            (
                *(common.method, common.encoder, ", ".join(highest) or "-", common.shown_epochs, seeds(row.first)),
                *(*values, remark(row.first, [word for word in found if word not in everywhere])),
            )
        )
        bold |= {(number, 5 + taps.index(tap)) for tap in highest}
    heads = ("method", "encoder", "best tap", "epochs", "seeds", *taps, "remarks")
    if not any(text[-1] for text in texts):
        heads, texts = heads[:-1], [text[:-1] for text in texts]
    notes = [CHOSEN, *notes_on_seeds([line for row in rows for line in row.lines.values()]), *notes_of_marks(marks)]
    return Table(
        title=f"{metric} by depth: {title(sheet)}",
        columns=heads,
        rows=tuple(texts),
        best=frozenset(bold),
        notes=(*_without_depth(sheet, beside), *notes),
        kept=6,
    )


def _without_depth(sheet: AggregatedScores, rows: Sequence[_Row]) -> Iterator[str]:
    """What has a single tap: features of a method's own are a level to read the curves against, others are named."""
    metric = sheet.metrics[0]
    for row in rows:
        line, common = row.first, row.first.first.common
        if common.encoder == "-":
            yield f"{common.method}, which has no depth: {format_value(line.values.get(metric), sheet.values, True)}."
    others = dict.fromkeys(common.encoder for row in rows if (common := row.first.first.common).encoder != "-")
    if others:
        yield f"One tap only, so no curve: {', '.join(others)}; bench run --taps all adds the others."


class _Orders:
    """Taps in depth order; each encoder is asked once."""

    def __init__(self, catalog: Catalog, out: Path, records: dict[str, Record]) -> None:
        self.catalog = catalog
        self.out = out
        self.records = records
        self.known: dict[tuple[str, str], list[str]] = {}

    def of(self, brief: RecordSummary, taps: Iterable[str]) -> tuple[str, ...]:
        """These taps, shallow to deep; those that the encoder does not name come last, as they came."""
        key = (brief.common.encoder, brief.common.dataset)
        if key not in self.known:
            self.known[key] = self._asked(brief)
        depth = {name: place for place, name in enumerate(self.known[key])}
        return tuple(sorted(taps, key=lambda tap: depth.get(tap, len(depth))))

    def _asked(self, brief: RecordSummary) -> list[str]:
        try:
            record = self.records[brief.id] if brief.id in self.records else read_record(self.out / brief.folder)
        except RecordError:
            return []
        cell: Any = record.cell
        with contextlib.suppress(Exception):  # a stranger's code, or one that is not installed: the order of the scores
            method = self.catalog.find(self.catalog.methods, "method", cell["method"]["name"]).spec
            encoders = self.catalog.encoders
            spec = method.own_encoder or self.catalog.find(encoders, "encoder", cell["encoder"]["name"]).spec
            params = bind(spec.params, cell["encoder"]["params"], f"encoder '{spec.name}'")
            return [tap.name for tap in spec.layout(params, tuple(cell["image_shape"])).taps]
        return []
