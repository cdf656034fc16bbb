"""Which published figure stands beside which score, what is said to differ, and whether the figures are those of the facts."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sample_figures import PAPER, catalog_of, published, record_of, scored

from benchmark.api.catalog import Catalog, load_catalog
from benchmark.api.grammar import parse_items
from benchmark.api.methods import MethodSpec, Published, Setting
from benchmark.api.parameters import as_dict, bind
from benchmark.api.recipes import Recipe, with_epochs
from benchmark.records.record import Record
from benchmark.reports.published import comparisons, described, figures_for, named, shown_value


def beside(record: Record, *figures: Published) -> list[tuple[float, tuple[str, ...]]]:
    """The values of the figures that stand beside a record's scores, each with what differs."""
    return [(each.figure.value, each.differences) for each in comparisons([record], catalog_of(*figures))]


def differing(record: Record, **changes: Any) -> tuple[str, ...]:
    """What differs from the one figure that stands beside the record's one score."""
    ((_, differences),) = beside(record, published(**changes))
    return differences


def trained(**changes: Any) -> Record:
    """A record of the paper's recipe, changed."""
    return record_of(recipe=dataclasses.replace(PAPER, **changes))


# --- what fits --------------------------------------------------------------------------------------------------------


def test_a_figure_in_the_very_conditions_differs_in_nothing() -> None:
    (found,) = comparisons([record_of(scored(0.85))], catalog_of(published(0.9)))
    assert found.differences == ()
    assert found.figure == published(0.9)
    assert found.value == 0.85
    assert found.difference == pytest.approx(-0.05)


@pytest.mark.parametrize(
    "changes",
    [{"tap": "conv3"}, {"metric": "recall"}, {"evaluator": "svm"}, {"encoder": "wide"}, {"dataset": "digits"}],
    ids=str,
)
def test_a_figure_of_another_tap_metric_evaluator_encoder_or_dataset_is_not_shown(changes: dict[str, Any]) -> None:
    assert beside(record_of(), published(**changes)) == []


def test_a_figure_of_another_method_is_not_shown() -> None:
    catalog = catalog_of(other=[published()])
    assert comparisons([record_of(method="turn")], catalog) == []
    assert len(comparisons([record_of(method="other")], catalog)) == 1


def test_a_method_whose_name_begins_like_another_is_another() -> None:
    assert comparisons([record_of(method="turn")], catalog_of(turning=[published()])) == []
    assert comparisons([record_of(method="turning")], catalog_of(published(), turning=[])) == []


@pytest.mark.parametrize(
    ("label", "on"),
    [
        ("cifar100", "cifar10"),
        ("cifar100-jpeg", "cifar10"),
        ("cifar10", "cifar100"),
        ("cifar10-jpeg", "cifar100"),
        ("cifar10", "cifar10-jpeg"),
        ("my-cifar10", "cifar10"),
        ("cifar10jpeg", "cifar10"),
        ("cifar", "cifar10"),
    ],
)
def test_a_dataset_that_is_not_called_after_the_figures_is_another(label: str, on: str) -> None:
    assert beside(record_of(dataset=label), published(dataset=on)) == []


@pytest.mark.parametrize("label", ["cifar10-jpeg", "cifar10-jpeg[subset=2000]"])
def test_a_dataset_that_is_called_after_the_figures_is_compared_and_named(label: str) -> None:
    assert "images of cifar10-jpeg" in differing(record_of(dataset=label))


def test_the_figures_own_dataset_is_no_difference() -> None:
    assert differing(record_of(dataset="cifar100"), dataset="cifar100") == ()


def test_a_smoke_record_is_never_compared() -> None:
    records = [record_of(scored(0.2), state="smoke"), record_of(scored(0.8), seed=1)]
    (found,) = comparisons(records, catalog_of(published()))
    assert [score.value for score in found.scores] == [0.8]
    assert comparisons(records[:1], catalog_of(published())) == []


def test_a_record_without_scores_has_nothing_to_compare() -> None:
    assert comparisons([dataclasses.replace(record_of(), scores=())], catalog_of(published())) == []
    assert comparisons([], catalog_of(published())) == []


