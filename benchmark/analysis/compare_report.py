"""The report of `bench compare`: a table for each question, one row per score and question for machines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchmark.analysis import cka
from benchmark.analysis.compare import QUESTIONS, ComparisonReport, ComparisonRow
from benchmark.analysis.frames import exact_frame
from benchmark.reports.table import DIGITS, Report, Table
from benchmark.stats.comparison import Comparison

NUMBERS = ("difference", "interval", "detectable", "p", "seeds", "images")
"""Columns of a comparison in a table for people."""
DETECTABLE = "detectable: smallest true difference that is detected with 80 % power at that level."
SCOPES = ("paired on test images", "over seeds and test images")
MEANINGS = (
    "Says nothing about other seeds.",
    "Covers other seeds and other test images: what to expect when training the method.",
)
KEPT = 4
"""Columns that stay on a narrow terminal: score, verdict, A, B; with several cells one more."""


def comparison_report(comparison: ComparisonReport, similarity: Sequence[cka.Similarity] = ()) -> Report:
    """The comparison of two sides, with the similarity of their features if it was computed."""
    facts: dict[str, object] = {"a": comparison.a, "b": comparison.b, "notes": list(comparison.notes)}
    if similarity:
        facts["cka"] = [vars(each) for each in similarity]
    return Report(
        tables=lambda: [
            *(_table(comparison, question) for question in range(len(QUESTIONS))),
            *([cka.similarity_table(similarity)] if similarity else []),
        ],
        frame=lambda: exact_frame(
            {
                "question": name,
                "cell": row.cell,
                "score": row.score,
                "verdict": row.verdict(question),
                "a": row.a,
                "b": row.b,
                **comparison_values(row.comparisons[question], ("seeds_a", "seeds_b")),
                "remarks": row.remarks[question],
            }
            for row in comparison.rows
            for question, name in enumerate(QUESTIONS)
        ),
        facts=facts,
    )


def _table(comparison: ComparisonReport, question: int) -> Table:
    cells = ("cell",) if comparison.leaderboards else ()
    columns: tuple[str, ...] = (*cells, "score", "verdict", "A", "B", *NUMBERS, "remarks")
    rows = [_row(row, question, comparison.leaderboards) for row in comparison.rows]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    results = [row.comparisons[question] for row in comparison.rows]
    testable = sum(result is not None and result.testable for result in results)
    return Table(
        title=f"{QUESTIONS[question]} ({SCOPES[question]}): A = {comparison.a}, B = {comparison.b}",
        columns=columns,
        rows=tuple(rows),
        notes=(_note(question, testable), *(comparison.notes if question else ())),
        kept=KEPT + comparison.leaderboards,
    )


def _note(question: int, testable: int) -> str:
    if not testable:
        return "No score can be tested."
    levels = f"adjusted for {testable} scores with Holm's method (familywise error 5 %)" if testable > 1 else "95 %"
    return f"Differences are A minus B. Intervals: {levels}. {DETECTABLE} {MEANINGS[question]}"


def _row(row: ComparisonRow, question: int, with_cell: bool) -> tuple[str, ...]:
    cells = (row.cell,) if with_cell else ()
    means = (fraction(row.a), fraction(row.b))
    remark = row.remarks[question]
    result = row.comparisons[question]
    if result is None:
        return (*cells, row.score, row.verdict(question), *means, *("-" for _ in NUMBERS), remark)
    numbers = (
        f"{result.difference:+.{DIGITS}f}",
        interval_text(result),
        fraction(result.minimal_detectable),
        _p_text(result.p if result.adjusted_p is None else result.adjusted_p),
        f"{result.seeds[0]} v {result.seeds[1]}",
        str(result.images or "-"),
    )
    return (*cells, row.score, row.verdict(question), *means, *numbers, remark)


def _p_text(p: float | None) -> str:
    if p is None:
        return "-"
    return "<.0001" if p < 0.0001 else f"{p:.4f}".lstrip("0") if p < 1 else "1"


# --- shared with the report of a check --------------------------------------------------------------------------------


def fraction(value: float | None) -> str:
    """A raw fraction for people; `-` if it is missing or not finite."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{DIGITS}f}"


def interval_text(comparison: Comparison) -> str:
    """`[low, high]`, `-` if nothing can be tested."""
    interval = comparison.interval
    return "-" if interval is None else f"[{interval[0]:+.{DIGITS}f}, {interval[1]:+.{DIGITS}f}]"


def comparison_values(comparison: Comparison | None, seed_columns: tuple[str, str]) -> dict[str, Any]:
    """Every number of a comparison, unrounded; None where there is none.

    Args:
        comparison: None if there is nothing to compare.
        seed_columns: names of the two columns with the numbers of seeds.
    """
    low, high = (comparison.interval if comparison else None) or (None, None)
    return {
        "difference": comparison and comparison.difference,
        "low": low,
        "high": high,
        "level": comparison and comparison.level,
        "minimal_detectable": comparison and comparison.minimal_detectable,
        "p": comparison and comparison.p,
        "adjusted_p": comparison and comparison.adjusted_p,
        "standard_error": comparison and comparison.standard_error,
        "degrees_of_freedom": comparison and comparison.degrees_of_freedom,
        seed_columns[0]: comparison and comparison.seeds[0],
        seed_columns[1]: comparison and comparison.seeds[1],
        "images": comparison and comparison.images,
    }
