"""The report of `bench check`, a JUnit XML file for CI servers, and a Markdown summary for the page of a CI job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

from benchmark.analysis.check import CheckReport
from benchmark.analysis.check_rows import CheckRow, Verdict
from benchmark.analysis.compare_report import DETECTABLE, comparison_values, fraction, interval_text
from benchmark.analysis.frames import exact_frame
from benchmark.errors import ExitCode, RecordError, UsageError
from benchmark.plain_text import visible
from benchmark.records.atomic import reason, replaced
from benchmark.reports.render import markdown_text, render_tables
from benchmark.reports.table import DIGITS, Report, Table

ORDER: tuple[Verdict, ...] = ("regressed", "not comparable", "improved", "checkpoint only", "new", "no evidence")
"""Verdicts as the table sorts them."""
PROMINENT = ORDER[:3]
"""Verdicts that the summary shows first; it folds the others."""
COLUMNS = ("cell", "score", "verdict", "baseline", "now", "difference", "interval", "detectable", "remarks")
ICONS = {ExitCode.OK: "✅", ExitCode.REGRESSED: "❌"}
"""Exit code -> icon in the summary's heading; ⚠️ for all others."""
JUNIT_TAGS: dict[Verdict, str] = {
    "regressed": "failure",
    "not comparable": "error",
    "new": "skipped",
    "checkpoint only": "skipped",
}
"""Verdict -> element of its test case; a test case without one passed."""


def check_report(check: CheckReport) -> Report:
    """All rows of a check, the most important first in tables."""
    fields = ("baseline", "margin", "ignored", "failed", "notes", "missing")
    return Report(
        tables=lambda: [_table(check, check.rows, (check.summary, *_notes(check)))],
        frame=lambda: exact_frame(
            {
                "cell": row.cell,
                "score": row.score,
                "verdict": row.verdict,
                "baseline": row.baseline,
                "now": row.now,
                **comparison_values(row.comparison, ("seeds_now", "seeds_baseline")),
                "remarks": row.remark,
            }
            for row in check.rows
        ),
        facts={
            "verdict": check.summary,
            "exit_code": int(check.exit_code),
            **{name: getattr(check, name) for name in fields},
        },
    )


def _table(check: CheckReport, rows: Sequence[CheckRow], notes: Sequence[str]) -> Table:
    ordered = sorted(rows, key=lambda row: (ORDER.index(row.verdict), row.cell, row.score))
    return Table(
        title=f"check against {check.baseline}",
        columns=COLUMNS,
        rows=tuple(_cells(row) for row in ordered),
        notes=tuple(notes),
    )


def _notes(check: CheckReport) -> list[str]:
    notes = [
        "Difference: now minus baseline, across seeds. Regressed: the interval, adjusted over all scores with Holm's method, "
        f"excludes 0 on the worse side, and the difference is worse by more than {check.margin:g}. {DETECTABLE}",
        *check.notes,
    ]
    if check.ignored:
        notes.append(f"In the baseline but not in the run, ignored: {', '.join(check.ignored)}.")
    return notes + [f"Failed, and not in the baseline: {each}" for each in check.failed]


def _cells(row: CheckRow) -> tuple[str, ...]:
    means = (fraction(row.baseline), fraction(row.now))
    comparison = row.comparison
    if comparison is None:
        return (row.cell, row.score, row.verdict, *means, "-", "-", "-", row.remark)
    numbers = (
        f"{comparison.difference:+.{DIGITS}f}",
        interval_text(comparison),
        fraction(comparison.minimal_detectable),
    )
    return (row.cell, row.score, row.verdict, *means, *numbers, row.remark)


# --- files for CI -----------------------------------------------------------------------------------------------------


def write_files(check: CheckReport, junit: Path | None = None, summary: Path | None = None) -> None:
    """Writes the JUnit and Markdown files of a CI job. The summary is appended, because other steps write to the same file.

    Args:
        check: the result of a check.
        junit: a JUnit XML file.
        summary: a Markdown file.

    Raises:
        UsageError: a file cannot be written.
    """
    if junit is not None:
        with _writable(junit), _replaced(junit) as file:
            file.write(junit_xml(check).encode())
    if summary is not None:
        with _writable(summary), summary.open("a", encoding="utf-8", errors="replace") as text:
            text.write(("\n\n" if text.tell() else "") + job_summary(check) + "\n")


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write {path}: {reason(error)}") from error
    except RecordError as error:
        raise UsageError(f"cannot write {path}: {error}") from error


def _replaced(path: Path) -> AbstractContextManager[BinaryIO]:
    """A file that is complete or absent; a device or pipe, such as /dev/stdout, is written directly."""
    is_new = path.parent.is_dir() and not path.exists()
    return replaced(path) if is_new or path.is_file() else path.open("wb")


def junit_xml(check: CheckReport) -> str:
    """A test case for each score: regressed is a failure, not comparable an error, an untestable score is skipped.

    If nothing could be compared, an additional case has an error, so that no CI server reports a success.
    """
    cases = [(row.cell, row.score, JUNIT_TAGS.get(row.verdict, ""), " ".join(_cells(row)[2:])) for row in check.rows]
    cases += [(each.partition(": ")[0], "not in the baseline", "error", each) for each in check.failed]
    if check.exit_code == ExitCode.NOT_COMPARABLE and not check.count("not comparable"):
        cases.append(("bench check", "baseline", "error", check.summary))
    totals = {
        name: str(sum(tag == each for *_, tag, _ in cases))
        for name, each in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
    }
    suite = ElementTree.Element("testsuite", {"name": "bench check", "tests": str(len(cases)), **totals})
    for cell, score, tag, message in cases:
        case = ElementTree.SubElement(suite, "testcase", classname=visible(cell), name=visible(score))
        if tag:
            ElementTree.SubElement(case, tag, message=visible(message))
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def job_summary(check: CheckReport) -> str:
    """Markdown for the page of a CI job: the result as a heading, important rows as a table, the others folded."""
    prominent = [row for row in check.rows if row.verdict in PROMINENT]
    folded = [row for row in check.rows if row.verdict not in PROMINENT]
    lines = [f"## {ICONS.get(check.exit_code, '⚠️')} bench check: {markdown_text(check.summary)}", ""]
    if prominent:
        lines += [_markdown_table(check, prominent), ""]
    if folded:
        heading = f"<details><summary>{len(folded)} other scores: none regressed</summary>"
        lines += [heading, "", _markdown_table(check, folded), "", "</details>", ""]
    return "\n".join([*lines, "\n\n".join(markdown_text(note) for note in _notes(check))])


def _markdown_table(check: CheckReport, rows: Sequence[CheckRow]) -> str:
    return render_tables([_table(check, rows, ())], "md").rstrip("\n")
