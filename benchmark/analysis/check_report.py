"""What `bench check` found: for people, as JSON and CSV, as JUnit XML for a CI server, as Markdown for a job's page."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmark.analysis.check import BASELINE, CheckReport, CheckRow, Verdict
from benchmark.errors import UsageError
from benchmark.reports.render import render
from benchmark.reports.table import DIGITS, Table

FIRST = ("regressed", "not comparable", "improved", "checkpoint only", "new", "no evidence")
"""Verdicts in the order in which a reader wants them."""
MARKS: dict[Verdict, str] = {"regressed": "❌", "not comparable": "⚠️", "improved": "✅", "no evidence": "✅"}
"""On a job's page; what has none says nothing about the run."""


NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What may not stand in XML 1.0, however it is written: colors of a terminal, halves of a character."""
COLUMNS = ("cell", "score", "verdict", "baseline", "now", "difference", "interval", "smallest to be seen", "remarks")


def check_table(found: CheckReport) -> Table:
    """All rows, the worst first."""
    return _table(found, found.rows, (found.sentence, *_notes(found)))


def _table(found: CheckReport, rows: Sequence[CheckRow], notes: Sequence[str]) -> Table:
    ordered = sorted(rows, key=lambda row: (FIRST.index(row.verdict), row.cell, row.score))
    return Table(
        title=f"check against {found.baseline}",
        columns=COLUMNS,
        rows=tuple(_shown(row) for row in ordered),
        notes=tuple(notes),
    )


def _notes(found: CheckReport) -> list[str]:
    """What is to be known of all rows together."""
    notes = [
        "Now less baseline, if the method were trained again; regressed: the interval after Holm over all scores of the run "
        f"lies on the worse side of 0, and the difference is worse by more than {found.margin:g}. Smallest to be seen: "
        "with 80 % power, at that level.",
        *found.notes,
    ]
    if found.ignored:
        notes.append(f"In the baseline, not asked for, left out: {', '.join(found.ignored)}.")
    return notes + [f"failed, not in the baseline: {each}" for each in found.failed]


def _shown(row: CheckRow) -> tuple[str, ...]:
    before, now = ("-" if value is None else f"{value:.{DIGITS}f}" for value in (row.baseline, row.now))
    answer = row.answer
    if answer is None:
        return (row.cell, row.score, row.verdict, before, now, "-", "-", "-", row.reason)
    interval = answer.interval
    between = "-" if interval is None else f"[{interval[0]:+.{DIGITS}f}, {interval[1]:+.{DIGITS}f}]"
    least = "-" if answer.minimal is None or not math.isfinite(answer.minimal) else f"{answer.minimal:.{DIGITS}f}"
    difference = f"{answer.difference:+.{DIGITS}f}"
    return (row.cell, row.score, row.verdict, before, now, difference, between, least, row.reason)


def plain(found: CheckReport) -> list[dict[str, Any]]:
    """One row for each score, unrounded; None where there is no number."""
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
            "standard_error": answer and answer.error,
            "degrees_of_freedom": answer and answer.degrees,
            "seeds_now": answer and answer.seeds[0],
            "seeds_baseline": answer and answer.seeds[1],
            "images": answer and answer.images,
            "remarks": row.reason,
        }
        rows.append({name: _finite(value) for name, value in body.items()})
    return rows


def _finite(value: object) -> object:
    """JSON has no infinity and no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(found: CheckReport) -> str:
    """`plain` as CSV; empty where there is no number."""
    rows = plain(found)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_json(found: CheckReport) -> str:
    """Everything, unrounded."""
    kept = {field.name: getattr(found, field.name) for field in dataclasses.fields(found) if field.name != "rows"}
    body = {"verdict": found.sentence, "exit_code": found.exit_code, **kept, "rows": plain(found)}
    return json.dumps(body, indent=1, allow_nan=False) + "\n"


def as_junit(found: CheckReport) -> str:
    """A test case for each score: regressed is a failure, not comparable an error, what cannot be judged is skipped.

    Where nothing could be held against anything, one more case tells so: no server shall call that passed.
    """
    kinds = {"regressed": "failure", "not comparable": "error", "new": "skipped", "checkpoint only": "skipped"}
    cases = [(row.cell, row.score, kinds.get(row.verdict, ""), " ".join(_shown(row)[2:])) for row in found.rows]
    cases += [(each.partition(": ")[0], "not in the baseline", "error", each) for each in found.failed]
    if found.exit_code == BASELINE and not found.count("not comparable"):
        cases.append(("bench check", "baseline", "error", found.sentence))
    counts = {name: str(sum(kind == each for *_, kind, _ in cases)) for name, each in _COUNTED}
    suite = ElementTree.Element("testsuite", {"name": "bench check", "tests": str(len(cases)), **counts})
    for cell, score, kind, message in cases:
        case = ElementTree.SubElement(suite, "testcase", classname=NO_XML.sub("?", cell), name=NO_XML.sub("?", score))
        if kind:
            ElementTree.SubElement(case, kind, message=NO_XML.sub("?", message))
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


_COUNTED = (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))


def write(found: CheckReport, junit: Path | None = None, summary: Path | None = None) -> None:
    """The files that a CI wants; a summary is added to what stands in its file, since other steps write there too.

    Raises:
        UsageError: a file cannot be written.
    """
    try:
        if junit is not None:
            junit.write_text(as_junit(found), encoding="utf-8")
        if summary is not None:
            with summary.open("a", encoding="utf-8", errors="replace") as file:
                file.write(("\n\n" if file.tell() else "") + as_summary(found) + "\n")
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written: {error.strerror}") from error


def as_summary(found: CheckReport) -> str:
    """For a job's page: the verdict as a heading, what needs attention as a table, the rest folded away."""
    loud = [row for row in found.rows if row.verdict in ("regressed", "not comparable", "improved")]
    quiet = [row for row in found.rows if row not in loud]
    mark = MARKS["no evidence" if found.exit_code == 0 else "regressed" if found.exit_code == 1 else "not comparable"]
    lines = [f"## {mark} bench check: {_text(found.sentence)}", ""]
    if loud:
        lines += [_markdown(found, loud), ""]
    if quiet:
        folded = f"<details><summary>{len(quiet)} other scores: none of them regressed</summary>"
        lines += [folded, "", _markdown(found, quiet), "", "</details>", ""]
    return "\n".join([*lines, "\n\n".join(_text(note) for note in _notes(found))])


def _markdown(found: CheckReport, rows: Sequence[CheckRow]) -> str:
    """Rows as a table, in which nothing of a label is taken for HTML."""
    shown = _table(found, rows, ())
    cells = tuple(tuple(_text(word) for word in row) for row in shown.rows)
    return render([dataclasses.replace(shown, title=_text(shown.title), rows=cells)], "md").rstrip("\n")


def _text(words: str) -> str:
    """In one line, with `<` and `&` as they are read."""
    return html.escape(" ".join(words.split()), quote=False)