def test_every_score_of_a_record_gets_its_own_figure() -> None:
    record = record_of(scored(0.8), scored(0.7, tap="conv3"), scored(0.6, "svm"))
    figures = (published(0.9, evaluator="svm"), published(0.91), published(0.92, tap="conv3"))
    found = comparisons([record], catalog_of(*figures))
    assert [(each.scores[0].value, each.figure.value) for each in found] == [(0.8, 0.91), (0.7, 0.92), (0.6, 0.9)]


def test_comparisons_follow_the_records_and_the_order_of_records_changes_nothing_else() -> None:
    records = [record_of(scored(0.1 * n), subset=100 * n) for n in (1, 2, 3)]
    forwards = comparisons(records, catalog_of(published()))
    backwards = comparisons(records[::-1], catalog_of(published()))
    assert [each.value for each in forwards] == pytest.approx([0.1, 0.2, 0.3])
    assert forwards == backwards[::-1]


# --- what differs -----------------------------------------------------------------------------------------------------


def test_a_subset_is_told_in_training_images() -> None:
    assert differing(record_of(dataset="cifar10[subset=2000]", subset=2000)) == ("2000 training images",)


def test_another_number_of_epochs_is_told_with_the_papers() -> None:
    assert "20 of 200 epochs" in differing(trained(epochs=20))
    assert "1500 of 200 epochs" in differing(trained(epochs=1500))


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("lr", 0.05, "lr=0.05"),
        ("weight_decay", 0.0, "weight_decay=0.0"),
        ("batch", 64, "batch=64"),
        ("momentum", 0.8, "momentum=0.8"),
        ("nesterov", False, "nesterov=false"),
        ("milestones", (60, 150), "milestones=60;150"),
        ("factor", 0.1, "factor=0.1"),
        ("linear_from", 180, "linear_from=180"),
        ("drop_last", True, "drop_last=true"),
        ("augment", "flip", "augment=flip"),
        ("pad", 2, "pad=2"),
        ("mean", (0.123456, 0.4, 0.3), "mean=0.123;0.4;0.3"),
        ("std", (1.0, 0.25, 0.25), "std=1;0.25;0.25"),
        ("clip", 1.0, "clip=1.0"),
    ],
)
def test_a_recipe_key_that_differs_is_told_and_no_other(key: str, value: object, word: str) -> None:
    assert differing(trained(**{key: value})) == (word,)


@pytest.mark.parametrize(
    ("changes", "word"), [({"optimizer": "adam"}, "optimizer=adam"), ({"schedule": "cosine"}, "schedule=cosine")]
)
def test_another_optimizer_or_schedule_is_told_once_without_its_own_numbers(changes: dict[str, str], word: str) -> None:
    ours = trained(**changes, momentum=0.5, beta1=0.5) if "optimizer" in changes else trained(**changes, factor=0.5)
    assert differing(ours) == (word,)


def test_the_numbers_of_a_shared_optimizer_and_schedule_are_compared() -> None:
    theirs = dataclasses.replace(PAPER, optimizer="adam", beta1=0.5, schedule="cosine", final_lr=0.001)
    ours = dataclasses.replace(theirs, beta1=0.9, beta2=0.99, final_lr=0.0)
    assert set(differing(record_of(recipe=ours), recipe=theirs)) == {"beta1=0.9", "beta2=0.99", "final_lr=0.0"}


@pytest.mark.parametrize("epochs", [1, 20, 150, 400])
def test_a_recipe_stretched_to_other_epochs_differs_in_the_epochs_alone(epochs: int) -> None:
    theirs = dataclasses.replace(PAPER, warmup=10, linear_from=180)
    assert differing(record_of(recipe=with_epochs(theirs, epochs)), recipe=theirs) == (f"{epochs} of 200 epochs",)


def test_a_figure_without_a_recipe_says_nothing_of_ours() -> None:
    assert differing(record_of(recipe=None), recipe=None) == ()


def test_parameters_of_method_encoder_and_evaluator_that_differ_are_told() -> None:
    ours = record_of(
        scored(evaluator="head[epochs=10,rates=0.5]", params={"epochs": 10, "rates": [0.5]}),
        method_params={"turns": 8, "weight": 1.0},
        encoder_params={"blocks": 5, "init": "default"},
    )
    words = {"turns=8", "blocks=5", "init=default", "head epochs=10", "head rates=0.5"}
    assert set(differing(ours)) == words


