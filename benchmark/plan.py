"""From a request to cells: which method, encoder, dataset and seed go together, with which recipe, under which identity.

Pure but for asking datasets what they are; imports no torch. What makes no sense is a skip that carries its reason.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from benchmark.catalog import Catalog, Entry, SpecT, is_glob
from benchmark.contracts import (
    SMOKE_STEPS,
    Cell,
    DatasetInfo,
    DatasetSpec,
    EncoderSpec,
    EvaluatorSpec,
    Item,
    Layout,
    MethodSpec,
    Pool,
    Recipe,
    ScoreRequest,
    Setting,
)
from benchmark.errors import BenchError, DataError, UnknownNameError, UnsupportedError, UsageError
from benchmark.grammar import Selection
from benchmark.parameters import as_dict, bind, label

SMALLEST_SIDE = 8
ChoiceT = TypeVar("ChoiceT")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What somebody asked for."""

    methods: Sequence[Selection]
    encoders: Sequence[Selection]
    datasets: Sequence[Selection]
    evaluators: Sequence[Selection]
    taps: Literal["default", "all"] | tuple[str, ...] = "default"
    seeds: tuple[int, ...] = (0,)
    budget: Literal["quick", "paper"] = "quick"
    epochs: int | None = None
    """Instead of the recipe's own number; its schedule is stretched or shrunk."""
    overrides: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """Recipe keys from --set."""
    floors: bool = True
    smoke: bool = False
    data_dir: Path = Path("data")


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """A cell with the scores that are wanted of it."""

    cell: Cell
    scores: tuple[ScoreRequest, ...]
    notes: tuple[str, ...] = ()
    """Taps that this encoder does not have."""


