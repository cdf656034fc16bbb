"""What a comparison with published figures must tell: conditions, seeds, and what was not scored."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from sample_figures import PAPER, catalog_of, published, record_of, scored

from benchmark.api.catalog import Entry, Provider, load_catalog
from benchmark.api.methods import MethodSpec, Published
from benchmark.api.recipes import Recipe
from benchmark.errors import UsageError
from benchmark.records.record import Record, read_records
from benchmark.reports.published import comparisons
from benchmark.reports.published_tables import as_csv, as_json, published_tables
from benchmark.reports.render import render_tables


def beside(record: Record, *figures: Published) -> list[tuple[float, tuple[str, ...]]]:
    return [(each.figure.value, each.differences) for each in comparisons([record], catalog_of(*figures))]


def differing(record: Record, **changes: Any) -> tuple[str, ...]:
    ((_, differences),) = beside(record, published(**changes))
    return differences


def recipe(**changes: Any) -> Recipe:
    return dataclasses.replace(PAPER, **changes)


def test_a_smoke_cell_of_which_an_evaluator_fails_is_still_a_smoke_cell(third_party: Path, bench: Any) -> None:
    words = ("--methods", "mean_color", "--encoders", "tiny", "--dataset", "stripes", "--evaluators")
    how = (
        "centroid,fault_raises",
        "--executor",
        "inline",
        "--device",
        "cpu",
        "--epochs",
        "1",
        "--no-floors",
        "--smoke",
    )
    assert bench("run", *words, *how).exit_code == 3
    ((record,), _) = read_records(Path("runs"))
    figure = published(encoder="tiny", dataset="stripes", tap="fc", evaluator="centroid", recipe=None)
    spec = MethodSpec(name="mean_color", summary="", build=lambda context: ..., published=(figure,))
    entry = Entry(spec=spec, provider=Provider(plugin="p", distribution="p", version="1"))
    assert record.scores
    assert comparisons([record], dataclasses.replace(load_catalog(), methods=(entry,))) == []


def test_what_was_scored_is_not_said_to_be_missing_because_a_nearer_figure_was_shown() -> None:
    figures = (published(0.9), published(0.8, encoder="net[blocks=3]"))
    (table,) = published_tables([record_of()], catalog_of(*figures))
    assert [note for note in table.notes if "not scored" in note] == []


def test_a_trained_cell_without_any_comparison_is_told_what_was_published_for_it() -> None:
    (table,) = published_tables(
        [record_of(), record_of(method="other")], catalog_of(published(), other=[published(tap="conv3")])
    )
    assert any("other / net" in note and "head at conv3" in note for note in table.notes)


@pytest.mark.parametrize("width", [80, 100])
def test_on_a_narrow_terminal_published_and_difference_stay_and_what_is_left_out_is_named(width: int) -> None:
    record = record_of(dataset="cifar10-jpeg[subset=2000]", subset=2000, recipe=Recipe(epochs=20))
    figure = published(0.9, status="recalled", source="Gidaris et al. 2018, Table 1", note="best epoch on test")
    text = " ".join(render_tables(published_tables([record], catalog_of(figure)), "table", width).split())
    assert "0.9000" in text
    assert "-0.0500" in text
    assert ("Gidaris" in text) != ("Left out for lack of width: source" in text)


def test_warm_up_is_a_condition() -> None:
    assert differing(record_of(recipe=recipe(warmup=10))) == ("warmup=10",)


def test_where_a_linear_schedule_ends_is_a_condition() -> None:
    theirs = recipe(schedule="linear")
    assert differing(record_of(recipe=recipe(schedule="linear", final_lr=0.05)), recipe=theirs) == ("final_lr=0.05",)


def test_milestones_that_are_not_the_papers_stretched_are_told() -> None:
    ours = record_of(recipe=recipe(epochs=100, milestones=(1, 2)))
    assert differing(ours) == ("100 of 200 epochs", "milestones=1;2")


def test_a_linear_tail_that_ours_lacks_is_told_at_other_epochs_too() -> None:
    ours = record_of(recipe=recipe(epochs=100, milestones=(30, 60, 80)))
    assert set(differing(ours, recipe=recipe(linear_from=180))) == {"100 of 200 epochs", "linear_from=none"}


def test_two_recipes_of_adamw_can_be_compared() -> None:
    theirs = recipe(optimizer="adamw", beta1=0.5)
    assert differing(record_of(recipe=recipe(optimizer="adamw")), recipe=theirs) == ("beta1=0.9",)


def test_the_size_of_the_images_is_a_condition() -> None:
    record = record_of(dataset="cifar10-jpeg")
    record.cell["image_shape"] = [1, 64, 64]
    assert differing(record) != differing(record_of(dataset="cifar10-jpeg"))


def test_a_folder_that_is_called_cifar10_is_not_cifar10() -> None:
    record = record_of(dataset="cifar10")
    record.cell["dataset"]["name"] = "folder"
    assert differing(record) != ()


def test_that_a_cell_did_not_learn_stands_in_csv_and_json_too() -> None:
    dull = record_of(checks={"trained": True, "learned": False, "frozen": True})
    for form in (as_csv, as_json):
        assert form([dull], catalog_of(published())) != form([record_of(id=dull.id)], catalog_of(published())), (
            "no word of it"
        )


def test_the_published_spread_stands_in_csv_and_json_too() -> None:
    for form in (as_csv, as_json):
        assert "0.0123" in form([record_of()], catalog_of(published(spread=0.0123)))


@pytest.mark.parametrize("form", [as_csv, as_json])
def test_where_nothing_fits_csv_and_json_say_so_too(form: Any) -> None:
    with pytest.raises(UsageError):
        form([record_of(dataset="digits")], catalog_of(published()))


def test_only_the_cells_that_have_the_score_are_named_behind_it() -> None:
    records = [record_of(scored(), scored(tap="conv3")), record_of(scored(), seed=1)]
    _, row = json.loads(as_json(records, catalog_of(published(), published(tap="conv3"))))
    assert (row["seeds"], row["cells"]) == (1, [records[0].id[:10]])


def test_one_seed_of_two_that_did_not_learn_is_told_as_one_of_two() -> None:
    dull = record_of(checks={"trained": True, "learned": False, "frozen": True})
    (table,) = published_tables([dull, record_of(seed=1)], catalog_of(published()))
    assert "1 of 2 did not learn" in table.rows[0][table.columns.index("remarks")]


def test_a_whole_number_that_a_figure_names_agrees_with_the_same_number_of_a_record() -> None:
    assert beside(record_of(), published(method={"weight": 1})) == [(0.9, ())]
    assert beside(record_of(), published(evaluator="head[rates=0.10;0.01]")) == [(0.9, ())]
    assert differing(record_of(recipe=recipe(weight_decay=0.0)), recipe=recipe(weight_decay=0)) == ()


def test_a_figure_may_name_the_pooling() -> None:
    ours = record_of(scored(evaluator="svm[pool=average]", pool="average"))
    assert beside(ours, published(evaluator="svm[pool=average]")) == [(0.9, ())]
    assert beside(record_of(scored(evaluator="svm")), published(evaluator="svm[pool=average]")) == []


def test_an_evaluators_parameter_that_came_later_and_is_named_counts_as_its_default() -> None:
    earlier = record_of(dataclasses.replace(scored(), params={"epochs": 100}))
    assert beside(earlier, published(evaluator="head[rates=0.1;0.01]")) == [(0.9, ())]


def test_the_figures_of_another_distributions_method_of_that_name_are_not_ours(installed: Path) -> None:
    catalog = load_catalog("rotation,encoders,heads,third_party_rotation")
    score = dataclasses.replace(
        scored(0.8, "conv"), params={"per_class": None, "draws": 1, "epochs": 100, "best": False, "augment": True}
    )
    record = record_of(score, method="rotation", encoder="blocknet", method_params={})
    record.cell["encoder"]["params"] = {"blocks": 4, "init": "default", "pool_after_block3": False}
    record.cell["method"]["provider"] = "repbench-third-party"
    assert comparisons([record], catalog) == []
    record.cell["method"].update(provider="repbench", params={"turns": 4})
    for methods in (catalog.methods, catalog.methods[::-1]):  # today: UnknownNameError in the second
        assert len(comparisons([record], dataclasses.replace(catalog, methods=methods))) == 1


@pytest.mark.parametrize("wrong", ["net[blocks=3", "net[blocks=3|4]", "net[block=3]", "net,wide"])
def test_a_figure_that_cannot_be_read_costs_the_others_nothing(wrong: str) -> None:
    assert (0.9, ()) in beside(record_of(), published(0.5, encoder=wrong), published(0.9))


def test_a_status_that_is_not_read_bears_the_mark() -> None:
    (table,) = published_tables([record_of()], catalog_of(published(status="Recalled")))
    assert "recalled" in table.rows[0][table.columns.index("published")].lower()


def test_a_score_of_an_earlier_protocol_is_said_to_be_one() -> None:
    assert differing(record_of(scored(protocol="head@0"))) != ()


def test_training_that_the_figure_says_nothing_of_is_told_in_epochs() -> None:
    (table,) = published_tables([record_of(recipe=recipe(epochs=7))], catalog_of(published(recipe=None)))
    assert any("7" in cell for cell in table.rows[0][:5] + table.rows[0][-1:])
