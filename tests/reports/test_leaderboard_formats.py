"""Leaderboards in other forms: the same rows as Parquet, the same tables as LaTeX, the papers of what was run."""

from __future__ import annotations

import csv
import importlib.util
import io
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from sample_records import sample_record, sample_score

from benchmark.api.catalog import Catalog, load_catalog
from benchmark.errors import UnknownNameError, UsageError
from benchmark.records.dataframe import CSV_COLUMNS, write_csv
from benchmark.records.leaderboard import export, read_board
from benchmark.records.record import PREDICTIONS, Record, read_record, write_record
from benchmark.reports import leaderboard_formats
from benchmark.reports.bibtex import Citation, bibtex, citations
from benchmark.reports.render import render
from benchmark.reports.score_tables import score_tables
from benchmark.reports.table import Table


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def put(out: Path, record: Record) -> Record:
    import numpy as np

    folder = out / record.id[:10]
    write_record(folder, record)
    np.savez(folder / PREDICTIONS)
    return read_record(folder)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A leaderboard of a method on three seeds and a floor without any."""
    records = [put(tmp_path / "runs", sample_record("aet", seed=seed)) for seed in range(3)]
    floor = sample_record("pixels", "-", seed=None, recipe={"epochs": 0}, scores=(sample_score(1 / 3, ci_low=None),))
    export([*records, put(tmp_path / "runs", floor)], tmp_path / "results")
    return tmp_path / "results"


# --- forms ------------------------------------------------------------------------------------------------------------


def test_parquet_holds_the_rows_and_columns_of_the_csv_with_every_digit(results: Path, catalog: Catalog) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    _, path = leaderboard_formats.write(results, "digits", ("csv", "parquet"), catalog)
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    written = list(csv.DictReader(io.StringIO((results / "digits.csv").read_text())))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert len(rows) == len(written) == 4
    for row, text in zip(rows, written, strict=True):
        for name in CSV_COLUMNS:
            if text[name] == "":
                assert row[name] is None or row[name] == "", name
            elif isinstance(row[name], str):
                assert row[name] == text[name]
            else:
                assert row[name] == pytest.approx(float(text[name]), rel=1e-5), name
    assert rows[-1]["value"] == 1 / 3
    assert [row["seed"] for row in rows] == [0, 1, 2, None]


def test_latex_holds_the_tables_that_are_shown(results: Path, catalog: Catalog) -> None:
    (_, path) = leaderboard_formats.write(results, "digits", ("latex",), catalog)
    assert path.name == "digits.tex"
    records = read_board(results / "digits.jsonl")
    text = path.read_text()
    for line in render(score_tables(records), "latex").splitlines():
        assert line in text
    assert "\\toprule" in text


def test_a_line_break_in_a_title_or_a_note_does_not_end_latexs_comment() -> None:
    table = Table(title="knn on my\nphotos", columns=("method",), rows=(("aet",),), notes=("first\n\\input{evil}",))
    lines = render([table], "latex").splitlines()
    assert lines[0] == "% knn on my photos"
    assert lines[-1] == "% first \\input{evil}"


def test_csv_alone_writes_nothing_more(results: Path, catalog: Catalog) -> None:
    before = sorted(path.name for path in results.iterdir())
    assert leaderboard_formats.write(results, "digits", ("csv",), catalog) == [results / "digits.csv"]
    assert sorted(path.name for path in results.iterdir()) == before
    assert (results / "digits.csv").read_text() == write_csv(read_board(results / "digits.jsonl"))


def test_the_command_writes_all_forms_that_are_named(results: Path, bench: Bench) -> None:
    result = bench("export", "runs", "--to", "paper", "--format", "csv,latex,bibtex")
    assert result.exit_code == 0, result.output
    assert "digits.csv, paper/digits.tex, paper/digits.bib: 4 cells" in result.output
    found = sorted(path.suffix for path in (results.parent / "paper").iterdir())
    assert found == [".bib", ".csv", ".jsonl", ".npz", ".tex"]


def test_an_unknown_form_is_named_with_those_there_are(results: Path, bench: Bench) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'parquet'"):
        leaderboard_formats.parse_formats("csv,parket")
    assert bench("export", "runs", "--to", "other", "--format", "word").exit_code == 2
    assert not (results.parent / "other").exists()


def test_parquet_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'repbench\[parquet\]'"):
        leaderboard_formats.parse_formats("csv, parquet")
    assert leaderboard_formats.parse_formats("csv, latex") == ("csv", "latex")


# --- papers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            "Zhang, Qi, Wang, Luo: AET vs. AED: Learning by Transformations, CVPR 2019",
            {
                "authors": ("Zhang", "Qi", "Wang", "Luo"),
                "title": "AET vs. AED: Learning by Transformations",
                "venue": "CVPR",
                "year": "2019",
            },
        ),
        (
            "Hjelm et al., Learning deep representations by estimation, 2019",
            {"authors": ("Hjelm", "others"), "title": "Learning deep representations by estimation", "year": "2019"},
        ),
        (
            "van den Oord et al., Representation learning, 2018",
            {"authors": ("van den Oord", "others"), "title": "Representation learning", "year": "2018"},
        ),
        (
            "Facco, d'Errico: Dimension, NeurIPS 2017, section 2",
            {
                "authors": ("Facco", "d'Errico"),
                "title": "Dimension",
                "venue": "NeurIPS",
                "year": "2017",
                "remark": "section 2",
            },
        ),
        # Where the names end cannot be told: nothing is guessed.
        ("Krizhevsky, Learning Multiple Layers of Features, 2009", {"year": "2009"}),
        ("a rerun of the released code: see issue 6, 2020", {"year": "2020"}),
        ("folklore", {}),
    ],
)
def test_only_what_can_be_told_from_a_text_becomes_a_field(text: str, fields: dict[str, Any]) -> None:
    assert citations(text) == [Citation(text=text, **fields)]


def test_several_papers_of_one_text_are_several_entries() -> None:
    found = citations("Lin, Chen: Network In Network, 2014; as in Gidaris: Rotations, ICLR 2018")
    assert [(each.authors, each.title) for each in found] == [
        (("Lin", "Chen"), "Network In Network"),
        (("Gidaris",), "Rotations"),
    ]
    assert citations("") == []


def _entries(text: str) -> dict[str, str]:
    """Key -> entry."""
    found = re.findall(r"^@\w+\{([^,]+),\n(.*?)^\}", text, flags=re.MULTILINE | re.DOTALL)
    assert len(found) == text.count("\n}")
    assert len({key for key, _ in found}) == len(found), "keys are unique"
    return dict(found)


def test_every_paper_of_what_was_run_has_one_entry_with_all_that_it_stands_for(catalog: Catalog) -> None:
    scores = (sample_score(), sample_score(evaluator="fc1[epochs=40]", protocol="fc1@1", metric="accuracy"))
    entries = _entries(bibtex([sample_record("aet[transform=affine]", "blocknet", scores=scores)], catalog))
    assert {"repbench", "zhang2019aet", "lin2014network", "gidaris2018unsupervised", "wu2018unsupervised"} <= set(
        entries
    )
    assert "method aet" in entries["zhang2019aet"]
    assert "evaluator fc1 (section 4.1)" in entries["zhang2019aet"]
    assert "booktitle = {CVPR}" in entries["zhang2019aet"]
    assert "author = {Zhang and Qi and Wang and Luo}" in entries["zhang2019aet"]
    assert not any(key.startswith("hjelm") for key in entries), "what was not run is not cited"


def test_the_entry_of_repbench_names_version_and_commits(catalog: Catalog) -> None:
    dirty = {"repbench": "0.2.0", "commit": "f" * 40, "dirty": True, "time": "2026-03-01T00:00:00+00:00"}
    entry = _entries(bibtex([sample_record(), sample_record(seed=1, provenance=dirty)], catalog))["repbench"]
    assert "version = {0.1.0, 0.2.0}" in entry
    assert "commit 0123456789, ffffffffff+" in entry
    assert "year = {2026}" in entry


def test_what_is_not_installed_is_told_and_not_invented(catalog: Catalog) -> None:
    text = bibtex([sample_record("byol_of_mine")], catalog)
    assert "% method byol\\_of\\_mine is not installed here: its paper is not known" in text
    _entries(text)


def test_no_text_of_a_third_party_plugin_can_break_an_entry(catalog: Catalog) -> None:
    from dataclasses import replace

    evil = "Evil: 100 % {of} it} \\input{x} #1 & $2_3^4~, 2020"
    methods = tuple(
        replace(entry, spec=replace(entry.spec, paper=evil)) if entry.spec.name == "aet" else entry
        for entry in catalog.methods
    )
    text = bibtex([sample_record()], replace(catalog, methods=methods))
    entry = _entries(text)["evil2020100"]
    plain = re.sub(r"\\textbackslash\{\}|\\text\w+\{\}|\\[{}&%$#_]", "", entry)
    assert not set("\\%#&$^~_") & set(plain)
    assert plain.count("{") == plain.count("}")


def test_every_text_of_an_installed_plugin_makes_whole_entries(catalog: Catalog) -> None:
    for kind in ("methods", "encoders", "datasets", "evaluators"):
        for entry in getattr(catalog, kind):
            for citation in citations(entry.spec.paper):
                assert citation.text
                assert not citation.authors or (citation.title and citation.year), citation
