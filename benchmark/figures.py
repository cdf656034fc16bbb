"""Which published figure belongs beside which score, and in which conditions the two differ.

A figure is set beside a score of the same method, encoder, tap, evaluator and metric. Parameters that the figure names for
its method and its evaluator must agree; whatever else differs (data, epochs, recipe, other parameters) is listed, never
hidden. The dataset is the figure's own or one called after it: `cifar10-jpeg` is compared with figures on `cifar10`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark import stats
from benchmark.catalog import Catalog, Entry
from benchmark.contracts import EvaluatorSpec, Published, Recipe
from benchmark.grammar import parse_items
from benchmark.parameters import as_dict, bind, label, shown
from benchmark.records import Record, Score, conditions

DIGITS = 4
"""Decimals of a figure."""
ALWAYS = ("optimiser", "lr", "weight_decay", "batch", "schedule", "augment", "pad", "mean", "std", "clip", "drop_last")
BY_OPTIMISER = {"sgd": ("momentum", "nesterov"), "adam": ("beta1", "beta2")}
BY_SCHEDULE = {"milestones": ("milestones", "factor", "linear_from", "final_lr"), "cosine": ("final_lr",)}
STRETCHED = ("milestones", "linear_from", "warmup")
"""Recipe keys that move in proportion with the number of epochs."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One score of ours, over its seeds, beside one figure."""

    records: tuple[Record, ...]
    """That differ in the seed alone."""
    scores: tuple[Score, ...]
    """One for each of the records."""
    figure: Published
    differences: tuple[str, ...]
    """Conditions of ours that are not the figure's, in words."""

    @property
    def value(self) -> float:
        """Ours: the mean over seeds."""
        return stats.spread([score.value for score in self.scores])[0]

    @property
    def difference(self) -> float:
        """Ours minus published: below 0 where ours falls short of an accuracy."""
        return self.value - self.figure.value


def comparisons(records: Sequence[Record], catalog: Catalog) -> list[Comparison]:
    """Every score that has a published figure, in the order of the records."""
    found = []
    for group in _groups(records):
        figures = list(figures_for(group[0], catalog))
        for scores in _scores(group):
            nearest = _nearest(group[0], scores[0], figures, catalog)
            found += [
                Comparison(records=group, scores=scores, figure=figure, differences=differences)
                for figure, differences in nearest
            ]
    return found


def figures_for(record: Record, catalog: Catalog) -> Iterator[Published]:
    """Those of the record's method, encoder and dataset, whose named parameters of the method agree."""
    cell = record.cell
    dataset = _dataset(record)
    for entry in catalog.methods:
        if entry.spec.name != cell["method"]["name"]:
            continue
        for figure in entry.spec.published:
            fits = dataset == figure.dataset or dataset.startswith(f"{figure.dataset}-")
            same_encoder = _parsed(figure.encoder)[0] == cell["encoder"]["name"]
            params = _complete(entry.spec.params, cell["method"]["params"])
            if fits and same_encoder and _agree(figure.method, params):
                yield figure


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
    mark = " recalled" if figure.status == "recalled" else ""
    return f"{figure.value:.{DIGITS}f}{spread}{mark}"


def named(evaluator: str, metric: str) -> str:
    """The evaluator as it is shown, with its metric unless that is plain accuracy."""
    return evaluator if metric == "accuracy" else f"{evaluator} {metric}"


# --- matching ---------------------------------------------------------------------------------------------------------


