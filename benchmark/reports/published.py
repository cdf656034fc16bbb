"""Which published figure belongs beside which score, and in which conditions the two differ.

A figure is set beside a score of the same method, encoder, tap, evaluator and metric. Parameters that the figure names for
its method and its evaluator must agree; whatever else differs (data, epochs, recipe, other parameters) is listed, never
hidden. The dataset is the figure's own or one called after it: `cifar10-jpeg` is compared with figures on `cifar10`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.api.catalog import Catalog, Entry, SpecT
from benchmark.api.grammar import parse_items
from benchmark.api.methods import Published
from benchmark.api.parameters import as_dict, bind, label, shown
from benchmark.api.recipes import Recipe, stretched
from benchmark.errors import UsageError
from benchmark.records.record import Record, Score, grouping_key
from benchmark.stats import intervals

DIGITS = 4
"""Decimals of a figure."""
ALWAYS = (
    "optimizer",
    "lr",
    "weight_decay",
    "batch",
    "schedule",
    "warmup",
    "augment",
    "mean",
    "std",
    "clip",
    "drop_last",
)
BY_OPTIMIZER = {"sgd": ("momentum", "nesterov"), "adam": ("beta1", "beta2"), "adamw": ("beta1", "beta2")}
BY_SCHEDULE = {"milestones": ("milestones", "factor", "linear_from"), "cosine": ("final_lr",), "linear": ("final_lr",)}
"""Recipe keys that play a part only with that optimizer or schedule."""


@dataclass(frozen=True, kw_only=True)
class PublishedComparison:
    """One score of ours, over its seeds, beside one figure."""

    records: tuple[Record, ...]
    """That differ in the seed alone; those that have the score."""
    scores: tuple[Score, ...]
    """One for each of the records."""
    figure: Published
    of_cell: tuple[str, ...]
    """Conditions of our training that are not the figure's, in words: data, recipe, parameters of method and encoder."""
    of_score: tuple[str, ...]
    """Those of our scoring: parameters of the evaluator, pooling, protocol."""

    @property
    def differences(self) -> tuple[str, ...]:
        """All conditions of ours that are not the figure's."""
        return (*self.of_cell, *self.of_score)

    @property
    def value(self) -> float:
        """Ours: the mean over seeds."""
        return intervals.spread([score.value for score in self.scores])[0]

    @property
    def difference(self) -> float:
        """Ours minus published: below 0 where ours falls short of an accuracy."""
        return self.value - self.figure.value


def comparisons(records: Sequence[Record], catalog: Catalog) -> list[PublishedComparison]:
    """Every score that has a published figure, in the order of the records."""
    found = []
    for group in groups(records):
        figures = figures_for(group[0], catalog)
        for scored in _scores(group):
            nearest = _nearest(group[0], scored[0][1], figures, catalog)
            found += [
                PublishedComparison(
                    records=tuple(record for record, _ in scored),
                    scores=tuple(score for _, score in scored),
                    figure=figure,
                    of_cell=of_cell,
                    of_score=of_score,
                )
                for figure, of_cell, of_score in nearest
            ]
    return found


def groups(records: Sequence[Record]) -> list[tuple[Record, ...]]:
    """Finished records that differ in the seed alone, together. A smoke run is no result, whatever became of it."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.state == "done" and record.scores:
            found.setdefault(grouping_key(record), []).append(record)
    return [tuple(group) for group in found.values()]


def figures_for(record: Record, catalog: Catalog) -> list[Published]:
    """Those of the record's method, encoder and dataset, whose named parameters of the method agree."""
    cell, dataset = record.cell, _dataset(record)
    spec = _spec(catalog.methods, cell["method"])
    found = []
    for figure in () if spec is None else spec.published:
        encoder = _parsed(figure.encoder)
        if encoder is None or encoder[0] != cell["encoder"]["name"]:
            continue
        if dataset != figure.dataset and not dataset.startswith(f"{figure.dataset}-"):
            continue
        if _agree(spec, figure.method, cell["method"]["params"]):
            found.append(figure)
    return found


def not_scored(group: Sequence[Record], catalog: Catalog) -> list[Published]:
    """Figures for the method and the very encoder of records that differ in the seed, beside which none has a score."""
    figures = figures_for(group[0], catalog)
    distances = [len(list(_unlike_encoder(group[0], figure, catalog))) for figure in figures]
    scores = [score for record in group for score in record.scores]
    return [
        figure
        for figure, distance in zip(figures, distances, strict=True)
        if distance == min(distances) and not any(_fits(figure, score, catalog) for score in scores)
    ]


