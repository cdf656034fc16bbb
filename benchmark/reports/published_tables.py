"""Ours beside what was published, as tables: each figure with its source and every condition that differs."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark.api.catalog import Catalog
from benchmark.errors import UsageError
from benchmark.records.record import Record
from benchmark.reports.published import PublishedComparison, comparisons, groups, named, not_scored, shown_value
from benchmark.reports.table import DIGITS, Table
from benchmark.stats import intervals

COLUMNS = (
    *("method", "encoder", "dataset", "tap", "evaluator", "metric", "epochs", "seeds", "value", "spread"),
    *("ci_low", "ci_high", "n", "published", "published_spread", "difference", "status", "source", "differences"),
    *("did_not_learn", "note", "cells"),
)
"""Of the comparison as CSV or JSON."""


def published_tables(records: Sequence[Record], catalog: Catalog) -> list[Table]:
    """One table for each dataset: ours, published, and what differs.

    Raises:
        UsageError: no figure was published for what the records hold.
    """
    found = _found(records, catalog)
    datasets = dict.fromkeys(each.records[0].cell["dataset"]["label"] for each in found)
    return [
        _table(
            dataset,
            [each for each in found if each.records[0].cell["dataset"]["label"] == dataset],
            list(_not_measured([r for r in records if r.cell["dataset"]["label"] == dataset], catalog)),
        )
        for dataset in datasets
    ]


def _found(records: Sequence[Record], catalog: Catalog) -> list[PublishedComparison]:
    found = comparisons(records, catalog)
    if not found:
        notes = " ".join(_not_measured(records, catalog))
        raise UsageError(
            "no published figure fits these records; bench list methods -v shows the figures of each method, with the "
            f"dataset, encoder, tap and evaluator that they were given for. {notes}".rstrip()
        )
    return found


def as_csv(records: Sequence[Record], catalog: Catalog) -> str:
    """The comparison as CSV: raw fractions, conditions separated by semicolons.

    Raises:
        UsageError: as `tables`.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for each in _found(records, catalog):
        row = _row(each)
        writer.writerow({**row, "differences": "; ".join(row["differences"]), "cells": " ".join(row["cells"])})
    return text.getvalue()


def as_json(records: Sequence[Record], catalog: Catalog) -> str:
    """The comparison as JSON: a list of objects with the CSV's columns.

    Raises:
        UsageError: as `tables`.
    """
    return json.dumps([_row(each) for each in _found(records, catalog)], indent=1) + "\n"


def _table(dataset: str, found: Sequence[PublishedComparison], not_measured: Sequence[str]) -> Table:
    columns = ("method", "encoder", "tap", "evaluator", "seeds", "ours", "published", "difference", "source", "remarks")
    rows = []
    shared = _shared(found)
    for each in found:
        cell = each.records[0].cell
        rows.append(
            (
                cell["method"]["label"],
                cell["encoder"]["label"],
                each.scores[0].tap,
                named(each.scores[0].evaluator, each.scores[0].metric),
                "-" if cell["seed"] is None else str(len(each.scores)),
                _ours(each),
                shown_value(each.figure),
                f"{each.difference:+.{DIGITS}f}",
                each.figure.source,
                _remarks(each, shared),
            )
        )
    notes = [
        "ours: after the last epoch, which test images did not choose; ± over seeds, or [ ] the 95 % interval over test "
        "images. recalled: not yet looked up in the source.",
        *(f"({letter}) {'; '.join(conditions)}" for conditions, letter in shared.items()),
        *not_measured,
    ]
    return Table(
        title=f"ours and published on {dataset}",
        columns=columns,
        rows=tuple(rows),
        notes=tuple(notes),
        kept=columns.index("source"),
    )


def _shared(found: Sequence[PublishedComparison]) -> dict[tuple[str, ...], str]:
    """Conditions of training that several rows have in common -> the letter that stands for them."""
    counts = Counter(each.of_cell for each in found if each.of_cell)
    several = [conditions for conditions, count in counts.items() if count > 1]
    return {conditions: _letter(number) for number, conditions in enumerate(several)}


def _letter(number: int) -> str:
    """A to z, then aa, ab, ..."""
    first, last = divmod(number, 26)
    return (_letter(first - 1) if first else "") + chr(ord("a") + last)


def _remarks(each: PublishedComparison, shared: Mapping[tuple[str, ...], str]) -> str:
    words = [f"({shared[each.of_cell]})"] if each.of_cell in shared else list(each.of_cell)
    words += each.of_score
    dull = _dull(each)
    if dull:
        words.append("did not learn" if dull == len(each.records) else f"{dull} of {len(each.records)} did not learn")
    if each.figure.note:
        words.append(f"published: {each.figure.note}")
    return "; ".join(words)


def _dull(each: PublishedComparison) -> int:
    """Cells whose loss ended above that of a predictor that ignores the image."""
    return sum(record.checks.get("learned") is False for record in each.records)


def _ours(each: PublishedComparison) -> str:
    mean, deviation, _ = intervals.spread([score.value for score in each.scores])
    low, high = each.scores[0].ci_low, each.scores[0].ci_high
    if deviation is not None:
        return f"{mean:.{DIGITS}f} ±{deviation:.{DIGITS}f}"
    return f"{mean:.{DIGITS}f}" if low is None or high is None else f"{mean:.{DIGITS}f} [{low:.3f}, {high:.3f}]"


def _not_measured(records: Sequence[Record], catalog: Catalog) -> Iterator[str]:
    """For each trained cell, the figures that a further evaluator or tap would be compared with."""
    for group in groups(records):
        rest = not_scored(group, catalog)
        if rest:
            words = dict.fromkeys(f"{named(figure.evaluator, figure.metric)} at {figure.tap}" for figure in rest)
            name = f"{group[0].cell['method']['label']} / {group[0].cell['encoder']['label']}"
            yield f"Published, not scored here for {name}: {', '.join(words)}."


def _row(each: PublishedComparison) -> dict[str, Any]:
    cell, score, figure = each.records[0].cell, each.scores[0], each.figure
    mean, deviation, count = intervals.spread([other.value for other in each.scores])
    one = count == 1
    return {
        "method": cell["method"]["label"],
        "encoder": cell["encoder"]["label"],
        "dataset": cell["dataset"]["label"],
        "tap": score.tap,
        "evaluator": score.evaluator,
        "metric": score.metric,
        "epochs": cell.get("recipe", {}).get("epochs"),
        "seeds": count,
        "value": mean,
        "spread": deviation,
        "ci_low": score.ci_low if one else None,
        "ci_high": score.ci_high if one else None,
        "n": score.n,
        "published": figure.value,
        "published_spread": figure.spread,
        "difference": each.difference,
        "status": figure.status,
        "source": figure.source,
        "differences": list(each.differences),
        "did_not_learn": _dull(each),
        "note": figure.note,
        "cells": [record.id[:10] for record in each.records],
    }
