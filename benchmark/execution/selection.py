"""Selections of a request resolved to installed plugins with parameters."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmark.api.catalog import Catalog, Entry, SpecT, is_glob
from benchmark.api.cells import Item
from benchmark.api.datasets import DatasetInfo, DatasetSpec
from benchmark.api.encoders import EncoderSpec, Pool
from benchmark.api.evaluators import EvaluatorSpec
from benchmark.api.grammar import Selection
from benchmark.api.identity import dataset_json, plugin_json
from benchmark.api.methods import MethodSpec
from benchmark.api.parameters import as_dict, bind, label
from benchmark.errors import BenchError, DataError, UsageError
from benchmark.execution.request import Request, Skip

SMALLEST_SIDE = 8
ChoiceT = TypeVar("ChoiceT")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A spec with its bound parameters."""

    spec: Any
    params: Any
    item: Item
    text: str
    """What of it is hashed, as JSON."""


@dataclass(frozen=True, kw_only=True)
class ChosenDataset:
    spec: DatasetSpec
    info: DatasetInfo
    item: Item
    subset: int | None
    text: str
    """What of it is hashed, as JSON."""


def chosen_items(
    selections: Iterable[Selection],
    catalog: Catalog,
    entries: Sequence[Entry[SpecT]],
    kind: str,
    make: Callable[[Entry[SpecT], dict[str, object]], ChoiceT],
    skips: dict[str, Skip],
) -> list[ChoiceT]:
    """What the selections name, made ready. What only a glob named and cannot do without a parameter is a skip."""
    found = []
    for selection in selections:
        for entry in catalog.match(entries, kind, selection.name):
            try:
                found.append(make(entry, dict(selection.params)))
            except UsageError as error:
                if not is_glob(selection.name) or selection.params:
                    raise
                skips.setdefault(entry.spec.name, Skip(title=f"{kind} {entry.spec.name}", reason=str(error)))
            except BenchError:
                raise
            except Exception as error:  # a stranger's identity or describe
                given_by = f"{entry.provider.distribution} {entry.provider.version}"
                raise UsageError(
                    f"{kind} '{entry.spec.name}' of {given_by} raised {type(error).__name__} while it was planned: {error}"
                ) from error
    return found


def check_providers(kind: str, items: Iterable[Item]) -> None:
    """Two distributions that give the same name would be filed as one cell."""
    seen: dict[str, str] = {}
    for item in items:
        other = seen.setdefault(item.label, item.provider)
        if other != item.provider:
            raise UsageError(
                f"{kind} '{item.label}' was asked for from {other} and from {item.provider}: their records would bear one "
                "name. Run one after the other, each with its own --out"
            )


def choose_methods(request: Request, catalog: Catalog, skips: dict[str, Skip]) -> list[Chosen]:
    asked = chosen_items(request.methods, catalog, catalog.methods, "method", _method, skips)
    if not request.floors:
        return asked
    names = {method.spec.name for method in asked}
    floors = [e for e in catalog.methods if e.spec.floor and e.spec.name not in names]
    return asked + [_method(entry, {}) for entry in floors]


def _method(entry: Entry[MethodSpec], given: dict[str, object]) -> Chosen:
    spec = entry.spec
    params = bind(spec.params, given, f"method '{spec.name}'")
    identity = dict(spec.identity(params)) if spec.identity else as_dict(params)
    return _chosen_one(spec, params, _item(entry, as_dict(params), identity))


def _encoder(entry: Entry[EncoderSpec], given: dict[str, object]) -> Chosen:
    params = bind(entry.spec.params, given, f"encoder '{entry.spec.name}'")
    return _chosen_one(entry.spec, params, _item(entry, as_dict(params), as_dict(params)))


def _chosen_one(spec: Any, params: Any, item: Item) -> Chosen:
    return Chosen(spec=spec, params=params, item=item, text=plugin_json(item.name, item.identity))


def encoders_for(method: Chosen, encoders: list[Chosen]) -> list[Chosen]:
    own = method.spec.own_encoder
    if own is None:
        return encoders
    params = own.params()
    item = Item(name=own.name, params=as_dict(params), identity=as_dict(params), label=own.name, version=own.version)
    return [_chosen_one(own, params, item)]


def choose_evaluator(entry: Entry[EvaluatorSpec], given: dict[str, object]) -> tuple[Pool, Item, str]:
    spec = entry.spec
    word = given.pop("pool", spec.pools[0])
    word = "none" if word is None else word  # as it was typed
    pool = next((each for each in spec.pools if each == word), None)
    if pool is None:
        whole = spec.pools == ("none",)
        takes = "it takes a tap as it is; leave pool out" if whole else f"pool is {' or '.join(spec.pools)}"
        raise UsageError(f"evaluator '{spec.name}': pool={word} cannot be; {takes}")
    params = as_dict(bind(spec.params, given, f"evaluator '{spec.name}'", others=("pool",)))
    return pool, _item(entry, params, params), spec.protocol


def choose_dataset(entry: Entry[DatasetSpec], given: dict[str, object], data_dir: Path) -> ChosenDataset:
    spec = entry.spec
    subset = given.pop("subset", None)
    params = bind(spec.params, given, f"dataset '{spec.name}'", others=("subset",))
    info = spec.describe(params, data_dir)
    if min(info.image_shape[1:]) < SMALLEST_SIDE:
        height, width = info.image_shape[1:]
        raise DataError(
            f"dataset '{info.label}' has images of {width} x {height} pixels; the smallest side is {SMALLEST_SIDE}. "
            "Choose a larger size"
        )
    if subset is not None and (not isinstance(subset, int) or isinstance(subset, bool) or subset < 1):
        raise UsageError(
            f"dataset '{spec.name}': subset={subset} cannot be; it is a number of training images, 1 or more"
        )
    if subset is not None and subset > info.num_train:
        raise UsageError(f"dataset '{info.label}': subset={subset} is more than its {info.num_train} training images")
    if subset is not None and subset < len(info.class_names):
        raise UsageError(f"dataset '{info.label}': subset={subset} is fewer than its {len(info.class_names)} classes")
    shown = info.label if subset is None else f"{info.label}[subset={subset}]"
    item = dataclasses.replace(_item(entry, as_dict(params), {}), label=shown)
    text = dataset_json(info.fingerprint, subset)
    return ChosenDataset(spec=spec, info=info, item=item, subset=subset, text=text)


def _item(entry: Entry[Any], params: dict[str, object], identity: dict[str, object]) -> Item:
    spec = entry.spec
    return Item(
        name=spec.name,
        params=params,
        identity=identity,
        label=label(spec.name, _shortened(identity), _defaults(spec.params)),
        provider=entry.provider.distribution,
        version=getattr(spec, "version", 1),
    )


@functools.lru_cache(maxsize=256)
def _defaults(params: type) -> dict[str, object]:
    return as_dict(params())


def _shortened(identity: Mapping[str, object]) -> dict[str, object]:
    """Checksums cut to 12 digits: a label is read by people."""
    return {
        key: value[:12] if isinstance(value, str) and len(value) >= 32 and value.isalnum() else value
        for key, value in identity.items()
    }