@dataclass(frozen=True, kw_only=True)
class Skip:
    """A combination that makes no sense."""

    title: str
    reason: str
    combination: tuple[str, str, str] | None = None
    """Labels of method, encoder and dataset; None where a single name was left out."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All cells, each once, in the order they were asked for, floors last."""

    cells: tuple[PlannedCell, ...]
    skips: tuple[Skip, ...] = ()
    images: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Fingerprint of a dataset -> its training images, of which a subset may be taken."""


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """A spec with its bound parameters."""

    spec: Any
    params: Any
    item: Item
    text: str
    """What of it is hashed, as JSON."""


@dataclass(frozen=True, kw_only=True)
class _ChosenDataset:
    spec: DatasetSpec
    info: DatasetInfo
    item: Item
    subset: int | None
    text: str
    """What of it is hashed, as JSON."""


@dataclass(frozen=True, kw_only=True)
class _Shared:
    """What combinations have in common, made once for all that share it: planning costs little for each further cell."""

    request: Request
    evaluators: Sequence[tuple[Pool, Item, str]]
    layouts: dict[tuple[int, int], Layout] = dataclasses.field(default_factory=dict)
    """By the places in memory of encoder and dataset, which live as long as the plan is made."""
    recipes: dict[tuple[str, bool, int], tuple[Recipe, str]] = dataclasses.field(default_factory=dict)
    """By what a method gave, whether it trains, and channels: the resolved recipe, and what of it is hashed."""
    scores: dict[tuple[str, ...], tuple[ScoreRequest, ...]] = dataclasses.field(default_factory=dict)
    """By taps."""


def plan(request: Request, catalog: Catalog) -> Plan:
    """The cells of a request.

    Raises:
        UsageError: a name, parameter or recipe key that does not exist, or a dataset that cannot be had.
    """
    skips: dict[str, Skip] = {}
    _check_overrides(request.overrides)
    methods = _methods(request, catalog, skips)
    encoders = _chosen(request.encoders, catalog, catalog.encoders, "encoder", _encoder, skips)
    evaluators = _chosen(request.evaluators, catalog, catalog.evaluators, "evaluator", _evaluator, skips)

    def dataset_of(entry: Entry[DatasetSpec], given: dict[str, object]) -> _ChosenDataset:
        return _dataset(entry, given, request.data_dir)

    datasets = _chosen(request.datasets, catalog, catalog.datasets, "dataset", dataset_of, skips)
    _check_providers("method", (choice.item for choice in methods))
    _check_providers("encoder", (choice.item for choice in encoders))
    _check_providers("dataset", (choice.item for choice in datasets))
    _check_providers("evaluator", (item for _, item, _ in evaluators))
    cells: dict[str, PlannedCell] = {}
    shared = _Shared(request=request, evaluators=evaluators)
    pairs = [(method, encoder) for method in methods for encoder in _encoders_for(method, encoders)]
    for dataset in datasets:
        for method, encoder in pairs:
            found = _combination(shared, method, encoder, dataset)
            if isinstance(found, Skip):
                skips.setdefault(found.title, found)
                continue
            for planned in found:
                cells.setdefault(planned.cell.id, planned)
    images = {dataset.info.fingerprint: dataset.info.num_train for dataset in datasets}
    return Plan(cells=tuple(cells.values()), skips=tuple(skips.values()), images=images)


# --- what was named ---------------------------------------------------------------------------------------------------


def _chosen(
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


def _check_providers(kind: str, items: Iterable[Item]) -> None:
    """Two distributions that give the same name would be filed as one cell."""
    seen: dict[str, str] = {}
    for item in items:
        other = seen.setdefault(item.label, item.provider)
        if other != item.provider:
            raise UsageError(
                f"{kind} '{item.label}' was asked for from {other} and from {item.provider}: their records would bear one "
                "name. Run one after the other, each with its own --out"
            )


def _methods(request: Request, catalog: Catalog, skips: dict[str, Skip]) -> list[_Chosen]:
    asked = _chosen(request.methods, catalog, catalog.methods, "method", _method, skips)
    if not request.floors:
        return asked
    names = {method.spec.name for method in asked}
    floors = [e for e in catalog.methods if e.spec.floor and e.spec.name not in names]
    return asked + [_method(entry, {}) for entry in floors]


def _method(entry: Entry[MethodSpec], given: dict[str, object]) -> _Chosen:
    spec = entry.spec
    params = bind(spec.params, given, f"method '{spec.name}'")
    identity = dict(spec.identity(params)) if spec.identity else as_dict(params)
    return _chosen_one(spec, params, _item(entry, as_dict(params), identity))


def _encoder(entry: Entry[EncoderSpec], given: dict[str, object]) -> _Chosen:
    params = bind(entry.spec.params, given, f"encoder '{entry.spec.name}'")
    return _chosen_one(entry.spec, params, _item(entry, as_dict(params), as_dict(params)))


def _chosen_one(spec: Any, params: Any, item: Item) -> _Chosen:
    return _Chosen(spec=spec, params=params, item=item, text=_json({"name": item.name, "params": item.identity}))


def _encoders_for(method: _Chosen, encoders: list[_Chosen]) -> list[_Chosen]:
    own = method.spec.own_encoder
    if own is None:
        return encoders
    params = own.params()
    item = Item(name=own.name, params=as_dict(params), identity=as_dict(params), label=own.name, law=own.law)
    return [_chosen_one(own, params, item)]


def _evaluator(entry: Entry[EvaluatorSpec], given: dict[str, object]) -> tuple[Pool, Item, str]:
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


def _dataset(entry: Entry[DatasetSpec], given: dict[str, object], data_dir: Path) -> _ChosenDataset:
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
    text = _json({"fingerprint": info.fingerprint, "subset": subset})
    return _ChosenDataset(spec=spec, info=info, item=item, subset=subset, text=text)


def _item(entry: Entry[Any], params: dict[str, object], identity: dict[str, object]) -> Item:
    spec = entry.spec
    return Item(
        name=spec.name,
        params=params,
        identity=identity,
        label=label(spec.name, _shortened(identity), _defaults(spec.params)),
        provider=entry.provider.distribution,
        law=getattr(spec, "law", 1),
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


# --- combinations -----------------------------------------------------------------------------------------------------


def _combination(
    shared: _Shared, method: _Chosen, encoder: _Chosen, dataset: _ChosenDataset
) -> list[PlannedCell] | Skip:
    request = shared.request
    names = (method.item.label, encoder.item.label, dataset.item.label)

    def skip(reason: str) -> Skip:
        return Skip(title=" / ".join(names), reason=reason, combination=names)

    side = min(dataset.info.image_shape[1:])
    try:
        if side < encoder.spec.min_side:
            return skip(f"images of {side} pixels; {encoder.spec.name} takes {encoder.spec.min_side}")
        layout = _layout(shared, encoder, dataset)
        setting = _setting(request, method, encoder, dataset, layout)
        reason = method.spec.supports(setting)
        if reason:
            return skip(reason)
        recipe, text = _recipe(shared, method.spec, setting)
    except UnsupportedError as error:
        return skip(str(error))
    except BenchError:
        raise
    except Exception as error:  # a stranger's layout, supports or recipe: the other combinations go on
        return skip(f"its plugin raised {type(error).__name__}: {error}")
    taps, notes = _taps(request.taps, layout, method.spec.own_encoder is not None, encoder.item.label)
    if not taps:
        return skip("; ".join(notes) or "no tap was named")
    scores = _scores(shared, tuple(taps))
    seeds: Sequence[int | None] = request.seeds if method.spec.seeded else (None,)
    cells = _cells(method, encoder, dataset, recipe, text, request.smoke, seeds)
    return [PlannedCell(cell=cell, scores=scores, notes=notes) for cell in cells]


def _layout(shared: _Shared, encoder: _Chosen, dataset: _ChosenDataset) -> Layout:
    key = (id(encoder), id(dataset))
    if key not in shared.layouts:
        shared.layouts[key] = encoder.spec.layout(encoder.params, dataset.info.image_shape)
    return shared.layouts[key]


def _scores(shared: _Shared, taps: tuple[str, ...]) -> tuple[ScoreRequest, ...]:
    if taps not in shared.scores:
        found = {
            (tap, pool, item.label): ScoreRequest(tap=tap, pool=pool, evaluator=item, protocol=protocol)
            for tap in taps
            for pool, item, protocol in shared.evaluators
        }
        shared.scores[taps] = tuple(found.values())
    return shared.scores[taps]


def _setting(request: Request, method: _Chosen, encoder: _Chosen, dataset: _ChosenDataset, layout: Layout) -> Setting:
    return Setting(
        method_params=method.params,
        encoder=encoder.spec.name,
        encoder_params=encoder.params,
        layout=layout,
        dataset=dataset.spec.name,
        image_shape=dataset.info.image_shape,
        num_images=dataset.subset or dataset.info.num_train,
        num_classes=len(dataset.info.class_names),
        budget=request.budget,
    )


def _recipe(shared: _Shared, spec: MethodSpec, setting: Setting) -> tuple[Recipe, str]:
    """The method's recipe with --epochs and --set, every number resolved; and what of it is hashed, as JSON.

    What is not trained has no schedule: only normalisation is left of the overrides.
    """
    recipe = stretched(spec.recipe(setting), shared.request.epochs) if spec.trains else Recipe(epochs=0)
    key = (repr(recipe), spec.trains, setting.image_shape[0])  # not the recipe itself: True and 1 are equal
    if key not in shared.recipes:
        overrides = dict(shared.request.overrides)
        if not spec.trains:
            overrides = {name: value for name, value in overrides.items() if name in ("mean", "std")}
        changed: Recipe = bind(Recipe, {**as_dict(recipe), **overrides}, "the recipe (--set)")
        _check_recipe(changed, setting, spec.trains)
        shared.recipes[key] = changed, _json(as_dict(changed))
    return shared.recipes[key]


def _check_overrides(overrides: Mapping[str, object]) -> None:
    """Names and types of --set, before any cell: a slip must not pass because every cell is skipped or not trained."""
    for key in overrides:
        if key not in Recipe.__dataclass_fields__:
            raise UnknownNameError("recipe key", key, Recipe.__dataclass_fields__)
    bind(Recipe, overrides, "the recipe (--set)")


def stretched(recipe: Recipe, epochs: int | None) -> Recipe:
    """The recipe over another number of epochs: milestones, warm-up and the start of the linear tail move in proportion."""
    if epochs is None or recipe.epochs == 0:
        return recipe
    factor = epochs / recipe.epochs
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        milestones=tuple(round(milestone * factor) for milestone in recipe.milestones),
        linear_from=None if recipe.linear_from is None else round(recipe.linear_from * factor),
        warmup=round(recipe.warmup * factor),
    )


def _check_recipe(recipe: Recipe, setting: Setting, trains: bool) -> None:
    channels = setting.image_shape[0]
    for key, values in (("mean", recipe.mean), ("std", recipe.std)):
        if values is not None and len(values) != channels:
            raise UnsupportedError(f"the recipe's {key} has {len(values)} numbers for images of {channels} channels")
    if recipe.std is not None and min(recipe.std) <= 0:
        raise UsageError(f"the recipe's std must be above 0, not {recipe.std}")
    wrong = [key for key, right in _ranges(recipe).items() if not right]
    if wrong:
        raise UsageError(
            f"the recipe has {', '.join(f'{key}={getattr(recipe, key)}' for key in wrong)}; rates, borders, warm-up and decay "
            "are 0 or more, momentum and betas below 1, clip above 0"
        )
    if trains and (recipe.epochs < 1 or recipe.batch < 2 or recipe.lr <= 0):
        raise UsageError(
            f"the recipe has epochs={recipe.epochs}, batch={recipe.batch}, lr={recipe.lr}; "
            "training takes at least 1 epoch, 2 images a batch and a rate above 0"
        )


def _ranges(recipe: Recipe) -> dict[str, bool]:
    """Whether each number of the recipe can be: a wrong one would only be found while training."""
    return {
        **{key: getattr(recipe, key) >= 0 for key in ("pad", "warmup", "weight_decay", "factor", "final_lr")},
        **{key: 0 <= getattr(recipe, key) < 1 for key in ("momentum", "beta1", "beta2")},
        "clip": recipe.clip is None or recipe.clip > 0,
    }


def _taps(
    asked: Literal["default", "all"] | tuple[str, ...], layout: Layout, own: bool, encoder: str
) -> tuple[list[str], tuple[str, ...]]:
    names = [tap.name for tap in layout.taps]
    wanted = {layout.probe, layout.output} if asked == "default" or own else set(names if asked == "all" else asked)
    missing = sorted(wanted - set(names))
    notes = tuple(f"{encoder} has no tap '{name}'; it has {', '.join(names)}" for name in missing)
    return [name for name in names if name in wanted], notes


# --- identity ---------------------------------------------------------------------------------------------------------


def _cells(
    method: _Chosen,
    encoder: _Chosen,
    dataset: _ChosenDataset,
    recipe: Recipe,
    recipe_text: str,
    smoke: bool,
    seeds: Sequence[int | None],
) -> Iterator[Cell]:
    """One cell a seed. Hashed is the JSON of all settings, keys sorted; what comes before the seed only once for all."""
    texts = {"dataset": dataset.text, "encoder": encoder.text, "method": method.text, "recipe": recipe_text}
    before = hashlib.sha256(("{" + ",".join(f'"{key}":{text}' for key, text in texts.items()) + ',"seed":').encode())
    after = f',"smoke":{_json(SMOKE_STEPS)}}}' if smoke else "}"
    for seed in seeds:
        hashed = before.copy()
        hashed.update(f"{'null' if seed is None else seed}{after}".encode())
        yield Cell(
            id=hashed.hexdigest(),
            method=method.item,
            encoder=encoder.item,
            dataset=dataset.item,
            fingerprint=dataset.info.fingerprint,
            subset=dataset.subset,
            seed=seed,
            recipe=recipe,
            smoke=smoke,
        )


def _json(value: object) -> str:
    """As it is hashed: one way of writing for each value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def cell_folder(cell: Cell) -> str:
    """The name of a cell's folder: `aet-resnet18-digits-s0-1a2b3c4d5e`, safe on every file system."""
    seed = "none" if cell.seed is None else str(cell.seed)
    parts = (_slug(cell.method.label), _slug(cell.encoder.label), _slug(cell.dataset.label), f"s{seed}", cell.id[:10])
    return "-".join(parts)


@functools.lru_cache(maxsize=4096)
def _slug(text: str) -> str:
    marks = re.sub("[^a-z0-9_.]", "-", text.lower())
    words = "-".join(word for word in marks.split("-") if word.strip("."))
    return words[:40].strip("-.") or "none"