def described(figure: Published, method: str) -> tuple[str, ...]:
    """A figure as the words of a row: method, encoder, dataset, tap, evaluator, value, source."""
    return (
        label(method, figure.method, {}),
        figure.encoder,
        figure.dataset,
        figure.tap,
        named(figure.evaluator, figure.metric),
        shown_value(figure),
        figure.source + (f" ({figure.note})" if figure.note else ""),
    )


def shown_value(figure: Published) -> str:
    """The figure with its spread, and `recalled` behind it unless it was read."""
    spread = "" if figure.spread is None else f" ±{figure.spread:.{DIGITS}f}"
    mark = "" if figure.status == "read" else " recalled"
    return f"{figure.value:.{DIGITS}f}{spread}{mark}"


def named(evaluator: str, metric: str) -> str:
    """The evaluator as it is shown, with its metric unless that is plain accuracy."""
    return evaluator if metric == "accuracy" else f"{evaluator} {metric}"


# --- matching ---------------------------------------------------------------------------------------------------------


def _scores(group: Sequence[Record]) -> Iterator[tuple[tuple[Record, Score], ...]]:
    """The scores of records that differ in the seed alone, by key; a score that some seeds lack is of the others."""
    found: dict[tuple[str, ...], list[tuple[Record, Score]]] = {}
    for record in group:
        for score in record.scores:
            found.setdefault(score.key(), []).append((record, score))
    for scored in found.values():
        yield tuple(scored)


def _nearest(
    record: Record, score: Score, figures: Iterable[Published], catalog: Catalog
) -> list[tuple[Published, tuple[str, ...], tuple[str, ...]]]:
    """The figures for a score whose parameters differ least, each with the differences of training and of scoring."""
    fitting = [
        (
            figure,
            list(_trained_otherwise(record, figure, catalog)),
            list(_scored_otherwise(record, score, figure, catalog)),
        )
        for figure in figures
        if _fits(figure, score, catalog)
    ]
    least = min((len(trained) + len(scored) for _, trained, scored in fitting), default=0)
    return [
        (figure, (*_conditions_that_differ(record, figure), *trained), tuple(scored))
        for figure, trained, scored in fitting
        if len(trained) + len(scored) == least
    ]


def _fits(figure: Published, score: Score, catalog: Catalog) -> bool:
    """Whether tap, metric and evaluator are the figure's, with the parameters and the pooling that it names."""
    parsed = _parsed(figure.evaluator)
    if parsed is None:
        return False
    name, params = parsed
    if (figure.tap, figure.metric, name) != (score.tap, score.metric, score.evaluator.partition("[")[0]):
        return False
    if params.pop("pool", score.pool) != score.pool:
        return False
    return _agree(_named_spec(catalog.evaluators, name), params, score.params)


def _trained_otherwise(record: Record, figure: Published, catalog: Catalog) -> Iterator[str]:
    method = record.cell["method"]
    yield from _unlike(_spec(catalog.methods, method), figure.method, method["params"])
    yield from _unlike_encoder(record, figure, catalog)


def _scored_otherwise(record: Record, score: Score, figure: Published, catalog: Catalog) -> Iterator[str]:
    name, params = _parsed(figure.evaluator) or ("", {})
    evaluator = _named_spec(catalog.evaluators, name)
    pool = params.pop("pool", None)
    for each in _unlike(evaluator, params, score.params):
        yield f"{name} {each}"
    if evaluator is None:
        return
    if pool is None and evaluator.pools[0] != score.pool and not _is_vector(record, score, catalog):
        yield f"{name} pool={score.pool}"
    if evaluator.protocol != score.protocol:
        yield f"protocol {score.protocol}, now {evaluator.protocol}"


def _unlike_encoder(record: Record, figure: Published, catalog: Catalog) -> Iterator[str]:
    encoder = record.cell["encoder"]
    _, params = _parsed(figure.encoder) or ("", {})
    yield from _unlike(_spec(catalog.encoders, encoder), params, encoder["params"])


def _unlike(spec: Any, published: Mapping[str, object], ours: Mapping[str, object]) -> Iterator[str]:
    """`key=value` of ours for each parameter that is another one than the figure's, which are defaults if not named."""
    wanted = _bound(spec, published)
    had = dict(ours) if spec is None else _complete(spec, ours)
    for key, value in had.items():
        if key not in wanted or not _same(value, wanted[key]):
            yield f"{key}={shown(value)}"


def _is_vector(record: Record, score: Score, catalog: Catalog) -> bool:
    """Whether a tap has one place only, so that pooling means nothing; False where its encoder cannot be asked."""
    spec = _spec(catalog.encoders, record.cell["encoder"])
    if spec is None:
        return False
    try:
        params = bind(spec.params, record.cell["encoder"]["params"], "the record's encoder")
        return bool(spec.layout(params, tuple(record.cell["image_shape"])).tap(score.tap).kind == "vector")
    except Exception:  # a stranger's layout: it is only asked to spare a remark
        return False


