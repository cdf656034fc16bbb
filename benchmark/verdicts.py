"""What `bench check` found: for people, as JSON, as JUnit XML for a CI server, as Markdown for a job's page."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmark.check import Report, Row, Verdict
from benchmark.errors import UsageError
from benchmark.formats import rendered
from benchmark.tables import DIGITS, Table

FIRST = ("regressed", "not comparable", "improved", "checkpoint only", "new", "no evidence")
"""Verdicts in the order in which a reader wants them."""
MARKS: dict[Verdict, str] = {"regressed": "❌", "not comparable": "⚠️", "improved": "✅", "no evidence": "✅"}
"""On a job's page; what has none says nothing about the run."""


def table(found: Report) -> Table:
    """All rows, the worst first."""
    ordered = sorted(found.rows, key=lambda row: (FIRST.index(row.verdict), row.cell, row.score))
    notes = [
        found.sentence,
        f"Now less baseline, if the method were trained again; regressed: the interval after Holm over all scores of the run "
        f"lies below 0, and the difference below -{found.margin:g}. Smallest to be seen: with 80 % power, at that level.",
        *found.notes,
    ]
    if found.ignored:
        notes.append(f"In the baseline, not asked for, left out: {', '.join(found.ignored)}.")
    notes += [f"failed, not in the baseline: {each}" for each in found.failed]
    return Table(
        title=f"check against {found.baseline}",
        columns=(
            "cell",
            "score",
            "verdict",
            "baseline",
            "now",
            "difference",
            "interval",
            "smallest to be seen",
            "remarks",
        ),
        rows=tuple(_shown(row) for row in ordered),
        notes=tuple(notes),
    )


def _shown(row: Row) -> tuple[str, ...]:
    before, now = ("-" if value is None else f"{value:.{DIGITS}f}" for value in (row.baseline, row.now))
    answer = row.answer
    if answer is None:
        return (row.cell, row.score, row.verdict, before, now, "-", "-", "-", row.reason)
    interval = answer.interval
    between = "-" if interval is None else f"[{interval[0]:+.{DIGITS}f}, {interval[1]:+.{DIGITS}f}]"
    least = "-" if answer.minimal is None else f"{answer.minimal:.{DIGITS}f}"
    difference = f"{answer.difference:+.{DIGITS}f}"
    return (row.cell, row.score, row.verdict, before, now, difference, between, least, row.reason)


def as_json(found: Report) -> str:
    """Everything, unrounded."""
    rows = []
    for row in found.rows:
        answer = row.answer
        low, high = (answer.interval if answer else None) or (None, None)
        body: dict[str, Any] = {
            "cell": row.cell,
            "score": row.score,
            "verdict": row.verdict,
            "baseline": row.baseline,
            "now": row.now,
            "difference": answer and answer.difference,
            "low": low,
            "high": high,
            "level": answer and answer.level,
            "smallest": answer and answer.minimal,
            "p": answer and answer.p,
            "adjusted_p": answer and answer.adjusted_p,
            "seeds_now": answer and answer.seeds[0],
            "seeds_baseline": answer and answer.seeds[1],
            "remarks": row.reason,
        }
        rows.append(body)
    kept = {key: value for key, value in dataclasses.asdict(found).items() if key != "rows"}
    return json.dumps({"verdict": found.sentence, "exit_code": found.exit_code, **kept, "rows": rows}, indent=1) + "\n"


def as_junit(found: Report) -> str:
    """A test case for each score: regressed is a failure, not comparable an error, what cannot be judged is skipped."""
    counts = {"failures": found.count("regressed"), "errors": found.count("not comparable") + len(found.failed)}
    skipped = found.count("new") + found.count("checkpoint only")
    counts |= {"tests": len(found.rows) + len(found.failed), "skipped": skipped}
    suite = ElementTree.Element("testsuite", {"name": "bench check", **{key: str(n) for key, n in counts.items()}})
    for row in found.rows:
        case = ElementTree.SubElement(suite, "testcase", classname=row.cell, name=row.score)
        kind = {"regressed": "failure", "not comparable": "error", "new": "skipped", "checkpoint only": "skipped"}
        if row.verdict in kind:
            ElementTree.SubElement(case, kind[row.verdict], message=" ".join(_shown(row)[2:]))
    for each in found.failed:
        case = ElementTree.SubElement(suite, "testcase", classname=each.partition(":")[0], name="cell")
        ElementTree.SubElement(case, "error", message=each)
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def write(found: Report, junit: Path | None = None, summary: Path | None = None) -> None:
    """The files that a CI wants; a summary is added to what stands in its file, since other steps write there too.

    Raises:
        UsageError: a file cannot be written.
    """
    try:
        if junit is not None:
            junit.write_text(as_junit(found), encoding="utf-8")
        if summary is not None:
            with summary.open("a", encoding="utf-8") as file:
                file.write(as_summary(found) + "\n")
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written: {error.strerror}") from error


def as_summary(found: Report) -> str:
    """For a job's page: the verdict as a heading, what needs attention as a table, the rest folded away."""
    loud = [row for row in found.rows if row.verdict in ("regressed", "not comparable", "improved")]
    quiet = [row for row in found.rows if row not in loud]
    mark = MARKS["no evidence" if found.exit_code == 0 else "regressed" if found.exit_code == 1 else "not comparable"]
    lines = [f"## {mark} bench check: {found.sentence}", ""]
    if loud:
        lines += [rendered([table(dataclasses.replace(found, rows=tuple(loud)))], "md"), ""]
    if quiet:
        inner = rendered([table(dataclasses.replace(found, rows=tuple(quiet)))], "md")
        lines += [f"<details><summary>{len(quiet)} scores without a verdict</summary>", "", inner, "", "</details>", ""]
    return "\n".join(lines)
