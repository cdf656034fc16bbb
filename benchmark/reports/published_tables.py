"""Measured scores beside published figures: each figure with its source and every setting that differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from benchmark.api.catalog import Catalog
from benchmark.errors import UsageError
from benchmark.records.record import KINDS, Record
from benchmark.reports.published import (
    PublishedComparison,
    comparisons,
    evaluator_text,
    figure_text,
    figures_not_scored,
    scored_groups,
)
from benchmark.reports.row_text import not_learned_text
from benchmark.reports.table import DIGITS, Report, Table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("method", "encoder", "tap", "evaluator", "seeds", "ours", "published", "difference", "source", "remarks")
NOTE = (
    "ours: after the last epoch, not selected on test images; ± over seeds, or [ ] the 95 % interval over test images. "
    "recalled: not yet checked in the source."
)
Comparisons = Sequence[PublishedComparison]


def published_report(records: Sequence[Record], catalog: Catalog) -> Report:
    """Scores beside published figures. For machines: one row per comparison, raw fractions.

    Raises:
        UsageError: no figure corresponds to a score.
    """
    compared = comparisons(records, catalog)
    if not compared:
        raise UsageError(
            "no published figure corresponds to these records; bench list methods -v shows the figures of each method "
            f"with their dataset, encoder, tap and evaluator. {' '.join(_notes_not_scored(records, catalog))}".rstrip()
        )
    return Report(tables=lambda: _tables(compared, records, catalog), frame=lambda: _frame(compared))


def _tables(compared: Comparisons, records: Sequence[Record], catalog: Catalog) -> list[Table]:
    """One table per dataset."""
    tables = []
    for dataset in dict.fromkeys(each.records[0].labels[2] for each in compared):
        own = [each for each in compared if each.records[0].labels[2] == dataset]
        not_scored = _notes_not_scored([record for record in records if record.labels[2] == dataset], catalog)
        letters = _letters(own)
        tables.append(
            Table(
                title=f"ours and published on {dataset}",
                columns=COLUMNS,
                rows=tuple(_row(each, letters) for each in own),
                notes=(
                    NOTE,
                    *(f"({letter}) {'; '.join(differences)}" for differences, letter in letters.items()),
                    *not_scored,
                ),
                kept=COLUMNS.index("source"),
            )
        )
    return tables


def _row(each: PublishedComparison, letters: Mapping[tuple[str, ...], str]) -> tuple[str, ...]:
    method, encoder, _ = each.records[0].labels
    score = each.scores[0]
    return (
        method,
        encoder,
        score.tap,
        evaluator_text(score.evaluator, score.metric),
        "-" if each.records[0].seed is None else str(len(each.scores)),
        _value_text(each),
        figure_text(each.figure),
        f"{each.difference:+.{DIGITS}f}",
        each.figure.source,
        _remarks(each, letters),
    )


def _value_text(each: PublishedComparison) -> str:
    mean, deviation, _ = each.spread
    low, high = each.scores[0].ci_low, each.scores[0].ci_high
    if deviation is not None:
        return f"{mean:.{DIGITS}f} ±{deviation:.{DIGITS}f}"
    return f"{mean:.{DIGITS}f}" if low is None or high is None else f"{mean:.{DIGITS}f} [{low:.3f}, {high:.3f}]"


def _letters(compared: Comparisons) -> dict[tuple[str, ...], str]:
    """Training differences that several rows share -> the letter that stands for them."""
    counts = Counter(each.training_differences for each in compared if each.training_differences)
    shared = [differences for differences, count in counts.items() if count > 1]
    return {differences: _letter(number) for number, differences in enumerate(shared)}


def _letter(number: int) -> str:
    """A to z, then aa, ab, ..."""
    first, last = divmod(number, 26)
    return (_letter(first - 1) if first else "") + chr(ord("a") + last)


def _remarks(each: PublishedComparison, letters: Mapping[tuple[str, ...], str]) -> str:
    training = each.training_differences
    parts = [f"({letters[training]})"] if training in letters else list(training)
    parts += each.scoring_differences
    parts.append(not_learned_text(each.failed_to_learn, len(each.records)))
    if each.figure.note:
        parts.append(f"published: {each.figure.note}")
    return "; ".join(part for part in parts if part)


def _notes_not_scored(records: Sequence[Record], catalog: Catalog) -> Iterator[str]:
    """For each trained cell, the evaluators and taps that further figures need."""
    for group in scored_groups(records):
        figures = figures_not_scored(group, catalog)
        if figures:
            method, encoder, _ = group[0].labels
            texts = dict.fromkeys(f"{evaluator_text(each.evaluator, each.metric)} at {each.tap}" for each in figures)
            yield f"Published, not scored here for {method} / {encoder}: {', '.join(texts)}."


def _frame(compared: Comparisons) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([_frame_row(each) for each in compared], dtype=object)  # object: every digit is written


def _frame_row(each: PublishedComparison) -> dict[str, object]:
    record, score, figure = each.records[0], each.scores[0], each.figure
    mean, deviation, seeds = each.spread
    return {
        **dict(zip(KINDS, record.labels, strict=True)),
        "tap": score.tap,
        "evaluator": score.evaluator,
        "metric": score.metric,
        "epochs": record.cell.get("recipe", {}).get("epochs"),
        "seeds": seeds,
        "value": mean,
        "spread": deviation,
        "ci_low": score.ci_low if seeds == 1 else None,
        "ci_high": score.ci_high if seeds == 1 else None,
        "n": score.n,
        "published": figure.value,
        "published_spread": figure.spread,
        "difference": each.difference,
        "status": figure.status,
        "source": figure.source,
        "differences": "; ".join(each.differences),
        "did_not_learn": each.failed_to_learn,
        "note": figure.note,
        "cells": " ".join(record.short_id for record in each.records),
    }
