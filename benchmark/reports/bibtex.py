"""BibTeX entries of everything that occurs in records: methods, encoders, datasets, evaluators and repbench itself.

Each spec carries its entries in `bibtex`. A spec without entries gets a comment with its `paper`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from benchmark.api.catalog import Catalog
from benchmark.errors import BenchError
from benchmark.plain_text import one_line, visible
from benchmark.records.csv_columns import commit_of
from benchmark.records.record import KINDS, Record

LINES = "\n\r\t"
ENTRY = re.compile(r"@\w+\{\s*([^,\s{}]+)\s*,")


def bibtex(records: Sequence[Record], catalog: Catalog) -> str:
    """The entries sorted by key, repbench first; comments for what has no entry."""
    entries: dict[str, str] = {}
    users: dict[str, list[str]] = {}
    comments: list[str] = []
    for kind, name in _names(records):
        user = f"{kind} {name.rpartition(':')[2]}"
        try:
            spec = catalog.find(getattr(catalog, f"{kind}s"), kind, name).spec
            own = dict(parse_entries(spec.bibtex))
        except BenchError:
            comments.append(_comment(f"{user} is not installed, so its papers are unknown"))
            continue
        except ValueError as error:
            comments.append(_comment(f"{user}: its BibTeX is invalid ({error})"))
            continue
        if not own:
            comments.append(_comment(f"{user} has no BibTeX entry; paper: {spec.paper or 'none'}"))
        for key, entry in own.items():
            entries.setdefault(key, entry)
            users.setdefault(key, []).append(user)
    parts = [*comments, _repbench_entry(records)]
    parts += [f"{_comment(', '.join(users[key]))}\n{visible(entries[key], keep=LINES)}" for key in sorted(entries)]
    return "\n\n".join(parts) + "\n"


def parse_entries(text: str) -> Iterator[tuple[str, str]]:
    """(key, entry) of each entry of a text.

    Raises:
        ValueError: braces are not balanced, or text stands outside of entries.
    """
    position = 0
    text = text.strip()
    while position < len(text):
        start = ENTRY.match(text, position)
        if start is None:
            raise ValueError(f"expected @type{{key, at '{text[position : position + 20]}'")
        end = _closing_brace(text, text.index("{", position))
        yield start[1], text[position : end + 1]
        position = end + 1
        while position < len(text) and text[position].isspace():
            position += 1


def _closing_brace(text: str, opening: int) -> int:
    depth = 0
    for position in range(opening, len(text)):
        if text[position - 1] == "\\":
            continue
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if not depth:
            return position
    raise ValueError("a brace is not closed")


def _names(records: Iterable[Record]) -> Iterator[tuple[str, str]]:
    """(kind, name with its provider) of everything that occurs, each once."""
    names: set[tuple[str, str]] = set()
    for record in records:
        names |= {("evaluator", score.evaluator.partition("[")[0]) for score in record.scores}
        for kind in KINDS:
            item = record.cell[kind]
            provider = f"{item['provider']}:" if item.get("provider") else ""
            if item["label"] != "-":  # features of the method itself
                names.add((kind, f"{provider}{item['name']}"))
    yield from sorted(names)


def _comment(text: str) -> str:
    """A line that BibTeX ignores. It would read an @ as the start of an entry."""
    return f"% {one_line(text).replace('@', '(at)')}"


def _repbench_entry(records: Sequence[Record]) -> str:
    versions = ", ".join(sorted({_plain(r.provenance["repbench"]) for r in records if r.provenance.get("repbench")}))
    commits = ", ".join(sorted({_plain(commit_of(record)) for record in records} - {""}))
    years = sorted({_plain(record.provenance.get("time", ""))[:4] for record in records} - {""})
    fields = {
        "author": "{The repbench maintainers}",
        "title": "{repbench: a plugin-based benchmark of unsupervised image representations}",
        "version": versions,
        "year": years[-1] if years else "",
        "note": f"version {versions}, {f'commit {commits}' if commits else 'commit not recorded'}",
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join(["@misc{repbench,", *lines, "}"])


def _plain(value: object) -> str:
    """A value of a record inside an entry: without what BibTeX and LaTeX would read."""
    return re.sub(r"[^\w .,:+-]", "?", one_line(str(value)))
