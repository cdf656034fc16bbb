"""BibTeX entries of all built-in plugins."""

from __future__ import annotations

import re

import pytest

from benchmark.api.catalog import Entry, load_catalog

KINDS = ("methods", "encoders", "datasets", "evaluators")
ENTRIES = [
    pytest.param(entry, id=f"{kind}-{entry.spec.name}") for kind in KINDS for entry in getattr(load_catalog(), kind)
]


def parsed(bibtex: str) -> dict[str, str]:
    """Key -> entry."""
    return {re.match(r"@\w+\{(\w+),", text).group(1): text for text in bibtex.split("\n\n") if text}  # type: ignore[union-attr]  # else it fails


@pytest.mark.parametrize("entry", ENTRIES)
def test_spec_with_a_paper_has_complete_bibtex_entries(entry: Entry) -> None:  # type: ignore[type-arg]  # any spec
    entries = parsed(entry.spec.bibtex)
    assert bool(entries) == bool(entry.spec.paper)
    for key, text in entries.items():
        assert text.count("{") == text.count("}"), key
        fields = dict(re.findall(r"^  (\w+) = \{(.*?)\},?$", text, flags=re.MULTILINE | re.DOTALL))
        assert {"author", "title", "year"} < set(fields), key
        assert key.startswith(fields["author"].split(" and ")[0].split()[-1].lower()), key
        assert fields["year"] in key, key


def test_entries_with_the_same_key_are_the_same() -> None:
    entries: dict[str, str] = {}
    for parameter in ENTRIES:
        for key, text in parsed(parameter.values[0].spec.bibtex).items():
            assert entries.setdefault(key, text) == text, key
    assert len(entries) == 24