def test_another_pooling_than_the_evaluators_default_is_told() -> None:
    ours = record_of(scored(evaluator="svm[pool=average]", pool="average"))
    assert differing(ours, evaluator="svm") == ("svm pool=average",)
    assert differing(record_of(scored(evaluator="svm")), evaluator="svm") == ()


def test_all_that_differs_is_told_at_once() -> None:
    ours = record_of(
        scored(evaluator="svm[per_class=5,pool=average]", pool="average", params={"per_class": 5}),
        dataset="cifar10-jpeg[subset=500]",
        subset=500,
        method_params={"turns": 2, "weight": 1.0},
        encoder_params={"blocks": 3, "init": "own"},
        recipe=dataclasses.replace(with_epochs(PAPER, 5), lr=0.01),
    )
    assert set(differing(ours, evaluator="svm")) == {
        *("images of cifar10-jpeg", "500 training images", "5 of 200 epochs", "lr=0.01"),
        *("turns=2", "blocks=3", "svm per_class=5", "svm pool=average"),
    }


# --- named parameters -------------------------------------------------------------------------------------------------


def test_a_figure_that_names_another_parameter_of_the_method_is_never_shown() -> None:
    figures = (published(0.7, method={"turns": 2}), published(0.8, method={"turns": 8, "weight": 1.0}))
    assert beside(record_of(), *figures) == []
    assert beside(record_of(method_params={"turns": 8, "weight": 2.0}), *figures) == []
    assert beside(record_of(method_params={"turns": 8, "weight": 1.0}), *figures) == [(0.8, ())]


def test_a_figure_that_names_another_parameter_of_the_evaluator_is_never_shown() -> None:
    figures = (published(0.7, evaluator="head[per_class=20]"), published(0.8, evaluator="head[per_class=20,epochs=5]"))
    assert beside(record_of(), *figures) == []
    fifty = record_of(scored(evaluator="head[per_class=50]", params={"per_class": 50}))
    assert beside(fifty, *figures) == []


def test_lists_and_words_that_are_named_agree_with_what_a_record_holds() -> None:
    figure = published(evaluator="head[rates=0.1;0.01]", encoder="net[init=default]")
    assert beside(record_of(encoder_params={"blocks": 4, "init": "default"}), figure) == [(0.9, ())]
    other = record_of(scored(evaluator="head[rates=0.1]", params={"rates": [0.1]}))
    assert beside(other, figure) == []


def test_a_parameter_that_came_after_a_record_counts_as_its_default() -> None:
    earlier = record_of(method_params={"turns": 4})
    assert beside(earlier, published()) == [(0.9, ())]
    assert beside(earlier, published(method={"turns": 4, "weight": 1.0})) == [(0.9, ())]
    assert beside(earlier, published(method={"weight": 2.0})) == []


def test_parameters_of_encoder_and_evaluator_that_came_later_count_as_their_defaults() -> None:
    earlier = record_of(dataclasses.replace(scored(), params={"epochs": 100}), encoder_params={"blocks": 4})
    assert differing(earlier) == ()
    assert differing(earlier, encoder="net[init=default]") == ("init=own",)


# --- the nearest ------------------------------------------------------------------------------------------------------

DEPTHS = (published(0.7, encoder="net[blocks=3]"), published(0.8, encoder="net[blocks=5]"))


def test_a_figure_that_differs_in_fewer_parameters_is_shown_alone() -> None:
    three = record_of(encoder_params={"blocks": 3, "init": "own"})
    assert beside(three, *DEPTHS) == [(0.7, ())]
    started_otherwise = record_of(encoder_params={"blocks": 5, "init": "default"})
    assert beside(started_otherwise, *DEPTHS) == [(0.8, ("init=default",))]


def test_figures_that_are_equally_near_are_all_shown_in_their_order() -> None:
    assert beside(record_of(), *DEPTHS) == [(0.7, ("blocks=4",)), (0.8, ("blocks=4",))]
    again = published(0.75, encoder="net[blocks=3]", source="Bob 2021, issue 6")
    three = record_of(encoder_params={"blocks": 3, "init": "own"})
    assert beside(three, *DEPTHS, again) == [(0.7, ()), (0.75, ())]


