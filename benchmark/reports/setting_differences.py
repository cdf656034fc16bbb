"""Differences between the settings of a record and those of a published figure, as short texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmark.api.catalog import Catalog, Entry, SpecT
from benchmark.api.grammar import parse_items
from benchmark.api.methods import Published
from benchmark.api.parameters import as_dict, as_typed, bind
from benchmark.api.recipes import Recipe, with_epochs
from benchmark.errors import PLUGIN_ERRORS, UsageError
from benchmark.records.record import Record, Score

RECIPE_KEYS = (
    *("optimizer", "lr", "weight_decay", "batch", "schedule", "warmup"),
    *("augment", "mean", "std", "clip", "drop_last"),
)
"""Recipe keys that are always compared."""
OPTIMIZER_KEYS = {"sgd": ("momentum", "nesterov"), "adam": ("beta1", "beta2"), "adamw": ("beta1", "beta2")}
"""Keys that are compared if both recipes have this optimizer."""
SCHEDULE_KEYS = {
    "milestones": ("milestones", "factor", "linear_from"),
    "cosine": ("final_lr",),
    "linear": ("final_lr",),
}
"""Keys that are compared if both recipes have this schedule."""


def data_differences(record: Record, figure: Published) -> Iterator[str]:
    """Differences in images, recipe and precision."""
    cell, dataset = record.cell, record.cell["dataset"]
    if dataset_name(record) != figure.dataset:
        yield f"images of {dataset_name(record)}"
    elif dataset["name"] != figure.dataset:
        yield f"images of a {dataset['name']} called {figure.dataset}"
    shape = cell.get("image_shape")
    if shape is not None and tuple(shape) != figure.image_shape:
        yield f"images of {' x '.join(map(str, shape))}"
    if dataset.get("subset") is not None:
        yield f"{dataset['subset']} training images"
    recipe = cell.get("recipe", {})
    if figure.recipe is None:
        if recipe.get("epochs"):
            yield f"{recipe['epochs']} epochs"
        return
    yield from _recipe_differences(recipe, figure.recipe)
    precision = record.provenance.get("precision", "float32")
    if precision != "float32":
        yield f"precision {precision}"  # the figures of these methods predate mixed precision


def _recipe_differences(ours: Mapping[str, Any], published: Recipe) -> Iterator[str]:
    """Differences from the published recipe stretched to our epochs."""
    if ours.get("epochs") != published.epochs:
        yield f"{ours.get('epochs')} of {published.epochs} epochs"
    theirs = as_dict(with_epochs(published, ours.get("epochs") or None))
    keys = [*RECIPE_KEYS]
    if ours.get("optimizer") == published.optimizer:
        keys += OPTIMIZER_KEYS.get(published.optimizer, ())
    if ours.get("schedule") == published.schedule:
        keys += SCHEDULE_KEYS.get(published.schedule, ())
        if published.schedule == "milestones" and published.linear_from is not None and ours.get("linear_from"):
            keys.append("final_lr")
    if "crop" in str(ours.get("augment")) and "crop" in published.augment:
        keys.append("pad")
    for key in keys:
        if key in ours and not _equal(ours[key], theirs[key]):
            yield f"{key}={_recipe_value(key, ours[key])}"


def _recipe_value(key: str, value: object) -> str:
    if key in ("mean", "std") and value is None:
        return "the images' own"
    return ";".join(f"{part:.3g}" for part in value) if isinstance(value, list | tuple) else as_typed(value)


def method_differences(record: Record, figure: Published, catalog: Catalog) -> Iterator[str]:
    """Differences in the parameters of method and encoder."""
    method = record.cell["method"]
    yield from _parameter_differences(spec_of(catalog.methods, method), figure.method, method["params"])
    yield from encoder_differences(record, figure, catalog)


def encoder_differences(record: Record, figure: Published, catalog: Catalog) -> Iterator[str]:
    """Differences in the parameters of the encoder."""
    encoder = record.cell["encoder"]
    _, params = parse_item(figure.encoder) or ("", {})
    yield from _parameter_differences(spec_of(catalog.encoders, encoder), params, encoder["params"])


def scoring_differences(record: Record, score: Score, figure: Published, catalog: Catalog) -> Iterator[str]:
    """Differences in the evaluator's parameters, pooling and protocol."""
    name, params = parse_item(figure.evaluator) or ("", {})
    evaluator = spec_named(catalog.evaluators, name)
    pool = params.pop("pool", None)
    for difference in _parameter_differences(evaluator, params, score.params):
        yield f"{name} {difference}"
    if evaluator is None:
        return
    if pool is None and evaluator.pools[0] != score.pool and not _is_vector(record, score, catalog):
        yield f"{name} pool={score.pool}"
    if evaluator.protocol != score.protocol:
        yield f"protocol {score.protocol}, now {evaluator.protocol}"


