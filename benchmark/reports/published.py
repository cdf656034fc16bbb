"""Published figures that belong beside measured scores.

A figure is compared with a score of the same method, encoder, tap, evaluator and metric. Parameters that the figure names
for its method and evaluator must agree; all other differences (data, epochs, recipe, parameters) are listed, never hidden.
The dataset is the figure's own or is named after it: `cifar10-jpeg` is compared with figures on `cifar10`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.api.catalog import Catalog
from benchmark.api.methods import Published
from benchmark.api.parameters import label
from benchmark.records.record import Record, Score, ScoreId, group_by_seed
from benchmark.records.store import RecordStore
from benchmark.reports.setting_differences import (
    data_differences,
    dataset_name,
    encoder_differences,
    method_differences,
    parameters_agree,
    parse_item,
    scoring_differences,
    spec_named,
    spec_of,
)
from benchmark.reports.table import DIGITS
from benchmark.stats import intervals


@dataclass(frozen=True, kw_only=True)
class PublishedComparison:
    """One measured score, over its seeds, beside one published figure."""

    records: tuple[Record, ...]
    """Records that differ only in the seed and have the score."""
    scores: tuple[Score, ...]
    """One for each record."""
    figure: Published
    training_differences: tuple[str, ...]
    """Our data, recipe and parameters of method and encoder, where they differ from the figure's."""
    scoring_differences: tuple[str, ...]
    """Our evaluator parameters, pooling and protocol, where they differ."""

    @property
    def differences(self) -> tuple[str, ...]:
        """All differences in settings."""
        return (*self.training_differences, *self.scoring_differences)

    @property
    def spread(self) -> tuple[float, float | None, int]:
        """(mean over seeds, standard deviation, number of seeds)."""
        return intervals.spread([score.value for score in self.scores])

    @property
    def value(self) -> float:
        """Mean over seeds."""
        return self.spread[0]

    @property
    def difference(self) -> float:
        """Measured minus published."""
        return self.value - self.figure.value

    @property
    def failed_to_learn(self) -> int:
        """Number of records that failed to learn."""
        return sum(record.failed_to_learn for record in self.records)


def comparisons(records: Sequence[Record], catalog: Catalog) -> list[PublishedComparison]:
    """Every score that has a published figure, in the order of the records."""
    return [
        comparison
        for group in scored_groups(records)
        for comparison in _group_comparisons(group, figures_for(group[0], catalog), catalog)
    ]


def records_with_figures(store: RecordStore, catalog: Catalog) -> list[Record]:
    """The finished records of a store for whose method, encoder and dataset there are figures; no others are kept."""
    return [
        record
        for positions in store.seed_groups()
        if figures_for(store.read(positions[0]), catalog)
        for record in store.records(positions)
    ]


def scored_groups(records: Iterable[Record]) -> list[tuple[Record, ...]]:
    """Finished records with scores, in groups that differ only in the seed."""
    return group_by_seed(record for record in records if record.scores)


def figures_for(record: Record, catalog: Catalog) -> list[Published]:
    """Figures for the record's method, encoder and dataset whose named method parameters agree."""
    method, dataset = record.cell["method"], dataset_name(record)
    spec = spec_of(catalog.methods, method)
    figures = []
    for figure in () if spec is None else spec.published:
        encoder = parse_item(figure.encoder)
        if encoder is None or encoder[0] != record.cell["encoder"]["name"]:
            continue
        if dataset != figure.dataset and not dataset.startswith(f"{figure.dataset}-"):
            continue
        if parameters_agree(spec, figure.method, method["params"]):
            figures.append(figure)
    return figures


def figures_not_scored(group: Sequence[Record], catalog: Catalog) -> list[Published]:
    """Figures for the method and the nearest encoder of a seed group that correspond to none of its scores."""
    figures = figures_for(group[0], catalog)
    distances = [len(list(encoder_differences(group[0], figure, catalog))) for figure in figures]
    scores = [score for record in group for score in record.scores]
    return [
        figure
        for figure, distance in zip(figures, distances, strict=True)
        if distance == min(distances) and not any(_corresponds(figure, score, catalog) for score in scores)
    ]


def _group_comparisons(
    group: Sequence[Record], figures: Sequence[Published], catalog: Catalog
) -> list[PublishedComparison]:
    """Each score of a seed group beside the figures whose parameters differ least; seeds may lack a score."""
    by_key: dict[ScoreId, list[tuple[Record, Score]]] = {}
    for record in group:
        for score in record.scores:
            by_key.setdefault(score.key(), []).append((record, score))
    results = []
    for scored in by_key.values():
        records, scores = zip(*scored, strict=True)
        candidates = [
            (
                figure,
                tuple(method_differences(group[0], figure, catalog)),
                tuple(scoring_differences(group[0], scores[0], figure, catalog)),
            )
            for figure in figures
            if _corresponds(figure, scores[0], catalog)
        ]
        fewest = min((len(training) + len(scoring) for _, training, scoring in candidates), default=0)
        results += [
            PublishedComparison(
                records=records,
                scores=scores,
                figure=figure,
                training_differences=(*data_differences(group[0], figure), *training),
                scoring_differences=scoring,
            )
            for figure, training, scoring in candidates
            if len(training) + len(scoring) == fewest
        ]
    return results


def _corresponds(figure: Published, score: Score, catalog: Catalog) -> bool:
    """Whether tap, metric, evaluator and the named evaluator parameters are the figure's."""
    parsed = parse_item(figure.evaluator)
    if parsed is None:
        return False
    name, params = parsed
    if (figure.tap, figure.metric, name) != (score.tap, score.metric, score.evaluator.partition("[")[0]):
        return False
    if params.pop("pool", score.pool) != score.pool:
        return False
    return parameters_agree(spec_named(catalog.evaluators, name), params, score.params)


def figure_row(figure: Published, method: str) -> tuple[str, ...]:
    """A figure as a row of texts: method, encoder, dataset, tap, evaluator, value, source."""
    return (
        label(method, figure.method, {}),
        figure.encoder,
        figure.dataset,
        figure.tap,
        evaluator_text(figure.evaluator, figure.metric),
        figure_text(figure),
        figure.source + (f" ({figure.note})" if figure.note else ""),
    )


def figure_text(figure: Published) -> str:
    """The value with its spread; followed by `recalled` unless it was read in the source."""
    spread = "" if figure.spread is None else f" ±{figure.spread:.{DIGITS}f}"
    return f"{figure.value:.{DIGITS}f}{spread}{'' if figure.status == 'read' else ' recalled'}"


def evaluator_text(evaluator: str, metric: str) -> str:
    """The evaluator, followed by its metric unless that is `accuracy`."""
    return evaluator if metric == "accuracy" else f"{evaluator} {metric}"
