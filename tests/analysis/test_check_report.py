"""The output formats of `bench check`, its JUnit file and its summary."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import Bench
from sample_cells import AET, BASELINE, ROTATION, Check, write_cell, write_failed, write_seeds

from benchmark.analysis.check import CheckReport, check_records
from benchmark.analysis.check_report import check_report
from benchmark.analysis.check_rows import CheckRow
from benchmark.plain_text import csv_field
from benchmark.reports.render import render_report
from benchmark.stats.comparison import Comparison

STRANGE = "aet[path=<a & \"b\">'c'|d]"
"""A label with characters that XML, Markdown and terminals interpret."""


@pytest.fixture
def every_verdict(runs: Path, baseline: Path) -> Path:
    """A run with each verdict, in labels with characters that XML, Markdown and terminals interpret."""
    write_seeds(runs, "aet", 0.75, range(3, 6))
    write_failed(runs, "rotation", 0, failure={"stage": "train", "reason": "\x1b[31m<b>loss & co\x00", "traceback": ""})
    write_cell(runs, "pixels", None, 0.7)
    write_cell(runs, STRANGE, 0, 0.5)
    write_failed(runs, "dim", 0)
    return runs


def test_junit_is_valid_and_counts_its_cases(bench: Bench, every_verdict: Path, tmp_path: Path) -> None:
    assert bench("check", "runs", "--baseline", BASELINE, "--junit", "check.xml").exit_code == 1
    suite = ElementTree.parse(tmp_path / "check.xml").getroot()
    cases = list(suite.iter("testcase"))
    elements = {case.get("classname"): [child.tag for child in case] for case in cases}
    assert elements == {
        AET: ["failure"],
        ROTATION: ["error"],
        "pixels/resnet18/digits": [],
        f"{STRANGE}/resnet18/digits": ["skipped"],
        "dim/resnet18/digits": ["error"],
    }
    assert int(suite.get("tests", "")) == len(cases)
    for counted, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.get(counted, "")) == sum(len(case.findall(tag)) for case in cases)
    (failure,) = suite.iter("failure")
    assert "-0.0500" in failure.get("message", "")
    assert any("<b>loss & co" in error.get("message", "") for error in suite.iter("error"))


def test_junit_has_an_error_without_a_baseline(bench: Bench, runs: Path, tmp_path: Path) -> None:
    write_cell(runs, "aet", 0, 0.5)
    assert bench("check", "runs", "--baseline", BASELINE, "--junit", "check.xml").exit_code == 4
    suite = ElementTree.parse(tmp_path / "check.xml").getroot()
    (error,) = suite.iter("error")
    assert "no baseline" in error.get("message", "")
    assert (suite.get("tests"), suite.get("errors"), suite.get("skipped")) == ("2", "1", "1")


def test_summary_is_appended_and_escaped(bench: Bench, every_verdict: Path, tmp_path: Path) -> None:
    words = ("check", "runs", "--baseline", BASELINE, "--summary", "summary.md")
    assert bench(*words).exit_code == 1
    first = (tmp_path / "summary.md").read_text()
    assert first.startswith("## ❌ bench check: regressed: 1 regressed")
    (tmp_path / "summary.md").write_text("another step")
    bench(*words)
    text = (tmp_path / "summary.md").read_text()
    assert text == f"another step\n\n{first}"
    assert first.count("bench check:") == 1
    assert "passed" not in first  # no part of the page has its own result
    assert first.index("regressed") < first.index("<details>") < first.index("&lt;a &amp;")
    assert "<b>" not in first
    assert "Failed, and not in the baseline: dim/resnet18/digits" in first


def test_json_and_csv_keep_every_digit(bench: Bench, check: Check, every_verdict: Path) -> None:
    code, body = check()
    assert (code, body["exit_code"], body["margin"]) == (1, 1, 0.005)
    assert body["verdict"].startswith("regressed:")
    (row,) = [row for row in body["rows"] if row["cell"] == AET]
    exact = check_records(Path("runs"), BASELINE)
    comparison = next(each.comparison for each in exact.rows if each.cell == AET)
    assert comparison is not None
    assert comparison.interval is not None
    assert (row["low"], row["high"]) == comparison.interval
    assert (row["difference"], row["p"]) == (comparison.difference, comparison.p)
    assert row["minimal_detectable"] == comparison.minimal_detectable
    assert row["now"] == pytest.approx(0.752, abs=1e-15)
    shown = bench("check", "runs", "--baseline", BASELINE, "--format", "csv")
    assert shown.exit_code == 1
    rows = list(csv.DictReader(io.StringIO(shown.stdout)))
    assert [list(each) for each in rows] == [list(each) for each in body["rows"]]
    for text, number in zip(rows, body["rows"], strict=True):
        number["remarks"] = csv_field(number["remarks"])
        assert text == {name: "" if value is None else str(value) for name, value in number.items()}


def test_json_has_no_infinity() -> None:
    comparison = Comparison(
        question="methods across seeds",
        difference=-0.1,
        center=-0.1,
        standard_error=float("inf"),
        degrees_of_freedom=2.0,
        images=8,
        seeds=(2, 2),
    )
    row = CheckRow(cell="a", score="b", verdict="no evidence", baseline=0.5, now=0.4, comparison=comparison)
    report = CheckReport(baseline="b.csv", margin=0.005, rows=(row,))
    (body,) = json.loads(render_report(check_report(report), "json"), parse_constant=pytest.fail)["rows"]
    assert (body["low"], body["standard_error"], body["difference"]) == (None, None, -0.1)


@pytest.mark.parametrize("form", ["table", "md", "latex"])
def test_tables_show_regressions_first(bench: Bench, every_verdict: Path, form: str) -> None:
    shown = bench("check", "runs", "--baseline", BASELINE, "--format", form)
    assert shown.exit_code == 1, shown.output
    lines = shown.stdout.splitlines()
    first_line = {word: next(i for i, line in enumerate(lines) if line.count(word)) for word in ("aet/", "pixels/")}
    assert first_line["aet/"] < first_line["pixels/"]
    for words in ("-0.0500", "detectable", "not comparable", "regressed: 1 regressed"):
        assert words in shown.stdout


def test_files_that_cannot_be_written_are_reported(bench: Bench, every_verdict: Path) -> None:
    for option in ("--junit", "--summary"):
        result = bench("check", "runs", "--baseline", BASELINE, option, "no/such/folder/file")
        assert result.exit_code == 2
        assert "cannot write" in result.stderr