def test_few_labels_are_set_beside_few_labels_and_otherwise_beside_all_with_that_said() -> None:
    figures = (published(0.9), published(0.6, evaluator="head[per_class=20]"))

    def given(count: int | None) -> Record:
        return record_of(scored(evaluator=f"head[per_class={count}]", params={"per_class": count}))

    assert beside(given(20), *figures) == [(0.6, ())]
    assert beside(given(50), *figures) == [(0.9, ("head per_class=50",))]
    assert beside(given(None), *figures) == [(0.9, ())]


def test_a_variant_of_a_method_is_set_beside_its_own_figure_where_there_is_one() -> None:
    figures = (published(0.9), published(0.8, method={"weight": 2.0}))
    assert beside(record_of(method_params={"turns": 4, "weight": 2.0}), *figures) == [(0.8, ())]
    assert beside(record_of(method_params={"turns": 4, "weight": 3.0}), *figures) == [(0.9, ("weight=3.0",))]


def test_recipe_and_data_do_not_decide_which_figure_is_near() -> None:
    far_in_recipe = published(0.9, recipe=dataclasses.replace(PAPER, lr=0.5, batch=512, clip=1.0))
    near_in_recipe = published(0.8, encoder="net[blocks=3]")
    assert beside(record_of(), near_in_recipe, far_in_recipe) == [(0.9, ("lr=0.1", "batch=128", "clip=none"))]


def test_each_evaluator_has_its_own_nearest_figure() -> None:
    record = record_of(scored(), scored(evaluator="svm"))
    figures = (
        published(0.9),
        published(0.8, encoder="net[blocks=3]"),
        published(0.7, evaluator="svm", encoder="net[blocks=3]"),
    )
    assert beside(record, *figures) == [(0.9, ()), (0.7, ("blocks=4",))]


# --- seeds ------------------------------------------------------------------------------------------------------------


def test_seeds_are_averaged_into_one_comparison() -> None:
    records = [record_of(scored(value), seed=seed) for seed, value in enumerate((0.8, 0.85, 0.93))]
    (found,) = comparisons(records, catalog_of(published(0.9)))
    assert found.records == tuple(records)
    assert found.value == pytest.approx(0.86)
    assert found.difference == pytest.approx(-0.04)


