"""What `bench compare` found, as tables for people, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from benchmark.analysis.compare import QUESTIONS, ComparisonReport, ComparisonRow
from benchmark.reports.table import DIGITS, Table

KEPT = 4
"""Columns from the left that stay on a narrow terminal: score, verdict, A, B; with several cells, one more."""


def comparison_tables(found: ComparisonReport) -> list[Table]:
    """A table for each question."""
    return [_table(found, question) for question in range(len(QUESTIONS))]


def _table(found: ComparisonReport, question: int) -> Table:
    counted = [row.answers[question] for row in found.rows if row.answers[question] is not None]
    columns: tuple[str, ...] = (
        "score",
        "verdict",
        "A",
        "B",
        "difference",
        "interval",
        "smallest to be seen",
        "p",
        "seeds",
        "images",
    )
    rows: list[tuple[str, ...]] = []
    for row in found.rows:
        cells = (row.cell,) if found.several else ()
        rows.append((*cells, row.score, row.verdict(question), *_numbers(row, question), row.reasons[question]))
    columns = (*(("cell",) if found.several else ()), *columns, "remarks")
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    tested = sum(answer is not None and answer.testable for answer in counted)
    how = ("paired on test images", "over seeds and test images")[question]
    return Table(
        title=f"{QUESTIONS[question]} ({how}): A = {found.a}, B = {found.b}",
        columns=columns,
        rows=tuple(rows),
        notes=(*_notes(question, tested), *(found.notes if question else ())),
        kept=KEPT + found.several,
    )


def _notes(question: int, tested: int) -> tuple[str, ...]:
    if not tested:
        return ("Nothing here can be tested.",)
    several = f" each at its level after Holm for {tested} scores," if tested > 1 else ""
    means = (
        "Says nothing of what training again would give.",
        "Other seeds, other test images: what a reader who trains the method may expect.",
    )[question]
    return (f"A minus B;{several} 95 % in all. Smallest to be seen: with 80 % power, at that level. {means}",)


def _numbers(row: ComparisonRow, question: int) -> tuple[str, ...]:
    answer = row.answers[question]
    a, b = (f"{value:.{DIGITS}f}" if value is not None else "-" for value in (row.a, row.b))
    if answer is None:
        return (a, b, *"------")
    low, high = answer.interval or (None, None)
    shown = "-" if low is None or high is None else f"[{low:+.{DIGITS}f}, {high:+.{DIGITS}f}]"
    return (
        *(a, b, f"{answer.difference:+.{DIGITS}f}", shown),
        "-" if answer.minimal is None else f"{answer.minimal:.{DIGITS}f}",
        _p(answer.p if answer.adjusted_p is None else answer.adjusted_p),
        f"{answer.seeds[0]} v {answer.seeds[1]}",
        str(answer.images or "-"),
    )


def _p(value: float | None) -> str:
    return "-" if value is None else "<.0001" if value < 0.0001 else f"{value:.4f}".lstrip("0") if value < 1 else "1"


def plain(found: ComparisonReport) -> list[dict[str, Any]]:
    """One row for each score and question, unrounded."""
    rows = []
    for row in found.rows:
        for question, name in enumerate(QUESTIONS):
            answer = row.answers[question]
            low, high = (answer.interval if answer else None) or (None, None)
            rows.append(
                {
                    "question": name,
                    "cell": row.cell,
                    "score": row.score,
                    "verdict": row.verdict(question),
                    "a": row.a,
                    "b": row.b,
                    "difference": answer and answer.difference,
                    "low": low,
                    "high": high,
                    "level": answer and answer.level,
                    "smallest": answer and answer.minimal,
                    "p": answer and answer.p,
                    "adjusted_p": answer and answer.adjusted_p,
                    "standard_error": answer and answer.error,
                    "degrees_of_freedom": answer and answer.degrees,
                    "seeds_a": answer and answer.seeds[0],
                    "seeds_b": answer and answer.seeds[1],
                    "images": answer and answer.images,
                    "remarks": row.reasons[question],
                }
            )
    return rows


def as_csv(found: ComparisonReport) -> str:
    """`plain` as CSV; empty where there is no number."""
    rows = plain(found)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_json(found: ComparisonReport, similarity: Sequence[dict[str, Any]] = ()) -> str:
    """`plain` as JSON, with both sides' names."""
    body: dict[str, Any] = {"a": found.a, "b": found.b, "differences": plain(found), "notes": found.notes}
    if similarity:
        body["cka"] = similarity
    return json.dumps(body, indent=1) + "\n"
