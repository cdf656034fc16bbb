"""Resolve the names of a request: installed plugins with bound parameters."""

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
from benchmark.api.limits import shown
from benchmark.api.methods import MethodSpec
from benchmark.api.parameters import as_dict, bind, label
from benchmark.errors import PLUGIN_ERRORS, BenchError, DataError, UsageError
from benchmark.execution.request import Request, Skip
from benchmark.plain_text import error_text, hidden_character

SMALLEST_SIDE = 8
"""Least height and width of images, in pixels."""
SelectedT = TypeVar("SelectedT")
Skips = dict[str, Skip]
"""Name or title -> why it was left out."""


@dataclass(frozen=True, kw_only=True)
class Selected:
    """A method or an encoder with bound parameters."""

    spec: Any
    """`MethodSpec` or `EncoderSpec`."""
    params: Any
    """An instance of the spec's parameter class."""
    item: Item
    text: str
    """JSON that is hashed into the cell's id."""


@dataclass(frozen=True, kw_only=True)
class SelectedDataset:
    """A dataset with bound parameters."""

    spec: DatasetSpec
    info: DatasetInfo
    item: Item
    subset: int | None
    """Stratified number of training images; None: all."""
    text: str
    """JSON that is hashed into the cell's id."""


@dataclass(frozen=True, kw_only=True)
class SelectedEvaluator:
    """An evaluator with bound parameters, and how maps become vectors for it."""

    item: Item
    pool: Pool
    protocol: str


@dataclass(frozen=True, kw_only=True)
class Selections:
    """Everything that a request names."""

    methods: Sequence[Selected]
    encoders: Sequence[Selected]
    datasets: Sequence[SelectedDataset]
    evaluators: Sequence[SelectedEvaluator]


def select(request: Request, catalog: Catalog, skips: Skips) -> Selections:
    """The plugins that a request names. An item that only a glob selects and that lacks a required parameter is added to
    `skips`.

    Raises:
        UsageError: a name or a parameter does not exist, or two distributions provide one name.
        DataError: a dataset is not available.
    """

    def dataset(entry: Entry[DatasetSpec], params: dict[str, object]) -> SelectedDataset:
        return select_dataset(entry, params, request.data_dir)

    methods = _select(request.methods, catalog, catalog.methods, "method", select_method, skips)
    encoders = _select(request.encoders, catalog, catalog.encoders, "encoder", select_encoder, skips)
    evaluators = _select(request.evaluators, catalog, catalog.evaluators, "evaluator", select_evaluator, skips)
    datasets = _select(request.datasets, catalog, catalog.datasets, "dataset", dataset, skips)
    if request.floors:
        methods += _floors(catalog, methods)
    _check_providers("method", (each.item for each in methods))
    _check_providers("encoder", (each.item for each in encoders))
    _check_providers("dataset", (each.item for each in datasets))
    _check_providers("evaluator", (each.item for each in evaluators))
    return Selections(methods=methods, encoders=encoders, datasets=datasets, evaluators=evaluators)


def _select(
    selections: Iterable[Selection],
    catalog: Catalog,
    entries: Sequence[Entry[SpecT]],
    kind: str,
    make: Callable[[Entry[SpecT], dict[str, object]], SelectedT],
    skips: Skips,
) -> list[SelectedT]:
    selected = []
    for selection in selections:
        for entry in catalog.match(entries, kind, selection.name):
            try:
                selected.append(make(entry, dict(selection.params)))
            except UsageError as error:
                if not is_glob(selection.name) or selection.params:
                    raise
                skips.setdefault(entry.spec.name, Skip(title=f"{kind} {entry.spec.name}", reason=str(error)))
            except BenchError:
                raise
            except PLUGIN_ERRORS as error:  # plugin code: `identity` or `describe`
                provider = f"{entry.provider.distribution} {entry.provider.version}"
                problem = f"{type(error).__name__} during planning: {error_text(error)}"
                raise UsageError(f"{kind} '{entry.spec.name}' of {provider} raised {problem}") from error
    return selected


def _floors(catalog: Catalog, methods: Sequence[Selected]) -> list[Selected]:
    """The methods that give a lower bound and that the request does not name itself."""
    names = {method.spec.name for method in methods}
    floors = [entry for entry in catalog.methods if entry.spec.floor and entry.spec.name not in names]
    return [select_method(entry, {}) for entry in floors]


def _check_providers(kind: str, items: Iterable[Item]) -> None:
    """Two distributions that provide one name would write into the same cells."""
    seen: dict[str, str] = {}
    for item in items:
        other = seen.setdefault(item.label, item.provider)
        if other != item.provider:
            raise UsageError(
                f"{kind} '{item.label}' is requested from {other} and from {item.provider}, and their records would have "
                "the same name. Run them one after the other, each with its own --out"
            )


# --- one plugin -------------------------------------------------------------------------------------------------------


