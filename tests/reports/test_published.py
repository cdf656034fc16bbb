"""Which published figures are compared with which scores."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from launched import command
from sample_figures import PAPER, beside, catalog_of, differing, published, record_of, scored

from benchmark.api.catalog import Entry, Provider, load_catalog
from benchmark.api.methods import MethodSpec
from benchmark.records.record import Record
from benchmark.records.record_files import read_records
from benchmark.reports.published import comparisons, evaluator_text, figure_row, figure_text

# --- matching --------------------------------------------------------------------------------------------------------


def test_figure_with_equal_settings_has_no_differences() -> None:
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
def test_figure_of_another_tap_metric_evaluator_encoder_or_dataset_is_ignored(changes: dict[str, Any]) -> None:
    assert beside(record_of(), published(**changes)) == []


def test_figure_of_another_method_is_ignored() -> None:
    catalog = catalog_of(other=[published()])
    assert comparisons([record_of(method="turn")], catalog) == []
    assert len(comparisons([record_of(method="other")], catalog)) == 1


def test_method_name_must_match_exactly() -> None:
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
def test_dataset_with_another_name_is_ignored(label: str, on: str) -> None:
    assert beside(record_of(dataset=label), published(dataset=on)) == []


@pytest.mark.parametrize("label", ["cifar10-jpeg", "cifar10-jpeg[subset=2000]"])
def test_dataset_named_after_the_figures_is_compared_and_listed(label: str) -> None:
    assert "images of cifar10-jpeg" in differing(record_of(dataset=label))


def test_equal_dataset_is_no_difference() -> None:
    assert differing(record_of(dataset="cifar100"), dataset="cifar100") == ()


def test_smoke_record_is_not_compared() -> None:
    records = [record_of(scored(0.2), state="smoke"), record_of(scored(0.8), seed=1)]
    (found,) = comparisons(records, catalog_of(published()))
    assert [score.value for score in found.scores] == [0.8]
    assert comparisons(records[:1], catalog_of(published())) == []


def test_record_without_scores_is_not_compared() -> None:
    assert comparisons([dataclasses.replace(record_of(), scores=())], catalog_of(published())) == []
    assert comparisons([], catalog_of(published())) == []


def test_each_score_has_its_own_figure() -> None:
    record = record_of(scored(0.8), scored(0.7, tap="conv3"), scored(0.6, "svm"))
    figures = (published(0.9, evaluator="svm"), published(0.91), published(0.92, tap="conv3"))
    found = comparisons([record], catalog_of(*figures))
    assert [(each.scores[0].value, each.figure.value) for each in found] == [(0.8, 0.91), (0.7, 0.92), (0.6, 0.9)]


def test_comparisons_are_in_the_order_of_records() -> None:
    records = [record_of(scored(0.1 * n), subset=100 * n) for n in (1, 2, 3)]
    forwards = comparisons(records, catalog_of(published()))
    backwards = comparisons(records[::-1], catalog_of(published()))
    assert [each.value for each in forwards] == pytest.approx([0.1, 0.2, 0.3])
    assert forwards == backwards[::-1]


def test_smoke_cell_with_a_failed_evaluator_is_not_compared(third_party: Path, bench: Any) -> None:
    words = command(
        "mean_color", "--executor", "inline", "--epochs", "1", "--smoke", evaluators="centroid,fault_raises"
    )
    assert bench(*words).exit_code == 3
    ((record,), _) = read_records(Path("runs"))
    figure = published(encoder="tiny", dataset="stripes", tap="fc", evaluator="centroid", recipe=None)
    spec = MethodSpec(name="mean_color", summary="", build=lambda context: ..., published=(figure,))
    entry = Entry(spec=spec, provider=Provider(plugin="p", distribution="p", version="1"))
    assert record.scores
    assert comparisons([record], dataclasses.replace(load_catalog(), methods=(entry,))) == []


def test_figures_of_another_distribution_are_not_used(installed: Path) -> None:
    catalog = load_catalog("rotation,encoders,heads,third_party_rotation")
    score = dataclasses.replace(
        scored(0.8, "conv"), params={"per_class": None, "draws": 1, "epochs": 100, "best": False, "augment": True}
    )
    record = record_of(score, method="rotation", encoder="blocknet", method_params={})
    record.cell["encoder"]["params"] = {"blocks": 4, "init": "default", "pool_after_block3": False}
    record.cell["method"]["provider"] = "repbench-third-party"
    assert comparisons([record], catalog) == []
    record.cell["method"].update(provider="repbench", params={"turns": 4})
    for methods in (catalog.methods, catalog.methods[::-1]):
        assert len(comparisons([record], dataclasses.replace(catalog, methods=methods))) == 1


@pytest.mark.parametrize("encoder", ["net[blocks=3", "net[blocks=3|4]", "net[block=3]", "net,wide"])
def test_invalid_figure_does_not_affect_the_others(encoder: str) -> None:
    assert (0.9, ()) in beside(record_of(), published(0.5, encoder=encoder), published(0.9))


# --- named parameters -------------------------------------------------------------------------------------------------


def test_figure_with_another_named_method_parameter_is_ignored() -> None:
    figures = (published(0.7, method={"turns": 2}), published(0.8, method={"turns": 8, "weight": 1.0}))
    assert beside(record_of(), *figures) == []
    assert beside(record_of(method_params={"turns": 8, "weight": 2.0}), *figures) == []
    assert beside(record_of(method_params={"turns": 8, "weight": 1.0}), *figures) == [(0.8, ())]


def test_figure_with_another_named_evaluator_parameter_is_ignored() -> None:
    figures = (published(0.7, evaluator="head[per_class=20]"), published(0.8, evaluator="head[per_class=20,epochs=5]"))
    assert beside(record_of(), *figures) == []
    fifty = record_of(scored(evaluator="head[per_class=50]", params={"per_class": 50}))
    assert beside(fifty, *figures) == []


def test_named_lists_and_choices_are_compared_by_value() -> None:
    figure = published(evaluator="head[rates=0.1;0.01]", encoder="net[init=default]")
    assert beside(record_of(encoder_params={"blocks": 4, "init": "default"}), figure) == [(0.9, ())]
    other = record_of(scored(evaluator="head[rates=0.1]", params={"rates": [0.1]}))
    assert beside(other, figure) == []


def test_method_parameter_added_after_a_record_is_its_default() -> None:
    earlier = record_of(method_params={"turns": 4})
    assert beside(earlier, published()) == [(0.9, ())]
    assert beside(earlier, published(method={"turns": 4, "weight": 1.0})) == [(0.9, ())]
    assert beside(earlier, published(method={"weight": 2.0})) == []


def test_encoder_and_evaluator_parameters_added_later_are_their_defaults() -> None:
    earlier = record_of(dataclasses.replace(scored(), params={"epochs": 100}), encoder_params={"blocks": 4})
    assert differing(earlier) == ()
    assert differing(earlier, encoder="net[init=default]") == ("init=own",)
    assert differing(earlier, evaluator="head[rates=0.1;0.01]") == ()


def test_integers_equal_the_same_floats() -> None:
    assert beside(record_of(), published(method={"weight": 1})) == [(0.9, ())]
    assert beside(record_of(), published(evaluator="head[rates=0.10;0.01]")) == [(0.9, ())]


def test_figure_may_name_the_pooling() -> None:
    ours = record_of(scored(evaluator="svm[pool=average]", pool="average"))
    assert beside(ours, published(evaluator="svm[pool=average]")) == [(0.9, ())]
    assert beside(record_of(scored(evaluator="svm")), published(evaluator="svm[pool=average]")) == []


# --- nearest figures ------------------------------------------------------------------------------------------------------

DEPTHS = (published(0.7, encoder="net[blocks=3]"), published(0.8, encoder="net[blocks=5]"))


def test_figure_with_fewest_differing_parameters_is_chosen() -> None:
    three = record_of(encoder_params={"blocks": 3, "init": "own"})
    assert beside(three, *DEPTHS) == [(0.7, ())]
    other_init = record_of(encoder_params={"blocks": 5, "init": "default"})
    assert beside(other_init, *DEPTHS) == [(0.8, ("init=default",))]


def test_equally_near_figures_are_all_chosen() -> None:
    assert beside(record_of(), *DEPTHS) == [(0.7, ("blocks=4",)), (0.8, ("blocks=4",))]
    again = published(0.75, encoder="net[blocks=3]", source="Bob 2021, issue 6")
    three = record_of(encoder_params={"blocks": 3, "init": "own"})
    assert beside(three, *DEPTHS, again) == [(0.7, ()), (0.75, ())]


def test_few_labels_are_compared_with_few_labels_if_published() -> None:
    figures = (published(0.9), published(0.6, evaluator="head[per_class=20]"))

    def labeled(count: int | None) -> Record:
        return record_of(scored(evaluator=f"head[per_class={count}]", params={"per_class": count}))

    assert beside(labeled(20), *figures) == [(0.6, ())]
    assert beside(labeled(50), *figures) == [(0.9, ("head per_class=50",))]
    assert beside(labeled(None), *figures) == [(0.9, ())]


def test_method_variant_is_compared_with_its_own_figure() -> None:
    figures = (published(0.9), published(0.8, method={"weight": 2.0}))
    assert beside(record_of(method_params={"turns": 4, "weight": 2.0}), *figures) == [(0.8, ())]
    assert beside(record_of(method_params={"turns": 4, "weight": 3.0}), *figures) == [(0.9, ("weight=3.0",))]


def test_recipe_and_data_do_not_affect_nearness() -> None:
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


def test_seeds_are_averaged() -> None:
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
def test_records_with_other_settings_are_not_averaged(changes: dict[str, Any]) -> None:
    records = [record_of(scored(0.8)), record_of(scored(0.6), seed=1, **changes)]
    found = comparisons(records, catalog_of(published()))
    assert [each.value for each in found] == [0.8, 0.6]


def test_score_missing_in_a_seed_is_averaged_over_the_others() -> None:
    records = [
        record_of(scored(0.5), scored(0.8, tap="conv3"), seed=0),
        record_of(scored(0.6), seed=1),
        record_of(scored(0.7), scored(0.9, tap="conv3"), seed=2),
    ]
    found = comparisons(records, catalog_of(published(), published(tap="conv3")))
    assert [len(each.scores) for each in found] == [3, 2]
    assert [each.value for each in found] == pytest.approx([0.6, 0.85])


def test_poolings_are_separate_comparisons() -> None:
    record = record_of(scored(0.8, "svm"), scored(0.7, "svm[pool=average]", pool="average"))
    assert beside(record, published(evaluator="svm")) == [(0.9, ()), (0.9, ("svm pool=average",))]


# --- texts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "0.9116"),
        ({"status": "recalled"}, "0.9116 recalled"),
        ({"spread": 0.0086}, "0.9116 ±0.0086"),
        ({"spread": 0.0, "status": "recalled"}, "0.9116 ±0.0000 recalled"),
    ],
)
def test_figure_text_has_four_decimals_spread_and_status(changes: dict[str, Any], words: str) -> None:
    assert figure_text(published(0.9116, **changes)) == words


def test_evaluator_text_names_metrics_other_than_accuracy() -> None:
    assert evaluator_text("head[per_class=20]", "accuracy") == "head[per_class=20]"
    assert evaluator_text("knn", "accuracy@k=20") == "knn accuracy@k=20"


def test_figure_row_holds_all_settings() -> None:
    figure = published(0.5, method={"weight": 2.0, "turns": 8}, encoder="net[blocks=3]", status="recalled", note="best")
    words = ("turn[turns=8,weight=2.0]", "net[blocks=3]", "cifar10", "conv2", "head", "0.5000 recalled")
    assert figure_row(figure, "turn") == (*words, "Ann 2020, Table 1 (best)")
    assert figure_row(published(), "turn")[0] == "turn"
    assert figure_row(published(), "turn")[-1] == "Ann 2020, Table 1"
