"""Makers of published figures, catalogs with them and records to compare with."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sample_records import sample_record, sample_score

from benchmark.api.catalog import Catalog, Entry, Provider
from benchmark.api.encoders import EncoderSpec, Pool
from benchmark.api.evaluators import EvaluatorSpec, Metric
from benchmark.api.methods import MethodSpec, Published
from benchmark.api.parameters import as_dict
from benchmark.api.recipes import Recipe
from benchmark.records.record import Record, Score
from benchmark.records.record_text import as_json, parse_record
from benchmark.reports.published import comparisons

PROVIDER = Provider(plugin="paper", distribution="paper", version="1")
PAPER = Recipe(
    epochs=200,
    batch=128,
    optimizer="sgd",
    lr=0.1,
    weight_decay=5e-4,
    schedule="milestones",
    milestones=(60, 120, 160),
    drop_last=False,
    mean=(0.5, 0.4, 0.3),
    std=(0.25, 0.25, 0.25),
)


@dataclass(frozen=True, kw_only=True)
class TurnParams:
    """An integer, and a number that was added later."""

    turns: int = 4
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class NetParams:
    """An integer and a choice."""

    blocks: int = 4
    init: Literal["own", "default"] = "own"


@dataclass(frozen=True, kw_only=True)
class HeadParams:
    """Labels, epochs and a list."""

    per_class: int | None = None
    epochs: int = 100
    rates: tuple[float, ...] = (0.1, 0.01)


def _nothing(*arguments: object) -> Any:
    raise AssertionError("comparisons build nothing")


def published(value: float = 0.9, **changes: Any) -> Published:
    """The accuracy of `head` on conv2 of `net`, CIFAR-10, trained by PAPER."""
    fields: dict[str, Any] = {
        "value": value,
        "encoder": "net",
        "tap": "conv2",
        "evaluator": "head",
        "recipe": PAPER,
        "source": "Ann 2020, Table 1",
        "status": "read",
    }
    return Published(**{**fields, **changes})


def catalog_of(*figures: Published, **methods: Sequence[Published]) -> Catalog:
    """A catalog: method `turn` with these figures and other methods with theirs, encoders `net` and `wide`, two evaluators."""

    def entries(specs: Sequence[Any]) -> Any:
        return tuple(Entry(spec=spec, provider=PROVIDER) for spec in specs)

    def evaluator(name: str, *pools: Pool) -> EvaluatorSpec:
        metrics = (Metric(name="accuracy", headline="accuracy"),)
        return EvaluatorSpec(
            name=name, summary="", evaluate=_nothing, metrics=metrics, params=HeadParams, pools=pools, version=1
        )

    return Catalog(
        methods=entries(
            [
                MethodSpec(name=name, summary="", build=_nothing, params=TurnParams, published=tuple(given))
                for name, given in {"turn": figures, **methods}.items()
            ]
        ),
        encoders=entries(
            [
                EncoderSpec(name=name, summary="", build=_nothing, layout=_nothing, params=NetParams)
                for name in ("net", "wide")
            ]
        ),
        evaluators=entries([evaluator("head", "none"), evaluator("svm", "flat", "average")]),
        plugins=(PROVIDER,),
    )


def scored(value: float = 0.85, evaluator: str = "head", **changes: Any) -> Score:
    """An accuracy of `head` on conv2 over 10,000 images; `params` replace default parameters."""
    name = evaluator.partition("[")[0]
    fields: dict[str, Any] = {
        "tap": "conv2",
        "pool": "flat" if name == "svm" else "none",
        "evaluator": evaluator,
        "protocol": f"{name}@1",
        "metric": "accuracy",
        "n": 10_000,
        "ci_low": value - 0.0078125,
        "ci_high": value + 0.0078125,
    }
    params = {**as_dict(HeadParams()), **changes.pop("params", {})}
    return sample_score(value, **{**fields, **changes, "params": params})


def record_of(
    *scores: Score,
    method: str = "turn",
    encoder: str = "net",
    dataset: str = "cifar10",
    seed: int | None = 0,
    subset: int | None = None,
    method_params: Mapping[str, object] | None = None,
    encoder_params: Mapping[str, object] | None = None,
    recipe: Recipe | None = PAPER,
    **changes: Any,
) -> Record:
    """A finished cell as it is read from its file; parameters are the defaults, or exactly those passed."""
    record = sample_record(method, encoder, dataset, seed, scores=scores or (scored(),), **changes)
    cell = record.cell
    cell["method"]["params"] = as_dict(TurnParams()) if method_params is None else dict(method_params)
    cell["encoder"]["params"] = as_dict(NetParams()) if encoder_params is None else dict(encoder_params)
    cell["dataset"]["subset"] = subset
    cell["recipe"] = as_dict(Recipe(epochs=0) if recipe is None else recipe)
    cell["image_shape"] = [3, 32, 32]
    body = {**as_json(record), "id": hashlib.sha256(repr(cell).encode()).hexdigest()}
    return parse_record(json.dumps(body).encode(), Path("runs") / "cell" / "record.json")


def beside(record: Record, *figures: Published) -> list[tuple[float, tuple[str, ...]]]:
    """The values of the figures compared with a record's scores, each with the differences."""
    return [(each.figure.value, each.differences) for each in comparisons([record], catalog_of(*figures))]


def differing(record: Record, **changes: Any) -> tuple[str, ...]:
    """The differences between a record's only score and the only figure."""
    ((_, differences),) = beside(record, published(**changes))
    return differences


def trained(**changes: Any) -> Record:
    """A record with a changed PAPER recipe."""
    return record_of(recipe=dataclasses.replace(PAPER, **changes))
