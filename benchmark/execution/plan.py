"""From a request to cells: which method, encoder, dataset and seed go together, with which recipe, under which identity.

Pure but for asking datasets what they are; imports no torch. What makes no sense is a skip that carries its reason.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.api.catalog import Catalog, Entry
from benchmark.api.cells import Cell, Item, ScoreRequest
from benchmark.api.datasets import DatasetSpec
from benchmark.api.encoders import Layout, Pool
from benchmark.api.identity import canonical_json, cell_id
from benchmark.api.methods import MethodSpec, Setting
from benchmark.api.parameters import as_dict, bind
from benchmark.api.recipes import Recipe, with_epochs
from benchmark.errors import BenchError, UnknownNameError, UnsupportedError, UsageError
from benchmark.execution.request import Plan, PlannedCell, Request, Skip
from benchmark.execution.selection import (
    Chosen,
    ChosenDataset,
    _encoder,
    check_providers,
    choose_dataset,
    choose_evaluator,
    choose_methods,
    chosen_items,
    encoders_for,
)


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
    methods = choose_methods(request, catalog, skips)
    encoders = chosen_items(request.encoders, catalog, catalog.encoders, "encoder", _encoder, skips)
    evaluators = chosen_items(request.evaluators, catalog, catalog.evaluators, "evaluator", choose_evaluator, skips)

    def dataset_of(entry: Entry[DatasetSpec], given: dict[str, object]) -> ChosenDataset:
        return choose_dataset(entry, given, request.data_dir)

    datasets = chosen_items(request.datasets, catalog, catalog.datasets, "dataset", dataset_of, skips)
    check_providers("method", (choice.item for choice in methods))
    check_providers("encoder", (choice.item for choice in encoders))
    check_providers("dataset", (choice.item for choice in datasets))
    check_providers("evaluator", (item for _, item, _ in evaluators))
    cells: dict[str, PlannedCell] = {}
    shared = _Shared(request=request, evaluators=evaluators)
    pairs = [(method, encoder) for method in methods for encoder in encoders_for(method, encoders)]
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


def _combination(shared: _Shared, method: Chosen, encoder: Chosen, dataset: ChosenDataset) -> list[PlannedCell] | Skip:
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


def _layout(shared: _Shared, encoder: Chosen, dataset: ChosenDataset) -> Layout:
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


def _setting(request: Request, method: Chosen, encoder: Chosen, dataset: ChosenDataset, layout: Layout) -> Setting:
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

    What is not trained has no schedule: only normalization is left of the overrides.
    """
    recipe = with_epochs(spec.recipe(setting), shared.request.epochs) if spec.trains else Recipe(epochs=0)
    key = (repr(recipe), spec.trains, setting.image_shape[0])  # not the recipe itself: True and 1 are equal
    if key not in shared.recipes:
        overrides = dict(shared.request.overrides)
        if not spec.trains:
            overrides = {name: value for name, value in overrides.items() if name in ("mean", "std")}
        changed: Recipe = bind(Recipe, {**as_dict(recipe), **overrides}, "the recipe (--set)")
        _check_recipe(changed, setting, spec.trains)
        shared.recipes[key] = changed, canonical_json(as_dict(changed))
    return shared.recipes[key]


def _check_overrides(overrides: Mapping[str, object]) -> None:
    """Names and types of --set, before any cell: a slip must not pass because every cell is skipped or not trained."""
    for key in overrides:
        if key not in Recipe.__dataclass_fields__:
            raise UnknownNameError("recipe key", key, Recipe.__dataclass_fields__)
    bind(Recipe, overrides, "the recipe (--set)")


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


def _cells(
    method: Chosen,
    encoder: Chosen,
    dataset: ChosenDataset,
    recipe: Recipe,
    recipe_text: str,
    smoke: bool,
    seeds: Sequence[int | None],
) -> Iterator[Cell]:
    """One cell for each seed."""
    for seed in seeds:
        yield Cell(
            id=cell_id(
                method=method.text,
                encoder=encoder.text,
                dataset=dataset.text,
                recipe=recipe_text,
                seed=seed,
                smoke=smoke,
            ),
            method=method.item,
            encoder=encoder.item,
            dataset=dataset.item,
            fingerprint=dataset.info.fingerprint,
            subset=dataset.subset,
            seed=seed,
            recipe=recipe,
            smoke=smoke,
        )


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
