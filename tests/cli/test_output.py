"""Output of commands: no text of a record, a plugin or a file name reaches a terminal, a log, a table or a file as code."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import Bench, Launch
from sample_records import sample_record, sample_score

from benchmark.plain_text import text_of_field
from benchmark.records.record import Record
from benchmark.records.record_files import write_record

HOSTILE = (
    "\x1b[31mred",
    "a\x9b2J",
    "a\u202egpj.exe",
    "a\u200bb",
    "a\n::error::x",
    "::add-mask::x",
    "##[error]x",
    "a\r\nb\tc",
    "[red]x[/red] [/x] :smiley:",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "@sum(1)",
    "<img src=x onerror=alert(1)>",
    "a|b",
    "[x](javascript:alert(1))",
    "`x` **y** __z__",
    "\\input{x}%$&#_^~",
    "}\\write18{x}",
    'a"b;c,d',
    "\ue000x\ue001",
    "\ufffe\ufdd0",
)
"""Labels that terminals, logs of CI servers, spreadsheets, Markdown, HTML, LaTeX or rich would interpret."""
COMMANDS = (
    *(("table", "runs"), ("table", "runs", "--by", "tap"), ("table", "runs", "--sort", "cost"), ("status", "runs")),
    *(("correlate", "runs"), ("check", "runs", "--baseline", "base/digits.jsonl")),
)


def hostile_record(label: str, seed: int) -> Record:
    """A record with one text everywhere."""
    score = sample_score(0.5, tap=label, evaluator=label, metric=label, protocol=f"{label}@1", details={"note": label})
    record = sample_record("aet", seed=seed, scores=(score,))
    cell = json.loads(json.dumps(record.cell))
    for kind in ("method", "encoder"):
        cell[kind].update(label=label, name=label, params={label: label})
    failure = {"stage": label, "reason": label, "traceback": label}
    provenance = {**record.provenance, "repbench": label, "device_name": label, "commit": label, "precision": label}
    changes = {"cell": cell, "provenance": provenance, "id": f"{seed:064x}"}
    return sample_record("aet", seed=seed, scores=(score,), failure=failure if seed % 2 else None, **changes)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of hostile records, and its leaderboard in base/."""
    from benchmark.records.export import export
    from benchmark.records.record_files import read_records

    folder = tmp_path_factory.mktemp("hostile")
    for seed, label in enumerate(HOSTILE):
        write_record(folder / "runs" / f"cell-{seed}", hostile_record(label, seed))
    export(read_records(folder / "runs")[0], folder / "base")
    return folder


def assert_harmless(text: str) -> None:
    """No hidden character, and no line that a CI server runs."""
    assert not [each for each in text if not each.isprintable() and each not in "\n\u00a0"]
    assert "##[" not in text
    assert not re.search(r"^\s*::", text, flags=re.MULTILINE)


@pytest.mark.parametrize("form", ["table", "md", "latex"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_labels_are_shown_as_text(
    hostile: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], form: str
) -> None:
    monkeypatch.chdir(hostile)
    result = bench(*words, "--format", form)
    assert result.exit_code in (0, 3), result.output
    assert_harmless(result.stdout)
    assert_harmless(result.stderr)
    if form == "md":
        assert "<img" not in result.stdout
        assert "](javascript" not in result.stdout
        tables = [line for line in result.stdout.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in tables}) <= len(
            re.findall(r"^### ", result.stdout, re.M)
        )
    if form == "latex":
        rows = [line for line in result.stdout.splitlines() if not line.startswith(("%", "\\"))]
        assert not any("\\input" in row or "\\write" in row for row in rows)


def test_csv_of_a_table_holds_labels_as_text(hostile: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hostile)
    text = bench("table", "runs", "--format", "csv").stdout
    assert_harmless(text)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert not [field for row in rows for field in row.values() if re.match(r"[=@+\t\r]|-[^\d]|::", field)]
    read = {text_of_field(row["method"]) for row in rows}
    assert {label for label in HOSTILE if label.isprintable() and "##[" not in label} <= read
    assert (hostile / "base" / "digits.csv").read_text() == text


def test_json_of_a_table_holds_the_labels_themselves(
    hostile: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hostile)
    text = bench("table", "runs", "--format", "json").stdout
    assert_harmless(text)
    assert {row["method"] for row in json.loads(text)} == set(HOSTILE)


def test_junit_and_job_summary_hold_labels_as_text(
    hostile: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(hostile)
    words = ("check", "runs", "--baseline", "base/digits.jsonl", "--junit", "check.xml", "--summary", "page.md")
    assert bench(*words).exit_code == 3
    cases = list(ElementTree.parse(hostile / "check.xml").iter("testcase"))
    assert len(cases) >= len(HOSTILE)
    assert_harmless((hostile / "check.xml").read_text())
    page = (hostile / "page.md").read_text()
    assert_harmless(page)
    assert "<img" not in page
    assert "](javascript" not in page


def test_files_for_papers_hold_labels_as_text(hostile: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hostile)
    assert bench("export", "runs", "--to", "paper", "--format", "latex,bibtex").exit_code == 0
    for name in ("digits.tex", "digits.bib"):
        assert_harmless((hostile / "paper" / name).read_text())
    entries = [line for line in (hostile / "paper" / "digits.bib").read_text().splitlines() if not line.startswith("%")]
    assert not any("\\write" in line or "\\input" in line for line in entries)
    assert "".join(entries).count("{") == "".join(entries).count("}")


# --- streams ----------------------------------------------------------------------------------------------------------


def test_tables_are_printed_in_an_encoding_without_their_characters(hostile: Path, launch: Launch) -> None:
    process = launch(["table", "runs"], hostile, PYTHONIOENCODING="ascii")
    shown, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "\\x1b[31mred" in shown


def test_reader_that_has_gone_does_not_change_the_exit_code(bench: Bench, tmp_path: Path) -> None:
    script = (
        f"set -o pipefail; {sys.executable} -m benchmark check . --baseline none.csv | true; exit ${{PIPESTATUS[0]}}"
    )
    write_record(tmp_path / "cell", sample_record())
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (4, "")