def _conditions_that_differ(record: Record, figure: Published) -> Iterator[str]:
    cell, dataset = record.cell, record.cell["dataset"]
    if _dataset(record) != figure.dataset:
        yield f"images of {_dataset(record)}"
    elif dataset["name"] != figure.dataset:
        yield f"images of a {dataset['name']} called {figure.dataset}"
    shape = cell.get("image_shape")
    if shape is not None and tuple(shape) != figure.image_shape:
        yield f"images of {' x '.join(str(length) for length in shape)}"
    if dataset.get("subset") is not None:
        yield f"{dataset['subset']} training images"
    recipe = cell.get("recipe", {})
    if figure.recipe is None:
        if recipe.get("epochs"):
            yield f"{recipe['epochs']} epochs"
        return
    yield from _recipes_that_differ(recipe, figure.recipe)
    precision = record.provenance.get("precision", "float32")
    if precision != "float32":
        yield f"precision {precision}"  # published figures of these methods are from before mixed precision


def _recipes_that_differ(ours: Mapping[str, Any], published: Recipe) -> Iterator[str]:
    """Of the figure's recipe over as many epochs as ours: what is stretched with them is no difference."""
    if ours.get("epochs") != published.epochs:
        yield f"{ours.get('epochs')} of {published.epochs} epochs"
    theirs = as_dict(stretched(published, ours.get("epochs") or None))
    keys = [*ALWAYS]
    if ours.get("optimizer") == published.optimizer:
        keys += BY_OPTIMIZER.get(published.optimizer, ())
    if ours.get("schedule") == published.schedule:
        keys += BY_SCHEDULE.get(published.schedule, ())
        if published.schedule == "milestones" and published.linear_from is not None and ours.get("linear_from"):
            keys.append("final_lr")
    if "crop" in str(ours.get("augment")) and "crop" in published.augment:
        keys.append("pad")
    for key in keys:
        if key in ours and not _same(ours[key], theirs[key]):
            yield f"{key}={_value(key, ours[key])}"


def _value(key: str, value: object) -> str:
    if key in ("mean", "std") and value is None:
        return "the images' own"
    return ";".join(f"{part:.3g}" for part in value) if isinstance(value, list | tuple) else shown(value)


def _same(ours: object, theirs: object) -> bool:
    """Numbers by value, lists by their parts, the rest as it is typed."""
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(_same(*pair) for pair in zip(ours, theirs, strict=True))
    if isinstance(ours, int | float) and isinstance(theirs, int | float):
        return isinstance(ours, bool) == isinstance(theirs, bool) and ours == theirs
    return shown(ours) == shown(theirs)


def _bound(spec: Any, named: Mapping[str, object]) -> dict[str, object]:
    """All parameters of a spec with those that a figure names over its defaults; as named, where they do not fit it."""
    if spec is None:
        return dict(named)
    try:
        return as_dict(bind(spec.params, named, f"a figure for '{spec.name}'"))
    except UsageError:
        return {**as_dict(spec.params()), **named}


def _complete(spec: Any, recorded: Mapping[str, object]) -> dict[str, object]:
    """Recorded parameters with the defaults of those that came later."""
    return {**as_dict(spec.params()), **recorded}


def _agree(spec: Any, named: Mapping[str, object], ours: Mapping[str, object]) -> bool:
    wanted = _bound(spec, named)
    had = dict(ours) if spec is None else _complete(spec, ours)
    return all(key in had and _same(had[key], wanted[key]) for key in named)


def _spec(entries: Sequence[Entry[Any]], item: Mapping[str, Any]) -> Any:
    """The spec of a record's item: of that name, from the distribution that gave it; None if it is not installed."""
    givers = [entry for entry in entries if entry.spec.name == item["name"]]
    provider = item.get("provider")
    return next((e.spec for e in givers if not provider or e.provider.distribution == provider), None)


def _named_spec(entries: Sequence[Entry[SpecT]], name: str) -> SpecT | None:
    return next((entry.spec for entry in entries if entry.spec.name == name), None)


def _parsed(item: str) -> tuple[str, dict[str, object]] | None:
    """Name and parameters of one item as typed; None where it is not one."""
    try:
        selections = parse_items([item])
    except UsageError:
        return None
    return (selections[0].name, dict(selections[0].params)) if len(selections) == 1 else None


def _dataset(record: Record) -> str:
    return str(record.cell["dataset"]["label"]).partition("[")[0]