def _groups(records: Sequence[Record]) -> list[tuple[Record, ...]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.state != "smoke" and record.scores:
            groups.setdefault(conditions(record), []).append(record)
    return [tuple(group) for group in groups.values()]


def _scores(group: Sequence[Record]) -> Iterator[tuple[Score, ...]]:
    """The scores of records that differ in the seed alone, by key; a score that some seeds lack is of the others."""
    found: dict[tuple[str, ...], list[Score]] = {}
    for record in group:
        for score in record.scores:
            found.setdefault(score.key(), []).append(score)
    for scores in found.values():
        yield tuple(scores)


def _nearest(
    record: Record, score: Score, figures: Iterable[Published], catalog: Catalog
) -> list[tuple[Published, tuple[str, ...]]]:
    """The figures for a score whose parameters differ least, each with all differences."""
    fitting: list[tuple[Published, tuple[str, ...]]] = []
    for figure in figures:
        name, params = _parsed(figure.evaluator)
        if (figure.tap, figure.metric, name) != (score.tap, score.metric, score.evaluator.partition("[")[0]):
            continue
        if _agree(params, score.params):
            fitting.append((figure, _parameters_that_differ(record, score, figure, catalog)))
    least = min((len(differences) for _, differences in fitting), default=0)
    return [
        (figure, (*_conditions_that_differ(record, figure), *differences))
        for figure, differences in fitting
        if len(differences) == least
    ]


def _parameters_that_differ(record: Record, score: Score, figure: Published, catalog: Catalog) -> tuple[str, ...]:
    cell = record.cell
    encoder, encoder_params = _parsed(figure.encoder)
    evaluator, evaluator_params = _parsed(figure.evaluator)
    return (
        *_unlike(catalog.methods, cell["method"]["name"], figure.method, cell["method"]["params"]),
        *_unlike(catalog.encoders, encoder, encoder_params, cell["encoder"]["params"]),
        *(f"{evaluator} {each}" for each in _unlike(catalog.evaluators, evaluator, evaluator_params, score.params)),
        *(f"{evaluator} pool={score.pool}" for each in catalog.evaluators if _pooled_otherwise(each, evaluator, score)),
    )


def _pooled_otherwise(entry: Entry[EvaluatorSpec], evaluator: str, score: Score) -> bool:
    return entry.spec.name == evaluator and entry.spec.pools[0] != score.pool


def _unlike(
    entries: Sequence[Entry[Any]], name: str, published: Mapping[str, object], ours: Mapping[str, object]
) -> Iterator[str]:
    """`key=value` of ours for each parameter that is another one than the figure's, which are defaults if not named."""
    spec = next((entry.spec for entry in entries if entry.spec.name == name), None)
    wanted = dict(published) if spec is None else as_dict(bind(spec.params, published, f"the figure for '{name}'"))
    had = dict(ours) if spec is None else _complete(spec.params, ours)
    for key, value in wanted.items():
        if key in had and shown(had[key]) != shown(value):
            yield f"{key}={shown(had[key])}"


def _conditions_that_differ(record: Record, figure: Published) -> Iterator[str]:
    cell = record.cell
    if _dataset(record) != figure.dataset:
        yield f"images of {_dataset(record)}"
    if cell["dataset"].get("subset") is not None:
        yield f"{cell['dataset']['subset']} training images"
    if figure.recipe is not None:
        yield from _recipes_that_differ(cell.get("recipe", {}), figure.recipe)
        precision = record.provenance.get("precision", "float32")
        if precision != "float32":
            yield f"precision {precision}"  # published figures of these methods are from before mixed precision


def _recipes_that_differ(ours: Mapping[str, Any], published: Recipe) -> Iterator[str]:
    theirs = as_dict(published)
    if ours.get("epochs") != published.epochs:
        yield f"{ours.get('epochs')} of {published.epochs} epochs"
    keys = list(ALWAYS)
    if ours.get("optimiser") == published.optimiser:
        keys += BY_OPTIMISER[published.optimiser]
    if ours.get("schedule") == published.schedule:
        keys += BY_SCHEDULE.get(published.schedule, ())
    for key in keys:
        moved = key in STRETCHED and ours.get("epochs") != published.epochs
        if key in ours and not moved and shown(ours[key]) != shown(theirs[key]):
            yield f"{key}={_value(ours[key])}"


def _value(value: object) -> str:
    return ";".join(f"{part:.3g}" for part in value) if isinstance(value, list | tuple) else shown(value)


def _complete(params: type, recorded: Mapping[str, object]) -> dict[str, object]:
    """Recorded parameters with the defaults of those that came later, or of a weight file that is known by its checksum."""
    return {**as_dict(params()), **recorded}


def _agree(named: Mapping[str, object], ours: Mapping[str, object]) -> bool:
    return all(key in ours and shown(ours[key]) == shown(value) for key, value in named.items())


def _parsed(item: str) -> tuple[str, dict[str, object]]:
    (selection,) = parse_items([item])
    return selection.name, dict(selection.params)


def _dataset(record: Record) -> str:
    return str(record.cell["dataset"]["label"]).partition("[")[0]
