"""Which fields make two cells different, and the consequence of each: a different cell, a stale record, or none."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from benchmark.analysis.frames import exact_frame
from benchmark.records.record import KINDS, Record
from benchmark.reports.table import Report, Table

Consequence = Literal["another cell", "stale", "scores missing", "recorded only"]
"""Consequence of a field that differs. `another cell`: it is part of the cell's id. `stale`: finished results are outdated.
`scores missing`: a score is added without training again. `recorded only`: nothing."""
ABSENT = "-"
"""Value of a field that one of the records does not have."""
STALE_KINDS = ("provider", "version", "protocol")
"""Kinds of fields that decide whether the same settings still give the same numbers."""


@dataclass(frozen=True, kw_only=True)
class SettingDifference:
    """A field in which two records differ."""

    field: str
    """`recipe.lr`, `provenance.device`."""
    a: object
    """Its value in A; ABSENT if A does not have it."""
    b: object
    """Its value in B; ABSENT if B does not have it."""
    consequence: Consequence


def setting_differences(a: Record, b: Record) -> list[SettingDifference]:
    """The fields in which two records differ, except costs and score values; the most severe consequences come first."""
    fields_a, fields_b = _fields(a), _fields(b)
    differences = []
    for name in dict.fromkeys((*fields_a, *fields_b)):
        value_a, value_b = fields_a.get(name, ABSENT), fields_b.get(name, ABSENT)
        if _as_text(value_a) != _as_text(value_b):
            consequence = _consequence(name, ABSENT in (value_a, value_b), same_id=a.id == b.id)
            differences.append(SettingDifference(field=name, a=value_a, b=value_b, consequence=consequence))
    return sorted(differences, key=lambda each: get_args(Consequence).index(each.consequence))


def _fields(record: Record) -> dict[str, object]:
    """The fields of a record, flat; each value once."""
    cell, provenance = record.cell, dict(record.provenance)
    versions = provenance.pop("versions", None) or {kind: cell[kind].get("version", 1) for kind in KINDS}
    return {
        **dict(_cell_fields(cell)),
        "smoke": record.state == "smoke",
        **{f"provider.{kind}": cell[kind].get("provider") or ABSENT for kind in KINDS},
        **dict(_flat("version", versions)),
        **{f"protocol.{score.evaluator} at {score.tap} ({score.pool})": score.protocol for score in record.scores},
        **dict(_flat("provenance", provenance)),
    }


def _cell_fields(cell: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The fields that make up the cell's id, and the dataset's label: a folder is shown by name, identified by content."""
    for kind, body in cell.items():
        if not isinstance(body, Mapping):
            yield kind, body
            continue
        elsewhere = {"label", "provider", "version"}  # a label only repeats name and parameters
        yield from _flat(kind, {key: value for key, value in body.items() if key not in elsewhere})
        if kind == "dataset":
            yield "dataset.label", body.get("label")


def _flat(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(f"{name}.{key}", each)
    else:
        yield name, value


def _consequence(name: str, one_sided: bool, same_id: bool) -> Consequence:
    """The consequence of a field that differs.

    Args:
        name: of the field.
        one_sided: whether only one of the records has it.
        same_id: whether the records have the same cell id. A cell whose process died records little more than its names.
    """
    kind, _, key = name.partition(".")
    if kind == "protocol" and one_sided:
        return "scores missing"
    if kind in STALE_KINDS:
        return "recorded only" if one_sided else "stale"
    in_id = {"dataset": key in ("fingerprint", "subset"), "provenance": False}
    return "another cell" if in_id.get(kind, True) and not same_id else "recorded only"


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def verdict(a: Record, b: Record) -> str:
    """The consequence of all differences, in one sentence."""
    differences = setting_differences(a, b)
    if a.id == b.id:
        same = f"The same cell, {a.short_id}: its training settings are equal"
        return f"{same}; the table lists what else differs." if differences else f"{same}, and nothing else differs."
    in_id = dict.fromkeys(each.field.partition(".")[0] for each in differences if each.consequence == "another cell")
    if in_id:
        return f"Different cells, {a.short_id} and {b.short_id}. What differs: {', '.join(in_id)}."
    return (
        f"Different cells, {a.short_id} and {b.short_id}, but no recorded setting differs: "
        "their ids were computed by different versions of repbench."
    )


def explanation_report(a: Record, b: Record) -> Report:
    """The differences of two records, one per row."""
    differences = setting_differences(a, b)
    columns = ("field", "A", "B", "consequence")
    return Report(
        tables=lambda: [
            Table(
                title=f"A: {_folder_name(a)}, B: {_folder_name(b)}",
                columns=columns,
                rows=tuple((each.field, _as_text(each.a), _as_text(each.b), each.consequence) for each in differences),
                notes=(verdict(a, b),),
                kept=len(columns),
            )
        ],
        frame=lambda: exact_frame(
            (vars(each) for each in differences), columns=tuple(SettingDifference.__dataclass_fields__)
        ),
        facts={
            "a": {"id": a.id, "folder": _folder_name(a)},
            "b": {"id": b.id, "folder": _folder_name(b)},
            "same": a.id == b.id,
            "verdict": verdict(a, b),
        },
    )


def _folder_name(record: Record) -> str:
    return Path(record.folder).name or record.short_id
