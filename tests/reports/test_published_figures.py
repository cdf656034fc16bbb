"""The figures of the installed methods: transcription, parameters, recipes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from method_samples import make_setting
from sample_figures import record_of, scored

from benchmark.api.catalog import Catalog
from benchmark.api.grammar import parse_items
from benchmark.api.methods import MethodSpec, Published
from benchmark.api.parameters import as_dict, bind
from benchmark.api.recipes import Recipe
from benchmark.records.record import Record
from benchmark.reports.published import comparisons, figures_for

# Transcribed from the papers' tables in percent, as errors or accuracies as printed. RECALLED: not read in the paper or in
# a text that quotes it.

AET_ERRORS_RECALLED = {
    "affine": {"fc1": 17.16, "fc2": 9.77, "fc3": 10.16, "conv": 8.05},
    "projective": {"fc1": 16.65, "fc2": 9.41, "fc3": 9.92},
}
AET_ERRORS_READ = {"affine": {"fc2": 10.25}, "projective": {"conv": 7.82}}
AET_ERRORS_FEW_LABELS = {20: 34.83, 100: 24.35, 400: 16.28, 1000: 12.58}
ROTNET_ERRORS_FEW_LABELS = {20: 35.37, 100: 24.72, 400: 17.16, 1000: 13.57}
ROTNET_BY_BLOCK_READ = [[85.07, 89.06, 86.21, 61.73], [84.65, 88.89, 85.88, 54.04], [85.45, 88.26, 62.09]]
ROTNET_BY_BLOCK_RECALLED = [[85.04, 89.76, 86.82, 74.50, 50.37]]
ROTNET_BY_TURNS = {8: 88.51, 2: 87.46}
ROTNET_CONV = 91.16
ROTNET_ERRORS_IN_AET_RECALLED = {"fc1": 18.21, "fc2": 11.34}

DIM_TAPS = ("y", "fc", "conv3")
NCE, JSD, DV = ({"scope": "local", "estimator": name} for name in ("nce", "jsd", "dv"))
GLOBAL, BOTH, LOCAL = ({"scope": name} for name in ("global", "both", "local"))
# Y, fc and conv, from right to left in Table 1 and as printed in Table 4.
DIM_MLP: list[tuple[Mapping[str, object], str, tuple[float, float, float], str]] = [
    (GLOBAL, "cifar10", (43.17, 52.84, 52.2), "read"),
    (DV, "cifar10", (64.71, 70.60, 72.66), "recalled"),
    (JSD, "cifar10", (66.96, 73.62, 73.25), "read"),
    (NCE, "cifar10", (69.13, 75.57, 75.21), "read"),
    (GLOBAL, "cifar100", (19.98, 24.35, 27.68), "read"),
    (DV, "cifar100", (39.27, 44.44, 48.52), "recalled"),
    (JSD, "cifar100", (39.60, 45.92, 48.13), "read"),
    (NCE, "cifar100", (41.61, 47.72, 49.74), "read"),
    (NCE, "cifar10", (70.65, 73.33, 77.46), "read"),
    ({**NCE, "coordinates": 1.0}, "cifar10", (71.56, 73.89, 77.28), "read"),
    ({**NCE, "occlude": 1.0}, "cifar10", (72.87, 74.45, 76.77), "read"),
    ({**NCE, "coordinates": 1.0, "occlude": 1.0}, "cifar10", (73.99, 75.15, 77.27), "read"),
]
DIM_SVM = [
    (GLOBAL, ((29.08, 0.24), (28.79, 7.29), (46.8, 2.29))),
    (BOTH, ((18.63, 4.79), (45.56, 4.18), (57.55, 1.44))),
    (LOCAL, ((49.62, 0.3), (54.06, 3.6), (63.25, 0.86))),
]

FigureKey = tuple[str, ...]


def line(
    method: Mapping[str, object],
    encoder: str,
    tap: str,
    evaluator: str,
    percent: float,
    status: str = "read",
    dataset: str = "cifar10",
    spread: float | None = None,
) -> FigureKey:
    named_parameters = ",".join(f"{key}={value}" for key, value in sorted(method.items()))
    spread_of_100 = "" if spread is None else f"{spread:.2f}"
    return named_parameters, encoder, dataset, tap, evaluator, f"{percent:.2f}", spread_of_100, status


def aet_lines() -> Iterator[FigureKey]:
    for status, errors in (("recalled", AET_ERRORS_RECALLED), ("read", AET_ERRORS_READ)):
        for transform, heads in errors.items():
            for head, error in heads.items():
                yield line({"transform": transform}, "blocknet", "conv2", head, 100 - error, status)
    for count, error in AET_ERRORS_FEW_LABELS.items():
        yield line({"transform": "projective"}, "blocknet", "conv2", f"conv[per_class={count}]", 100 - error)


def rotation_lines() -> Iterator[FigureKey]:
    def at_four(evaluator: str, percent: float, status: str = "read", turns: int = 4) -> FigureKey:
        return line({"turns": turns}, "blocknet[blocks=4,init=default]", "conv2", evaluator, percent, status)

    for status, tables in (("read", ROTNET_BY_BLOCK_READ), ("recalled", ROTNET_BY_BLOCK_RECALLED)):
        for table in tables:
            encoder = f"blocknet[blocks={len(table)},init=default]"
            for block, percent in enumerate(table, start=1):
                yield line({"turns": 4}, encoder, f"conv{block}", "fc3", percent, status)
    for turns, percent in ROTNET_BY_TURNS.items():
        yield at_four("fc3", percent, turns=turns)
    yield at_four("conv", ROTNET_CONV)
    for head, error in ROTNET_ERRORS_IN_AET_RECALLED.items():
        yield at_four(head, 100 - error, "recalled")
    for count, error in ROTNET_ERRORS_FEW_LABELS.items():
        yield at_four(f"conv[per_class={count}]", 100 - error)


def dim_lines() -> Iterator[FigureKey]:
    for method, dataset, row, status in DIM_MLP:
        for tap, percent in zip(DIM_TAPS, row, strict=True):
            yield line(method, "dim_conv", tap, "mlp", percent, status, dataset)
    for method, pairs in DIM_SVM:
        for tap, (percent, spread) in zip(DIM_TAPS, pairs, strict=True):
            yield line(method, "dim_conv", tap, "svm", percent, spread=spread)


BOUNDS = {
    "untrained": [line({}, "blocknet[init=default]", "conv2", "conv", 72.50)],
    "supervised": [
        line({}, "blocknet[blocks=3,init=default]", "conv3", "linear", 92.80),
        line({}, "dim_conv", "y", "linear", 75.39),
    ],
}
FACTS = {"aet": [*aet_lines()], "rotation": [*rotation_lines()], "dim": [*dim_lines()], **BOUNDS}


def all_figures(catalog: Catalog) -> Iterator[tuple[MethodSpec, Published]]:
    for entry in catalog.methods:
        for figure in entry.spec.published:
            yield entry.spec, figure


def parts(text: str) -> tuple[str, dict[str, object]]:
    (item,) = parse_items([text])
    return item.name, dict(item.params)


def bound(catalog: Catalog, kind: str, text: str) -> tuple[Any, Any]:
    """The spec that `name[key=value]` means, and its parameters."""
    name, params = parts(text)
    spec = catalog.find(getattr(catalog, kind), kind, name).spec
    return spec, bind(spec.params, params, name)


@pytest.mark.parametrize("method", FACTS)
def test_figures_of_a_method_equal_the_published_tables(catalog: Catalog, method: str) -> None:
    spec = catalog.find(catalog.methods, "method", method).spec
    figures = Counter(
        line(
            figure.method,
            figure.encoder,
            figure.tap,
            figure.evaluator,
            100 * figure.value,
            figure.status,
            figure.dataset,
            None if figure.spread is None else 100 * figure.spread,
        )
        for figure in spec.published
    )
    assert figures == Counter(FACTS[method])


def test_every_method_with_figures_is_checked(catalog: Catalog) -> None:
    assert {spec.name for spec, _ in all_figures(catalog)} == set(FACTS)


def test_figures_are_fractions_with_source_and_status(catalog: Catalog) -> None:
    for _, figure in all_figures(catalog):
        assert 0 < figure.value < 1
        assert figure.spread is None or 0 < figure.spread < figure.value
        assert figure.source == figure.source.strip() != ""
        assert figure.status in ("read", "recalled")


def test_figures_name_existing_taps_and_parameters(catalog: Catalog) -> None:
    datasets = {entry.spec.name for entry in catalog.datasets}
    for spec, figure in all_figures(catalog):
        bind(spec.params, figure.method, spec.name)
        encoder, params = bound(catalog, "encoders", figure.encoder)
        assert figure.tap in {tap.name for tap in encoder.layout(params, (3, 32, 32)).taps}, figure
        evaluator, _ = bound(catalog, "evaluators", figure.evaluator)
        assert figure.metric.partition("@")[0] in {metric.name for metric in evaluator.metrics}
        assert figure.dataset in datasets


def test_figures_with_equal_settings_have_different_sources(catalog: Catalog) -> None:
    keys = Counter(
        (
            spec.name,
            str(sorted(as_dict(bind(spec.params, figure.method, spec.name)).items())),
            str(bound(catalog, "encoders", figure.encoder)[1]),
            str(bound(catalog, "evaluators", figure.evaluator)[1]),
            *(figure.encoder.partition("[")[0], figure.evaluator.partition("[")[0]),
            *(figure.dataset, figure.tap, figure.metric, figure.source),
        )
        for spec, figure in all_figures(catalog)
    )
    assert [key for key, count in keys.items() if count > 1] == []


def test_figure_recipe_equals_the_paper_budget(catalog: Catalog) -> None:
    for spec, figure in all_figures(catalog):
        if figure.recipe is None:
            continue
        encoder, params = bound(catalog, "encoders", figure.encoder)
        setting = make_setting(
            bind(spec.params, figure.method, spec.name),
            encoder=encoder.name,
            encoder_params=params,
            layout=encoder.layout(params, (3, 32, 32)),
            dataset=figure.dataset,
            num_classes=100 if figure.dataset == "cifar100" else 10,
        )
        assert spec.supports(setting) is None
        assert spec.recipe(setting) == figure.recipe, figure


def record_as_published(catalog: Catalog, spec: MethodSpec, figure: Published, value: float) -> Record:
    """The record of a run with exactly the figure's settings."""
    encoder, encoder_params = bound(catalog, "encoders", figure.encoder)
    evaluator, evaluator_params = bound(catalog, "evaluators", figure.evaluator)
    params = bind(spec.params, figure.method, spec.name)
    score = scored(
        value,
        figure.evaluator,
        tap=figure.tap,
        pool=evaluator.pools[0],
        protocol=evaluator.protocol,
        metric=figure.metric,
    )
    return record_of(
        dataclasses.replace(score, params=as_dict(evaluator_params)),
        method=spec.name,
        encoder=encoder.name,
        dataset=figure.dataset,
        method_params=spec.identity(params) if spec.identity else as_dict(params),
        encoder_params=as_dict(encoder_params),
        recipe=figure.recipe or Recipe(epochs=0),
    )


