"""What was run, as BibTeX: the paper of each method, encoder, dataset and evaluator that occurs, and repbench itself.

Plugins give papers as free text, `Authors: Title, VENUE year, remark`. Only what can be told from it becomes a field of its
own; the text as it was given stands in every entry's note, and an entry whose authors cannot be told from its title has
the text as its title.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmark.api.catalog import Catalog
from benchmark.errors import BenchError
from benchmark.records.record import Record

KINDS = {"methods": "method", "encoders": "encoder", "datasets": "dataset", "evaluators": "evaluator"}
SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
"""Marks of LaTeX that a backslash before them does not make plain."""


@dataclass(frozen=True, kw_only=True)
class Citation:
    """One paper, as far as a text tells of it."""

    text: str
    """As it was given."""
    authors: tuple[str, ...] = ()
    """Surnames; `others` for et al. Empty where they cannot be told from the title."""
    title: str = ""
    venue: str = ""
    year: str = ""
    remark: str = ""
    """What stands behind the year: `section 4.1`."""


@dataclass
class _Entry:
    """A paper with all that it stands for here."""

    citation: Citation
    users: list[str] = field(default_factory=list)


def bibtex(records: Sequence[Record], catalog: Catalog) -> str:
    """The entries of all that occurs in records, sorted by key, repbench first; a comment for what is not known."""
    entries: list[_Entry] = []
    comments: list[str] = []
    for kind, name in _names(records):
        try:
            paper = catalog.find(getattr(catalog, kind), KINDS[kind], name).spec.paper
        except BenchError:
            comments.append(f"% {KINDS[kind]} {_plain(name)} is not installed here: its paper is not known")
            continue
        for citation in citations(paper):
            _add(entries, citation, f"{KINDS[kind]} {name.rpartition(':')[2]}")
    keyed = sorted(_with_keys(entries))
    return "\n\n".join([*comments, _own(records), *(_written(key, entry) for key, entry in keyed)]) + "\n"


def citations(paper: str) -> list[Citation]:
    """The papers that a spec's text names; several are separated by semicolons."""
    return [_citation(text) for part in paper.split(";") if (text := " ".join(part.split()).removeprefix("as in "))]


def _citation(text: str) -> Citation:
    found = re.fullmatch(
        r"(?P<rest>.+?),\s*(?P<venue>[A-Za-z][^,;:]*?)??\s*(?P<year>(?:18|19|20)\d\d)\b[\s,]*(?P<remark>.*)", text
    )
    rest, venue, year, remark = found.group("rest", "venue", "year", "remark") if found else (text, "", "", "")
    authors, title = _authors(rest)
    if not authors:
        return Citation(text=text, year=year)
    return Citation(text=text, authors=authors, title=title, venue=venue or "", year=year, remark=remark.strip("()"))


def _authors(text: str) -> tuple[tuple[str, ...], str]:
    """(surnames, title) of `Zhang, Qi, Wang: Title` and `Hjelm et al., Title`; no surnames where that cannot be told."""
    found = re.fullmatch(r"(?P<names>[^:]+?)(?P<others> et al\.)?:\s+(?P<title>.+)", text) or re.fullmatch(
        r"(?P<names>[^:]+?)(?P<others> et al\.),\s+(?P<title>.+)", text
    )
    if not found:
        return (), text
    names = [name for name in re.split(r",\s*|\s+and\s+", found.group("names")) if name]
    if not all(re.fullmatch(r"(?:[a-z]+\s){0,2}(?:[a-z]')?[A-Z][\w'-]*", name) for name in names):
        return (), text  # a title with a colon, perhaps
    return (*names, *(["others"] if found.group("others") else [])), found.group("title")


