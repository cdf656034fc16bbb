"""Makers of records, scores and tables for tests."""

from __future__ import annotations

import hashlib
from typing import Any

from benchmark.records.record import Record, Score
from benchmark.reports.score_tables import score_tables
from benchmark.reports.table import MissingCell, Table


def sample_score(value: float = 0.5, **changes: Any) -> Score:
    """A kNN accuracy at one tap; `changes` replace fields."""
    fields: dict[str, Any] = {
        "tap": "layer4",
        "pool": "average",
        "evaluator": "knn",
        "protocol": "knn@1",
        "metric": "accuracy@k=20",
        "params": {"k": [1, 20]},
        "value": value,
        "ci_low": value - 0.125,
        "ci_high": value + 0.125,
        "n": 8,
        "outcomes": None,
        "headline": True,
    }
    return Score(**{**fields, **changes})


NO_FILE = {"bytes": 1, "sha256": "0" * 64}
"""The checksum of a weights file that does not exist."""


def sample_record(
    method: str = "aet",
    encoder: str = "resnet18",
    dataset: str = "digits",
    seed: int | None = 0,
    *,
    scores: tuple[Score, ...] | None = None,
    recipe: dict[str, Any] | None = None,
    **changes: Any,
) -> Record:
    """A finished cell with an id of its own; `changes` replace fields of the record."""
    recipe = {"epochs": 6, "lr": 0.001, **(recipe or {})}
    name, _, words = method.partition("[")
    cell = {
        "method": {
            "name": name,
            "label": method,
            "params": dict([words[:-1].split("=")]) if words else {},
            "version": 1,
        },
        "encoder": {"name": encoder, "label": encoder, "params": {}, "version": 1},
        "dataset": {
            "name": dataset.partition("[")[0],
            "label": dataset,
            "params": {},
            "fingerprint": "f" * 64,
            "subset": None,
            "version": 1,
        },
        "seed": seed,
        "recipe": recipe,
    }
    fields: dict[str, Any] = {
        "id": hashlib.sha256(repr(cell).encode()).hexdigest(),
        "state": "done",
        "cell": cell,
        "scores": (sample_score(),) if scores is None else scores,
        "cost": {"train_seconds": 1.5, "images_seen": 8622},
        "provenance": {
            "versions": {"method": 1, "encoder": 1, "dataset": 1},
            "device": "cpu",
            "repbench": "0.1.0",
            "commit": "0123456789abcdef0123456789abcdef01234567",
            "dirty": False,
            "sources": {"method": {"plugin": "sample:methods", "source": "0" * 16}},
        },
        "checks": {"trained": True, "failed_to_learn": None, "frozen": True, "model_file": NO_FILE},
    }
    return Record(**{**fields, **changes})


def awkward_tables() -> list[Table]:
    """Score tables with bars, brackets, line breaks and percent signs in their texts."""
    records = [
        *(
            sample_record("aet[transform=affine]", seed=seed, scores=(sample_score(0.5 + 0.1 * seed),))
            for seed in (0, 1)
        ),
        *(sample_record("dim_local", seed=seed, scores=(sample_score(0.3 + 0.1 * seed),)) for seed in (0, 1)),
        sample_record("x|y", dataset="photos[subset=50]", scores=(sample_score(evaluator="knn[k=5]"),)),
    ]
    reason = "failed: 100 % | of\nit [red]here[/red] [/x]"
    missing = MissingCell(method="dim", encoder="resnet18", dataset="digits", seed=1, reason=reason)
    return score_tables(records, [missing])


def column_of(table: Table, name: str) -> list[str]:
    """The texts of a column."""
    return [row[table.columns.index(name)] for row in table.rows]