def select_method(entry: Entry[MethodSpec], values: Mapping[str, object]) -> Selected:
    """A method with bound parameters."""
    spec = entry.spec
    params = bind(spec.params, values, f"method '{spec.name}'")
    identity = dict(spec.identity(params)) if spec.identity else as_dict(params)
    return _selected(spec, params, _item(entry, as_dict(params), identity))


def select_encoder(entry: Entry[EncoderSpec], values: Mapping[str, object]) -> Selected:
    """An encoder with bound parameters."""
    params = bind(entry.spec.params, values, f"encoder '{entry.spec.name}'")
    return _selected(entry.spec, params, _item(entry, as_dict(params), as_dict(params)))


def encoders_for(method: Selected, encoders: Sequence[Selected]) -> Sequence[Selected]:
    """The encoders to combine with a method: its own if it has one."""
    own = method.spec.own_encoder
    if own is None:
        return encoders
    params = own.params()
    item = Item(name=own.name, params=as_dict(params), identity=as_dict(params), label=own.name, version=own.version)
    return [_selected(own, params, item)]


def select_evaluator(entry: Entry[EvaluatorSpec], values: Mapping[str, object]) -> SelectedEvaluator:
    """An evaluator with bound parameters; `pool` is the harness's own parameter.

    Raises:
        UsageError: the evaluator does not take this pooling.
    """
    spec = entry.spec
    own = {key: value for key, value in values.items() if key != "pool"}
    name = values.get("pool", spec.pools[0])
    name = "none" if name is None else name  # the grammar reads `none` as no value
    pool = next((each for each in spec.pools if each == name), None)
    if pool is None:
        advice = "leave pool out" if spec.pools == ("none",) else f"write pool={' or pool='.join(spec.pools)}"
        raise UsageError(f"evaluator '{spec.name}' does not take pool={name}; {advice}")
    params = as_dict(bind(spec.params, own, f"evaluator '{spec.name}'", others=("pool",)))
    return SelectedEvaluator(item=_item(entry, params, params), pool=pool, protocol=spec.protocol)


def select_dataset(entry: Entry[DatasetSpec], values: Mapping[str, object], data_dir: Path) -> SelectedDataset:
    """A dataset with bound parameters; `subset` is the harness's own parameter.

    Raises:
        UsageError: the subset is not possible.
        DataError: the dataset is not available, or its images are too small.
    """
    spec = entry.spec
    own = {key: value for key, value in values.items() if key != "subset"}
    params = bind(spec.params, own, f"dataset '{spec.name}'", others=("subset",))
    info = spec.describe(params, data_dir)
    if min(info.image_shape[1:]) < SMALLEST_SIDE:
        height, width = info.image_shape[1:]
        raise DataError(
            f"dataset '{info.label}' has images of {width} x {height} pixels, but they must have {SMALLEST_SIDE} or more on "
            "each side; choose a larger size"
        )
    _check_label(info.label)
    subset = _subset(values.get("subset"), info)
    text = info.label if subset is None else f"{info.label}[subset={subset}]"
    return SelectedDataset(
        spec=spec,
        info=info,
        item=dataclasses.replace(_item(entry, as_dict(params), {}), label=text),
        subset=subset,
        text=dataset_json(info.fingerprint, subset),
    )


def _subset(subset: object, info: DatasetInfo) -> int | None:
    if subset is None:
        return None
    classes, images = len(info.class_names), info.num_train
    if not isinstance(subset, int) or isinstance(subset, bool) or not classes <= subset <= images or subset < 1:
        raise UsageError(
            f"dataset '{info.label}': subset={subset} is not possible; write a number of training images from "
            f"{max(classes, 1)} (its classes) to {images} (all)"
        )
    return subset


def _selected(spec: Any, params: Any, item: Item) -> Selected:
    return Selected(spec=spec, params=params, item=item, text=plugin_json(item.name, item.identity))


def _check_label(text: str) -> None:
    """A label is part of tables, logs and file names, so it is plain text.

    Raises:
        UsageError: the label is empty or has a hidden character, for example that of a folder's name.
    """
    hidden = hidden_character(text)
    if hidden or not text.strip():
        problem = f"must not contain {hidden}" if hidden else "is empty"
        raise UsageError(f"the label {shown(text)} {problem}; rename what it names, or pass name=")


def _item(entry: Entry[Any], params: dict[str, object], identity: dict[str, object]) -> Item:
    spec = entry.spec
    text = label(spec.name, _shortened(identity), _defaults(spec.params))
    _check_label(text)
    return Item(
        name=spec.name,
        params=params,
        identity=identity,
        label=text,
        provider=entry.provider.distribution,
        version=getattr(spec, "version", 1),
    )


@functools.lru_cache(maxsize=256)
def _defaults(params: type) -> dict[str, object]:
    return as_dict(params())


def _shortened(identity: Mapping[str, object]) -> dict[str, object]:
    """The identity with checksums cut to 12 digits, since labels are read by people."""
    return {
        key: value[:12] if isinstance(value, str) and len(value) >= 32 and value.isalnum() else value
        for key, value in identity.items()
    }