@pytest.mark.parametrize(
    "changes",
    [
        {"subset": 500},
        {"encoder_params": {"blocks": 3, "init": "own"}},
        {"method_params": {"turns": 4, "weight": 3.0}},
        {"recipe": dataclasses.replace(PAPER, lr=0.05)},
        {"dataset": "cifar10-jpeg"},
        {"provenance": {"versions": {"method": 2, "encoder": 1, "dataset": 1}}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_records_that_differ_in_more_than_the_seed_are_not_averaged(changes: dict[str, Any]) -> None:
    records = [record_of(scored(0.8)), record_of(scored(0.6), seed=1, **changes)]
    found = comparisons(records, catalog_of(published()))
    assert [each.value for each in found] == [0.8, 0.6]


def test_a_score_that_a_seed_lacks_is_the_mean_of_the_others() -> None:
    records = [
        record_of(scored(0.5), scored(0.8, tap="conv3"), seed=0),
        record_of(scored(0.6), seed=1),
        record_of(scored(0.7), scored(0.9, tap="conv3"), seed=2),
    ]
    found = comparisons(records, catalog_of(published(), published(tap="conv3")))
    assert [len(each.scores) for each in found] == [3, 2]
    assert [each.value for each in found] == pytest.approx([0.6, 0.85])


def test_two_poolings_of_one_evaluator_are_two_comparisons() -> None:
    record = record_of(scored(0.8, "svm"), scored(0.7, "svm[pool=average]", pool="average"))
    assert beside(record, published(evaluator="svm")) == [(0.9, ()), (0.9, ("svm pool=average",))]


# --- as words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "0.9116"),
        ({"status": "recalled"}, "0.9116 recalled"),
        ({"spread": 0.0086}, "0.9116 ±0.0086"),
        ({"spread": 0.0, "status": "recalled"}, "0.9116 ±0.0000 recalled"),
    ],
)
def test_a_value_has_four_decimals_its_spread_and_a_mark_if_it_was_recalled(
    changes: dict[str, Any], words: str
) -> None:
    assert shown_value(published(0.9116, **changes)) == words


def test_an_evaluator_is_named_with_its_metric_unless_that_is_accuracy() -> None:
    assert named("head[per_class=20]", "accuracy") == "head[per_class=20]"
    assert named("knn", "accuracy@k=20") == "knn accuracy@k=20"


def test_a_figure_is_described_with_all_it_is_for() -> None:
    figure = published(0.5, method={"weight": 2.0, "turns": 8}, encoder="net[blocks=3]", status="recalled", note="best")
    words = ("turn[turns=8,weight=2.0]", "net[blocks=3]", "cifar10", "conv2", "head", "0.5000 recalled")
    assert described(figure, "turn") == (*words, "Ann 2020, Table 1 (best)")
    assert described(published(), "turn")[0] == "turn"
    assert described(published(), "turn")[-1] == "Ann 2020, Table 1"


# --- the installed figures --------------------------------------------------------------------------------------------

# Typed from the papers' tables, in percent, as errors or accuracies as printed there. What was not read in the paper or in
# a text that quotes it is called so.

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

Line = tuple[str, ...]


def line(
    method: Mapping[str, object],
    encoder: str,
    tap: str,
    evaluator: str,
    percent: float,
    status: str = "read",
    dataset: str = "cifar10",
    spread: float | None = None,
) -> Line:
    named_parameters = ",".join(f"{key}={value}" for key, value in sorted(method.items()))
    spread_of_100 = "" if spread is None else f"{spread:.2f}"
    return named_parameters, encoder, dataset, tap, evaluator, f"{percent:.2f}", spread_of_100, status


def aet_lines() -> Iterator[Line]:
    for status, errors in (("recalled", AET_ERRORS_RECALLED), ("read", AET_ERRORS_READ)):
        for transform, heads in errors.items():
            for head, error in heads.items():
                yield line({"transform": transform}, "blocknet", "conv2", head, 100 - error, status)
    for count, error in AET_ERRORS_FEW_LABELS.items():
        yield line({"transform": "projective"}, "blocknet", "conv2", f"conv[per_class={count}]", 100 - error)


def rotation_lines() -> Iterator[Line]:
    def at_four(evaluator: str, percent: float, status: str = "read", turns: int = 4) -> Line:
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


def dim_lines() -> Iterator[Line]:
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


@pytest.fixture(scope="module")
def installed_catalog() -> Catalog:
    """Everything that is installed here, whatever BENCH_PLUGINS says."""
    return load_catalog("")


def all_figures(catalog: Catalog) -> Iterator[tuple[MethodSpec, Published]]:
    for entry in catalog.methods:
        for figure in entry.spec.published:
            yield entry.spec, figure


def parts(text: str) -> tuple[str, dict[str, object]]:
    (item,) = parse_items([text])
    return item.name, dict(item.params)


def bound(catalog: Catalog, kind: str, text: str) -> tuple[Any, Any]:
    """The spec that `name[key=value]` means, and its parameters."""
    name, given = parts(text)
    spec = catalog.find(getattr(catalog, kind), kind, name).spec
    return spec, bind(spec.params, given, name)


@pytest.mark.parametrize("method", FACTS)
def test_the_figures_of_a_method_are_those_of_the_tables_with_their_status(
    installed_catalog: Catalog, method: str
) -> None:
    spec = installed_catalog.find(installed_catalog.methods, "method", method).spec
    given = Counter(
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
    assert given == Counter(FACTS[method])


def test_no_other_method_has_figures_that_nobody_looked_up(installed_catalog: Catalog) -> None:
    assert {spec.name for spec, _ in all_figures(installed_catalog)} == set(FACTS)


def test_every_figure_is_a_fraction_with_a_source_and_a_status(installed_catalog: Catalog) -> None:
    for _, figure in all_figures(installed_catalog):
        assert 0 < figure.value < 1
        assert figure.spread is None or 0 < figure.spread < figure.value
        assert figure.source == figure.source.strip() != ""
        assert figure.status in ("read", "recalled")


def test_every_figure_is_for_a_tap_and_parameters_that_exist(installed_catalog: Catalog) -> None:
    datasets = {entry.spec.name for entry in installed_catalog.datasets}
    for spec, figure in all_figures(installed_catalog):
        bind(spec.params, figure.method, spec.name)
        encoder, params = bound(installed_catalog, "encoders", figure.encoder)
        assert figure.tap in {tap.name for tap in encoder.layout(params, (3, 32, 32)).taps}, figure
        evaluator, _ = bound(installed_catalog, "evaluators", figure.evaluator)
        assert figure.metric.partition("@")[0] in {metric.name for metric in evaluator.metrics}
        assert figure.dataset in datasets


def test_figures_for_the_same_conditions_are_told_apart_by_their_source(installed_catalog: Catalog) -> None:
    keys = Counter(
        (
            spec.name,
            str(sorted(as_dict(bind(spec.params, figure.method, spec.name)).items())),
            str(bound(installed_catalog, "encoders", figure.encoder)[1]),
            str(bound(installed_catalog, "evaluators", figure.evaluator)[1]),
            *(figure.encoder.partition("[")[0], figure.evaluator.partition("[")[0]),
            *(figure.dataset, figure.tap, figure.metric, figure.source),
        )
        for spec, figure in all_figures(installed_catalog)
    )
    assert [key for key, count in keys.items() if count > 1] == []


def test_the_recipe_of_a_figure_is_what_the_paper_budget_gives(installed_catalog: Catalog) -> None:
    for spec, figure in all_figures(installed_catalog):
        if figure.recipe is None:
            continue
        encoder, params = bound(installed_catalog, "encoders", figure.encoder)
        setting = Setting(
            method_params=bind(spec.params, figure.method, spec.name),
            encoder=encoder.name,
            encoder_params=params,
            layout=encoder.layout(params, (3, 32, 32)),
            dataset=figure.dataset,
            image_shape=(3, 32, 32),
            num_images=50_000,
            num_classes=100 if figure.dataset == "cifar100" else 10,
            budget="paper",
        )
        assert spec.supports(setting) is None
        assert spec.recipe(setting) == figure.recipe, figure


def record_as_published(catalog: Catalog, spec: MethodSpec, figure: Published, value: float) -> Record:
    """What a run in exactly the figure's conditions would leave."""
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


def test_a_record_in_the_conditions_of_an_installed_figure_is_compared_with_it_and_differs_in_nothing(
    installed_catalog: Catalog,
) -> None:
    for spec, figure in all_figures(installed_catalog):
        record = record_as_published(installed_catalog, spec, figure, figure.value)
        found = comparisons([record], installed_catalog)
        (own,) = [each for each in found if each.figure is figure]
        assert (own.differences, own.difference) == ((), 0)
        assert all(not each.differences for each in found)


def test_figures_on_cifar100_are_for_cifar100_alone(installed_catalog: Catalog) -> None:
    dim = installed_catalog.find(installed_catalog.methods, "method", "dim").spec

    def sets(dataset: str) -> set[str]:
        record = record_of(method="dim", encoder="dim_conv", dataset=dataset, method_params=as_dict(dim.params()))
        return {figure.dataset for figure in figures_for(record, installed_catalog)}

    assert sets("cifar100") == sets("cifar100-jpeg") == {"cifar100"}
    assert sets("cifar10") == sets("cifar10-jpeg[subset=500]") == {"cifar10"}
    assert sets("digits") == set()


def test_an_early_record_of_dim_without_added_tasks_has_the_plain_papers_figures(installed_catalog: Catalog) -> None:
    earlier = {"scope": "local", "estimator": "nce", "critic": "dot", "units": 2048, "alpha": 0.5, "beta": 0.1}
    score = dataclasses.replace(scored(0.6, "mlp", tap="fc"), params={"per_class": None, "draws": 1, "epochs": 1000})
    record = record_of(score, method="dim", encoder="dim_conv", method_params={**earlier, "gamma": 0.1})
    record.cell["encoder"]["params"] = {"units": 64}
    found = comparisons([record], installed_catalog)
    assert [(each.figure.value, each.figure.source) for each in found] == [
        (0.7557, "Hjelm et al. 2019, Table 1"),
        (0.7333, "Hjelm et al. 2019, Table 4"),
    ]
