"""Plan the cells of a request: which method, encoder, dataset and seed are combined, with which recipe and identity.

Imports no torch. Combinations that are not possible become skips with a reason.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.api.catalog import Catalog
from benchmark.api.cells import Cell, ScoreRequest
from benchmark.api.encoders import Layout
from benchmark.api.identity import cell_id
from benchmark.api.methods import Setting
from benchmark.api.recipes import Recipe
from benchmark.errors import PLUGIN_ERRORS, BenchError, UnsupportedError, UsageError
from benchmark.execution.planned_recipe import RecipePlanner, check_overrides
from benchmark.execution.request import Plan, PlannedCell, Request, Skip
from benchmark.execution.selection import Selected, SelectedDataset, SelectedEvaluator, Skips, encoders_for, select
from benchmark.plain_text import error_text, shortened

MAX_CELLS = 100_000
"""Largest number of cells of one request."""


@dataclass(frozen=True, kw_only=True)
class _Combination:
    """One method, encoder and dataset."""

    method: Selected
    encoder: Selected
    dataset: SelectedDataset

    @property
    def labels(self) -> tuple[str, str, str]:
        return self.method.item.label, self.encoder.item.label, self.dataset.item.label

    def skip(self, reason: str) -> Skip:
        return Skip(title=" / ".join(self.labels), reason=shortened(reason), combination=self.labels)


@dataclass(frozen=True, kw_only=True)
class _Shared:
    """Values that combinations share, computed once, so that large plans stay fast."""

    request: Request
    evaluators: Sequence[SelectedEvaluator]
    recipes: RecipePlanner
    layouts: dict[tuple[int, int], Layout] = dataclasses.field(default_factory=dict)
    """Keys are `id()` of encoder and dataset. Both objects exist until the plan is complete."""
    scores: dict[tuple[str, ...], tuple[ScoreRequest, ...]] = dataclasses.field(default_factory=dict)
    """Taps -> the scores requested at them."""

    def layout(self, encoder: Selected, dataset: SelectedDataset) -> Layout:
        key = (id(encoder), id(dataset))
        if key not in self.layouts:
            self.layouts[key] = encoder.spec.layout(encoder.params, dataset.info.image_shape)
        return self.layouts[key]

    def scores_at(self, taps: tuple[str, ...]) -> tuple[ScoreRequest, ...]:
        if taps not in self.scores:
            requests = {
                (tap, each.pool, each.item.label): ScoreRequest(
                    tap=tap, pool=each.pool, evaluator=each.item, protocol=each.protocol
                )
                for tap in taps
                for each in self.evaluators
            }
            self.scores[taps] = tuple(requests.values())
        return self.scores[taps]


def plan(request: Request, catalog: Catalog) -> Plan:
    """The cells of a request.

    Raises:
        UsageError: a name, parameter or recipe key does not exist or has a value that is not possible.
        DataError: a dataset is not available.
    """
    skips: Skips = {}
    check_overrides(request.overrides)
    selections = select(request, catalog, skips)
    shared = _Shared(
        request=request,
        evaluators=selections.evaluators,
        recipes=RecipePlanner(request.epochs, request.overrides),
    )
    pairs = [
        (method, encoder) for method in selections.methods for encoder in encoders_for(method, selections.encoders)
    ]
    _check_size(len(pairs) * len(selections.datasets), request)
    cells: dict[str, PlannedCell] = {}
    for dataset in selections.datasets:
        for method, encoder in pairs:
            planned = _planned(shared, _Combination(method=method, encoder=encoder, dataset=dataset))
            if isinstance(planned, Skip):
                skips.setdefault(planned.title, planned)
            else:
                for each in planned:
                    first = cells.setdefault(each.cell.id, each).cell
                    if first.dataset.label != dataset.item.label:
                        skips.setdefault(dataset.item.label, _same_content(dataset.item.label, first.dataset.label))
    images = {dataset.info.fingerprint: dataset.info.num_train for dataset in selections.datasets}
    return Plan(cells=tuple(cells.values()), skips=tuple(skips.values()), images=images)


def _same_content(label: str, first: str) -> Skip:
    return Skip(
        title=f"dataset '{label}'", reason=f"has the same images and labels as '{first}', and so the same cells"
    )


def _check_size(combinations: int, request: Request) -> None:
    """Refuses a plan that would take minutes to make and years to run.

    Raises:
        UsageError: there are more than `MAX_CELLS` cells.
    """
    seeds = len(request.seeds)
    if combinations * seeds > MAX_CELLS:
        raise UsageError(
            f"the request has {combinations * seeds:,} cells ({combinations:,} combinations of method, encoder and dataset "
            f"with {seeds:,} seeds), but a run has at most {MAX_CELLS:,}; request fewer of them at a time"
        )


def _planned(shared: _Shared, combination: _Combination) -> list[PlannedCell] | Skip:
    """The cells of a combination, one for each seed, or why it is not possible."""
    request, method = shared.request, combination.method
    encoder, dataset = combination.encoder, combination.dataset
    side = min(dataset.info.image_shape[1:])
    try:
        if side < encoder.spec.min_side:
            return combination.skip(
                f"images have {side} pixels on a side, but {encoder.spec.name} needs {encoder.spec.min_side}"
            )
        layout = shared.layout(encoder, dataset)
        setting = _setting(request, combination, layout)
        reason = method.spec.supports(setting)
        if reason:
            return combination.skip(reason)
        recipe, recipe_text = shared.recipes.recipe(method.spec, setting)
    except UnsupportedError as error:
        return combination.skip(str(error))
    except BenchError:
        raise
    except PLUGIN_ERRORS as error:  # plugin code: `layout`, `supports` or `recipe`
        return combination.skip(f"a plugin raised {type(error).__name__}: {error_text(error)}")
    taps, notes = _taps(request.taps, layout, method.spec.own_encoder is not None, encoder.item.label)
    if not taps:
        return combination.skip("; ".join(notes) or "--taps names no tap")
    scores = shared.scores_at(tuple(taps))
    seeds: Sequence[int | None] = request.seeds if method.spec.seeded else (None,)
    cells = _cells(combination, recipe, recipe_text, request.smoke, seeds)
    return [PlannedCell(cell=cell, scores=scores, notes=notes) for cell in cells]


def _setting(request: Request, combination: _Combination, layout: Layout) -> Setting:
    encoder, dataset = combination.encoder, combination.dataset
    return Setting(
        method_params=combination.method.params,
        encoder=encoder.spec.name,
        encoder_params=encoder.params,
        layout=layout,
        dataset=dataset.spec.name,
        image_shape=dataset.info.image_shape,
        num_images=dataset.subset or dataset.info.num_train,
        num_classes=len(dataset.info.class_names),
        budget=request.budget,
    )


def _taps(
    requested: Literal["default", "all"] | tuple[str, ...], layout: Layout, own: bool, encoder: str
) -> tuple[list[str], tuple[str, ...]]:
    """(taps to score in depth order, notes on requested taps that the encoder does not have)."""
    names = [tap.name for tap in layout.taps]
    listed = names if requested == "all" else requested
    chosen = {layout.probe, layout.output} if requested == "default" or own else set(listed)
    notes = tuple(f"{encoder} has no tap '{name}'; it has {', '.join(names)}" for name in sorted(chosen - set(names)))
    return [name for name in names if name in chosen], notes


def _cells(
    combination: _Combination, recipe: Recipe, recipe_text: str, smoke: bool, seeds: Sequence[int | None]
) -> Iterator[Cell]:
    """One cell for each seed."""
    method, encoder, dataset = combination.method, combination.encoder, combination.dataset
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
    """The name of a cell's folder: `aet-resnet18-digits-s0-1a2b3c4d5e`, valid on every file system."""
    seed = "none" if cell.seed is None else str(cell.seed)
    parts = (_slug(cell.method.label), _slug(cell.encoder.label), _slug(cell.dataset.label), f"s{seed}", cell.id[:10])
    return "-".join(parts)


def distinct_folder(cell: Cell) -> str:
    """The name of a cell's folder if `cell_folder` is that of a dataset with the same content and another label."""
    return f"{cell_folder(cell)}-{hashlib.sha256(cell.dataset.label.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


@functools.lru_cache(maxsize=4096)
def _slug(text: str) -> str:
    safe = re.sub("[^a-z0-9_.]", "-", text.lower())
    words = "-".join(word for word in safe.split("-") if word.strip("."))
    return words[:40].strip("-.") or "none"
