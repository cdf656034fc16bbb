"""Which fields make two cells different, and what follows from each: another cell, a stale record, or nothing at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from benchmark.records.record import Record
from benchmark.reports.table import Table

Consequence = Literal["another cell", "stale", "scores missing", "recorded only"]
"""What follows where a field differs: it is hashed into the id; finished work counts no more as it is; a score is added
without training again; nothing."""
ABSENT = "-"
"""Stands where one of the two has no such field."""
STALE = ("provider", "version", "protocol")
"""Kinds of fields that say whether the same settings still give the same numbers."""


@dataclass(frozen=True, kw_only=True)
class SettingDifference:
    """A field in which two records differ."""

    field: str
    a: object
    """ABSENT where it has none."""
    b: object
    consequence: Consequence


def setting_differences(a: Record, b: Record) -> list[SettingDifference]:
    """All fields in which two records differ but for costs and values of scores; what has consequences comes first."""
    ours, theirs = _fields(a), _fields(b)
    found = []
    for name in dict.fromkeys((*ours, *theirs)):
        left, right = ours.get(name, ABSENT), theirs.get(name, ABSENT)
        if _text(left) != _text(right):
            consequence = _consequence(name, ABSENT in (left, right), same=a.id == b.id)
            found.append(SettingDifference(field=name, a=left, b=right, consequence=consequence))
    return sorted(found, key=lambda each: get_args(Consequence).index(each.consequence))


def _fields(record: Record) -> dict[str, object]:
    """Everything that is said of a record, flat; each thing once."""
    cell, provenance = record.cell, dict(record.provenance)
    version = provenance.pop("versions", None) or {
        kind: cell[kind].get("version", 1) for kind in ("method", "encoder", "dataset")
    }
    return {
        **dict(_of_cell(cell)),
        "smoke": record.state == "smoke",
        **{f"provider.{kind}": cell[kind].get("provider") or ABSENT for kind in ("method", "encoder", "dataset")},
        **dict(_flat("version", version)),
        **{f"protocol.{score.evaluator} at {score.tap} ({score.pool})": score.protocol for score in record.scores},
        **dict(_flat("provenance", provenance)),
    }


def _of_cell(cell: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """What is hashed, and the dataset's label, which is not: a folder is shown by its name and known by its content."""
    for kind, body in cell.items():
        if not isinstance(body, Mapping):
            yield kind, body
            continue
        told = {"label", "provider", "version"}  # of a label everything stands in name and parameters
        yield from _flat(kind, {key: value for key, value in body.items() if key not in told})
        if kind == "dataset":
            yield "dataset.label", body.get("label")


def _flat(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(f"{name}.{key}", each)
    else:
        yield name, value


def _consequence(name: str, one_sided: bool, same: bool) -> Consequence:
    """What follows from a field that differs, or that one of the two has alone."""
    kind, _, key = name.partition(".")
    if kind == "protocol" and one_sided:
        return "scores missing"
    if kind in STALE:
        return "recorded only" if one_sided else "stale"
    hashed = {"dataset": key in ("fingerprint", "subset"), "provenance": False}
    # A cell whose process died has no more than its names in its record, and is the same cell all the same.
    return "another cell" if hashed.get(kind, True) and not same else "recorded only"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def verdict(a: Record, b: Record) -> str:
    """What all differences come to, in a sentence."""
    found = setting_differences(a, b)
    if a.id == b.id:
        same = f"The same cell, {a.id[:10]}: its training settings are the same"
        return f"{same}, and nothing else differs." if not found else f"{same}; what else differs is listed."
    hashed = dict.fromkeys(each.field.partition(".")[0] for each in found if each.consequence == "another cell")
    if hashed:
        return f"Two cells, {a.id[:10]} and {b.id[:10]}, by {', '.join(hashed)}."
    return f"Two cells, {a.id[:10]} and {b.id[:10]}, though no recorded setting differs: other versions hashed them."


def table(a: Record, b: Record) -> Table:
    """The differences, one a row."""
    rows = [(each.field, _text(each.a), _text(each.b), each.consequence) for each in setting_differences(a, b)]
    columns = ("field", "A", "B", "consequence")
    title = f"A: {_name(a)}, B: {_name(b)}"
    return Table(title=title, columns=columns, rows=tuple(rows), notes=(verdict(a, b),), kept=len(columns))


def as_json(a: Record, b: Record) -> str:
    """The differences with their values as recorded."""
    body = {
        "a": {"id": a.id, "folder": _name(a)},
        "b": {"id": b.id, "folder": _name(b)},
        "same": a.id == b.id,
        "verdict": verdict(a, b),
        "differences": [vars(each) for each in setting_differences(a, b)],
    }
    return json.dumps(body, indent=1) + "\n"


def _name(record: Record) -> str:
    return Path(record.folder).name or record.id[:10]