def test_record_with_the_settings_of_a_figure_has_no_differences(catalog: Catalog) -> None:
    for spec, figure in all_figures(catalog):
        record = record_as_published(catalog, spec, figure, figure.value)
        found = comparisons([record], catalog)
        (own,) = [each for each in found if each.figure is figure]
        assert (own.differences, own.difference) == ((), 0)
        assert all(not each.differences for each in found)


def test_cifar100_figures_are_only_for_cifar100(catalog: Catalog) -> None:
    dim = catalog.find(catalog.methods, "method", "dim").spec

    def sets(dataset: str) -> set[str]:
        record = record_of(method="dim", encoder="dim_conv", dataset=dataset, method_params=as_dict(dim.params()))
        return {figure.dataset for figure in figures_for(record, catalog)}

    assert sets("cifar100") == sets("cifar100-jpeg") == {"cifar100"}
    assert sets("cifar10") == sets("cifar10-jpeg[subset=500]") == {"cifar10"}
    assert sets("digits") == set()


def test_early_dim_record_has_the_figures_of_the_plain_method(catalog: Catalog) -> None:
    earlier = {"scope": "local", "estimator": "nce", "critic": "dot", "units": 2048, "alpha": 0.5, "beta": 0.1}
    score = dataclasses.replace(scored(0.6, "mlp", tap="fc"), params={"per_class": None, "draws": 1, "epochs": 1000})
    record = record_of(score, method="dim", encoder="dim_conv", method_params={**earlier, "gamma": 0.1})
    record.cell["encoder"]["params"] = {"units": 64}
    found = comparisons([record], catalog)
    assert [(each.figure.value, each.figure.source) for each in found] == [
        (0.7557, "Hjelm et al. 2019, Table 1"),
        (0.7333, "Hjelm et al. 2019, Table 4"),
    ]
