"""BibTeX entries of all built-in plugins."""

from __future__ import annotations

import re

import pytest

from benchmark.api.catalog import Entry, load_catalog
from benchmark.reports.bibtex import parse_entries

KINDS = ("methods", "encoders", "datasets", "evaluators")
ENTRIES = [
    pytest.param(entry, id=f"{kind}-{entry.spec.name}") for kind in KINDS for entry in getattr(load_catalog(), kind)
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_spec_with_a_paper_has_complete_bibtex_entries(entry: Entry) -> None:  # type: ignore[type-arg]  # any spec
    entries = dict(parse_entries(entry.spec.bibtex))
    assert bool(entries) == bool(entry.spec.paper)
    for key, text in entries.items():
        fields = dict(re.findall(r"^  (\w+) = \{(.*?)\},?$", text, flags=re.MULTILINE | re.DOTALL))
        assert {"author", "title", "year"} < set(fields), key
        assert key.startswith(fields["author"].split(" and ")[0].split()[-1].lower()), key
        assert fields["year"] in key, key


def test_entries_with_the_same_key_are_the_same() -> None:
    entries: dict[str, str] = {}
    for parameter in ENTRIES:
        for key, text in parse_entries(parameter.values[0].spec.bibtex):
            assert entries.setdefault(key, text) == text, key
    assert len(entries) == 24
