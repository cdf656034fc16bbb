"""Parquet, LaTeX and BibTeX files of a leaderboard."""

from __future__ import annotations

import csv
import importlib.util
import io
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from sample_records import sample_record, sample_score

from benchmark.api.catalog import Catalog
from benchmark.errors import UnknownNameError, UsageError
from benchmark.records.csv_columns import NAMES
from benchmark.records.dataframe import records_csv
from benchmark.records.export import export
from benchmark.records.leaderboard import read_leaderboard
from benchmark.records.record import PREDICTIONS, Record
from benchmark.records.record_files import read_record, write_record
from benchmark.reports import leaderboard_formats
from benchmark.reports.render import render_tables
from benchmark.reports.score_tables import score_tables


def put(out: Path, record: Record) -> Record:
    import numpy as np

    folder = out / record.id[:10]
    write_record(folder, record)
    np.savez(folder / PREDICTIONS)
    return read_record(folder)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A leaderboard with a method on three seeds and a method without seeds."""
    records = [put(tmp_path / "runs", sample_record("aet", seed=seed)) for seed in range(3)]
    floor = sample_record("pixels", "-", seed=None, recipe={"epochs": 0}, scores=(sample_score(1 / 3, ci_low=None),))
    export([*records, put(tmp_path / "runs", floor)], tmp_path / "results")
    return tmp_path / "results"


# --- formats ------------------------------------------------------------------------------------------------------------


def test_parquet_has_the_rows_of_the_csv_with_all_digits(results: Path, catalog: Catalog) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    _, path = leaderboard_formats.write(results, "digits", ("csv", "parquet"), catalog)
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    written = list(csv.DictReader(io.StringIO((results / "digits.csv").read_text())))
    assert tuple(rows[0]) == NAMES
    assert len(rows) == len(written) == 4
    for row, text in zip(rows, written, strict=True):
        for name in NAMES:
            if text[name] == "":
                assert row[name] is None or row[name] == "", name
            elif isinstance(row[name], str):
                assert row[name] == text[name]
            else:
                assert row[name] == pytest.approx(float(text[name]), rel=1e-5), name
    assert rows[-1]["value"] == 1 / 3
    assert [row["seed"] for row in rows] == [0, 1, 2, None]


def test_latex_holds_the_score_tables(results: Path, catalog: Catalog) -> None:
    (_, path) = leaderboard_formats.write(results, "digits", ("latex",), catalog)
    assert path.name == "digits.tex"
    records = read_leaderboard(results / "digits.jsonl")
    text = path.read_text()
    for line in render_tables(score_tables(records), "latex").splitlines():
        assert line in text
    assert "\\toprule" in text


def test_csv_writes_no_further_file(results: Path, catalog: Catalog) -> None:
    before = sorted(path.name for path in results.iterdir())
    assert leaderboard_formats.write(results, "digits", ("csv",), catalog) == [results / "digits.csv"]
    assert sorted(path.name for path in results.iterdir()) == before
    assert (results / "digits.csv").read_text() == records_csv(read_leaderboard(results / "digits.jsonl"))


def test_command_writes_all_named_formats(results: Path, bench: Bench) -> None:
    result = bench("export", "runs", "--to", "paper", "--format", "csv,latex,bibtex")
    assert result.exit_code == 0, result.output
    assert "digits.csv, paper/digits.tex, paper/digits.bib: 4 cells" in result.output
    suffixes = sorted(path.suffix for path in (results.parent / "paper").iterdir())
    assert suffixes == [".bib", ".csv", ".jsonl", ".npz", ".tex"]


def test_unknown_format_is_named_with_the_existing_ones(results: Path, bench: Bench) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'parquet'"):
        leaderboard_formats.parse_formats("csv,parket")
    assert bench("export", "runs", "--to", "other", "--format", "word").exit_code == 2
    assert not (results.parent / "other").exists()


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'repbench\[parquet\]'"):
        leaderboard_formats.parse_formats("csv, parquet")
    assert leaderboard_formats.parse_formats("csv, latex") == ("csv", "latex")
