"""BibTeX of everything that occurs in records."""

from __future__ import annotations

import dataclasses
import re

import pytest
from sample_records import sample_record, sample_score

from benchmark.api.catalog import Catalog
from benchmark.reports.bibtex import bibtex, parse_entries

ENTRY = """@inproceedings{zhang2019aet,
  author = {Zhang, Liheng and Qi, Guo-Jun},
  title = {{AET} vs. {AED}},
}"""


def _with(catalog: Catalog, method: str, **changes: str) -> Catalog:
    """The catalog with a changed method."""
    methods = tuple(
        dataclasses.replace(entry, spec=dataclasses.replace(entry.spec, **changes))
        if entry.spec.name == method
        else entry
        for entry in catalog.methods
    )
    return dataclasses.replace(catalog, methods=methods)


def _keys(text: str) -> list[str]:
    return re.findall(r"^@\w+\{([^,]+),", text, flags=re.MULTILINE)


def test_entry_of_a_spec_is_written_once_with_its_users(catalog: Catalog) -> None:
    changed = _with(_with(catalog, "aet", bibtex=ENTRY), "dim", bibtex=ENTRY)
    text = bibtex([sample_record("aet"), sample_record("aet", seed=1), sample_record("dim")], changed)
    assert text.count(ENTRY) == 1
    assert "% method aet, method dim\n@inproceedings{zhang2019aet," in text


def test_entries_are_sorted_by_key_after_repbench(catalog: Catalog) -> None:
    other = ENTRY.replace("zhang2019aet", "abel2020")
    keys = _keys(bibtex([sample_record("aet")], _with(catalog, "aet", bibtex=f"{ENTRY}\n\n{other}")))
    assert keys[0] == "repbench"
    assert keys[1:] == sorted(keys[1:])
    assert {"zhang2019aet", "abel2020"} <= set(keys)


def test_methods_that_were_not_run_are_not_cited(catalog: Catalog) -> None:
    assert "zhang2019aet" not in bibtex([sample_record("rotation")], _with(catalog, "aet", bibtex=ENTRY))


def test_spec_without_bibtex_gives_a_comment_with_its_paper(catalog: Catalog) -> None:
    text = bibtex([sample_record("aet")], _with(catalog, "aet", bibtex="", paper="Ann @ home: AET,\n2019"))
    assert "% method aet has no BibTeX entry; paper: Ann (at) home: AET, 2019\n" in text


def test_plugin_that_is_not_installed_gives_a_comment(catalog: Catalog) -> None:
    text = bibtex([sample_record("byol_of_mine")], catalog)
    assert "% method byol_of_mine is not installed, so its papers are unknown" in text


@pytest.mark.parametrize(
    "text", ["@misc{a, title = {x}", "@misc{a, title = {x}}}", "Zhang 2019", "@misc{a, title = {x\\}}"]
)
def test_invalid_bibtex_of_a_plugin_gives_a_comment(text: str, catalog: Catalog) -> None:
    written = bibtex([sample_record("aet")], _with(catalog, "aet", bibtex=text))
    assert "% method aet: its BibTeX is invalid" in written
    assert written.count("{") == written.count("}") or "(" in written


def test_parse_entries_keeps_nested_and_escaped_braces() -> None:
    text = "@misc{one, title = {a {b} \\{ c}}\n\n@book{two,\n title = {d}}\n"
    assert [key for key, _ in parse_entries(text)] == ["one", "two"]
    assert "".join(entry for _, entry in parse_entries(text)).replace("\n", "") == text.replace("\n", "")


def test_entry_of_repbench_names_versions_and_commits(catalog: Catalog) -> None:
    modified = {"repbench": "0.2.0", "commit": "f" * 40, "dirty": True, "time": "2026-03-01T00:00:00+00:00"}
    text = bibtex([sample_record(), sample_record(seed=1, provenance=modified)], catalog)
    entry = dict(parse_entries(text[text.index("@misc{repbench") :].partition("\n\n")[0]))["repbench"]
    assert "version = {0.1.0, 0.2.0}" in entry
    assert "commit 0123456789, ffffffffff+" in entry
    assert "year = {2026}" in entry


def test_evaluators_of_scores_are_cited(catalog: Catalog) -> None:
    scores = (sample_score(), sample_score(evaluator="fc1[epochs=40]", protocol="fc1@1", metric="accuracy"))
    text = bibtex([sample_record("aet", "blocknet", scores=scores)], catalog)
    assert "evaluator fc1" in text
    assert "evaluator knn" in text