def _parameter_differences(spec: Any, published: Mapping[str, object], ours: Mapping[str, object]) -> Iterator[str]:
    """`key=value` of ours for each parameter that differs; parameters that the figure does not name are defaults."""
    theirs = _with_defaults(spec, published)
    for key, value in _completed(spec, ours).items():
        if key not in theirs or not _equal(value, theirs[key]):
            yield f"{key}={as_typed(value)}"


def parameters_agree(spec: Any, published: Mapping[str, object], ours: Mapping[str, object]) -> bool:
    """Whether our parameters have the values that a figure names."""
    theirs, all_ours = _with_defaults(spec, published), _completed(spec, ours)
    return all(key in all_ours and _equal(all_ours[key], theirs[key]) for key in published)


def _with_defaults(spec: Any, named: Mapping[str, object]) -> dict[str, object]:
    """All parameters of a spec with those that a figure names; unchecked if the spec does not accept them."""
    if spec is None:
        return dict(named)
    try:
        return as_dict(bind(spec.params, named, f"a figure for '{spec.name}'"))
    except UsageError:
        return {**as_dict(spec.params()), **named}


def _completed(spec: Any, recorded: Mapping[str, object]) -> dict[str, object]:
    """Recorded parameters with the defaults of parameters that were added to the spec later."""
    return dict(recorded) if spec is None else {**as_dict(spec.params()), **recorded}


def _equal(ours: object, theirs: object) -> bool:
    """Numbers are compared by value, lists by elements, the rest as typed on the command line."""
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(_equal(*pair) for pair in zip(ours, theirs, strict=True))
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return isinstance(ours, bool) == isinstance(theirs, bool) and ours == theirs
    return as_typed(ours) == as_typed(theirs)


def _is_vector(record: Record, score: Score, catalog: Catalog) -> bool:
    """Whether a tap is a vector, so that pooling has no effect; False if the encoder's layout is unknown."""
    spec = spec_of(catalog.encoders, record.cell["encoder"])
    if spec is None:
        return False
    try:
        params = bind(spec.params, record.cell["encoder"]["params"], "the record's encoder")
        return bool(spec.layout(params, tuple(record.cell["image_shape"])).tap(score.tap).kind == "vector")
    except PLUGIN_ERRORS:  # plugin code; it can only save a remark
        return False


def spec_of(entries: Sequence[Entry[Any]], item: Mapping[str, Any]) -> Any:
    """The spec of a record's method or encoder, from the distribution that provided it; None if not installed."""
    provider = item.get("provider")
    return next(
        (
            entry.spec
            for entry in entries
            if entry.spec.name == item["name"] and (not provider or entry.provider.distribution == provider)
        ),
        None,
    )


def spec_named(entries: Sequence[Entry[SpecT]], name: str) -> SpecT | None:
    """The first spec of a name; None if not installed."""
    return next((entry.spec for entry in entries if entry.spec.name == name), None)


def parse_item(text: str) -> tuple[str, dict[str, object]] | None:
    """Name and parameters of one item as typed on the command line; None if it is not one."""
    try:
        selections = parse_items([text])
    except UsageError:
        return None
    return (selections[0].name, dict(selections[0].params)) if len(selections) == 1 else None


def dataset_name(record: Record) -> str:
    """The dataset's label without parameters."""
    return record.labels[2].partition("[")[0]