def _names(records: Iterable[Record]) -> Iterator[tuple[str, str]]:
    """(kind, name with its provider) of all that occurs, each once."""
    found: dict[tuple[str, str], None] = {}
    for record in records:
        for kind, singular in KINDS.items():
            if kind == "evaluators":
                found.update(dict.fromkeys((kind, score.evaluator.partition("[")[0]) for score in record.scores))
            else:
                item = record.cell[singular]
                given_by = f"{item['provider']}:" if item.get("provider") else ""
                if not (kind == "encoders" and item["label"] == "-"):  # a method's own
                    found[kind, f"{given_by}{item['name']}"] = None
    yield from sorted(found)


def _add(entries: list[_Entry], citation: Citation, user: str) -> None:
    """To an entry of the same paper, if there is one: a shortened title is the same paper's."""
    user = f"{user} ({citation.remark})" if citation.remark else user
    for entry in entries:
        if _is_same(entry.citation, citation):
            entry.citation = max(entry.citation, citation, key=lambda each: (len(each.title), bool(each.venue)))
            if user not in entry.users:
                entry.users.append(user)
            return
    entries.append(_Entry(citation=citation, users=[user]))


def _is_same(one: Citation, other: Citation) -> bool:
    if not one.authors or not other.authors:
        return one.text == other.text
    short, long = sorted((one.title.casefold(), other.title.casefold()), key=len)
    return one.authors[0] == other.authors[0] and one.year == other.year and long.startswith(short)


def _with_keys(entries: Sequence[_Entry]) -> Iterator[tuple[str, _Entry]]:
    """Entries with keys such as `zhang2019aet`, each key once."""
    taken: set[str] = set()
    for entry in sorted(entries, key=lambda entry: entry.citation.text):
        citation = entry.citation
        first = citation.authors[0] if citation.authors else citation.text.partition(",")[0]
        words = re.findall(r"[A-Za-z0-9]+", citation.title)
        stem = f"{first}{citation.year}{words[0] if words else ''}".casefold()
        stem = re.sub(r"[^a-z0-9]", "", stem) or "paper"
        key = next(key for number in range(len(entries) + 1) if (key := f"{stem}{number or ''}") not in taken)
        taken.add(key)
        yield key, entry


def _written(key: str, entry: _Entry) -> str:
    citation = entry.citation
    conference = bool(
        re.fullmatch(r"[A-Z][A-Za-z]*[A-Z]", citation.venue)
    )  # CVPR, NeurIPS: not a repository or a journal
    fields = {
        "author": " and ".join(f"{{{name}}}" if " " in name else name for name in citation.authors),
        "title": f"{{{_plain(citation.title or citation.text)}}}",
        "booktitle" if conference else "howpublished": _plain(citation.venue),
        "year": citation.year,
        "note": f"{_plain(', '.join(entry.users))} of repbench, which gives: {_plain(citation.text)}",
    }
    return _entry("inproceedings" if conference else "misc", key, fields)


def _own(records: Sequence[Record]) -> str:
    versions = sorted({str(r.provenance["repbench"]) for r in records if r.provenance.get("repbench")})
    commits = sorted({_commit(record) for record in records} - {""})
    years = sorted({str(record.provenance.get("time", ""))[:4] for record in records} - {""})
    commit = f"commit {', '.join(commits)}" if commits else "commit not recorded"
    return _entry(
        "misc",
        "repbench",
        {
            "author": "{The repbench maintainers}",
            "title": "{repbench: a plugin-based benchmark of unsupervised image representations}",
            "version": _plain(", ".join(versions)),
            "year": years[-1] if years else "",
            "note": f"version {_plain(', '.join(versions))}, {_plain(commit)}",
        },
    )


def _commit(record: Record) -> str:
    """The beginning of its commit, with a + where files were changed since."""
    commit = str(record.provenance.get("commit") or "").rstrip("+")[:10]
    return f"{commit}+" if commit and record.provenance.get("dirty") else commit


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])


def _plain(text: str) -> str:
    """As LaTeX shows it mark by mark; braces and backslashes in it open and end nothing."""
    return "".join(SPECIAL.get(mark, f"\\{mark}" if mark in "{}&%$#_" else mark) for mark in " ".join(text.split()))
