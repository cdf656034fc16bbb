"""Conditions, seeds and unscored figures in a comparison with published figures."""

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
from benchmark.records.record import Record
from benchmark.records.record_files import read_records
from benchmark.reports.published import comparisons
from benchmark.reports.published_tables import published_report
from benchmark.reports.render import Format, render_report

MACHINE_FORMATS: tuple[Format, ...] = ("csv", "json")


def figures_beside(record: Record, *figures: Published) -> list[tuple[float, tuple[str, ...]]]:
    return [(each.figure.value, each.differences) for each in comparisons([record], catalog_of(*figures))]


def differing(record: Record, **changes: Any) -> tuple[str, ...]:
    ((_, differences),) = figures_beside(record, published(**changes))
    return differences


def recipe(**changes: Any) -> Recipe:
    return dataclasses.replace(PAPER, **changes)


def test_smoke_cell_with_a_failed_evaluator_is_not_compared(third_party: Path, bench: Any) -> None:
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


def test_scored_figure_is_not_listed_as_missing() -> None:
    figures = (published(0.9), published(0.8, encoder="net[blocks=3]"))
    (table,) = published_report([record_of()], catalog_of(*figures)).tables()
    assert [note for note in table.notes if "not scored" in note] == []


def test_cell_without_a_comparison_lists_its_published_figures() -> None:
    catalog = catalog_of(published(), other=[published(tap="conv3")])
    (table,) = published_report([record_of(), record_of(method="other")], catalog).tables()
    assert any("other / net" in note and "head at conv3" in note for note in table.notes)


@pytest.mark.parametrize("width", [80, 100])
def test_narrow_terminal_keeps_published_and_difference(width: int) -> None:
    record = record_of(dataset="cifar10-jpeg[subset=2000]", subset=2000, recipe=Recipe(epochs=20))
    figure = published(0.9, status="recalled", source="Gidaris et al. 2018, Table 1", note="best epoch on test")
    text = " ".join(render_report(published_report([record], catalog_of(figure)), "table", width).split())
    assert "0.9000" in text
    assert "-0.0500" in text
    assert ("Gidaris" in text) != ("Too narrow for: source" in text)


def test_warmup_is_a_condition() -> None:
    assert differing(record_of(recipe=recipe(warmup=10))) == ("warmup=10",)


def test_final_learning_rate_is_a_condition() -> None:
    theirs = recipe(schedule="linear")
    assert differing(record_of(recipe=recipe(schedule="linear", final_lr=0.05)), recipe=theirs) == ("final_lr=0.05",)


def test_milestones_other_than_the_scaled_ones_are_a_condition() -> None:
    ours = record_of(recipe=recipe(epochs=100, milestones=(1, 2)))
    assert differing(ours) == ("100 of 200 epochs", "milestones=1;2")


def test_missing_linear_tail_is_a_condition_at_other_epochs() -> None:
    ours = record_of(recipe=recipe(epochs=100, milestones=(30, 60, 80)))
    assert set(differing(ours, recipe=recipe(linear_from=180))) == {"100 of 200 epochs", "linear_from=none"}


def test_adamw_recipes_are_compared() -> None:
    theirs = recipe(optimizer="adamw", beta1=0.5)
    assert differing(record_of(recipe=recipe(optimizer="adamw")), recipe=theirs) == ("beta1=0.9",)


def test_image_size_is_a_condition() -> None:
    record = record_of(dataset="cifar10-jpeg")
    record.cell["image_shape"] = [1, 64, 64]
    assert differing(record) != differing(record_of(dataset="cifar10-jpeg"))


def test_folder_named_cifar10_is_not_cifar10() -> None:
    record = record_of(dataset="cifar10")
    record.cell["dataset"]["name"] = "folder"
    assert differing(record) != ()


def test_failed_to_learn_is_in_csv_and_json() -> None:
    failed = record_of(checks={"trained": True, "failed_to_learn": True, "frozen": True})
    for form in MACHINE_FORMATS:
        texts = [
            render_report(published_report([record], catalog_of(published())), form)
            for record in (failed, record_of(id=failed.id))
        ]
        assert texts[0] != texts[1]


def test_published_spread_is_in_csv_and_json() -> None:
    for form in MACHINE_FORMATS:
        assert "0.0123" in render_report(published_report([record_of()], catalog_of(published(spread=0.0123))), form)


@pytest.mark.parametrize("form", MACHINE_FORMATS)
def test_no_corresponding_figure_is_an_error_in_csv_and_json(form: Format) -> None:
    with pytest.raises(UsageError):
        render_report(published_report([record_of(dataset="digits")], catalog_of(published())), form)


def test_row_names_only_cells_with_the_score() -> None:
    records = [record_of(scored(), scored(tap="conv3")), record_of(scored(), seed=1)]
    _, row = json.loads(
        render_report(published_report(records, catalog_of(published(), published(tap="conv3"))), "json")
    )
    assert (row["seeds"], row["cells"]) == (1, records[0].short_id)


def test_failed_seeds_are_counted() -> None:
    failed = record_of(checks={"trained": True, "failed_to_learn": True, "frozen": True})
    (table,) = published_report([failed, record_of(seed=1)], catalog_of(published())).tables()
    assert "1 of 2 did not learn" in table.rows[0][table.columns.index("remarks")]


def test_integers_equal_the_same_floats() -> None:
    assert figures_beside(record_of(), published(method={"weight": 1})) == [(0.9, ())]
    assert figures_beside(record_of(), published(evaluator="head[rates=0.10;0.01]")) == [(0.9, ())]
    assert differing(record_of(recipe=recipe(weight_decay=0.0)), recipe=recipe(weight_decay=0)) == ()


def test_figure_may_name_the_pooling() -> None:
    ours = record_of(scored(evaluator="svm[pool=average]", pool="average"))
    assert figures_beside(ours, published(evaluator="svm[pool=average]")) == [(0.9, ())]
    assert figures_beside(record_of(scored(evaluator="svm")), published(evaluator="svm[pool=average]")) == []


def test_parameter_added_later_counts_as_its_default() -> None:
    earlier = record_of(dataclasses.replace(scored(), params={"epochs": 100}))
    assert figures_beside(earlier, published(evaluator="head[rates=0.1;0.01]")) == [(0.9, ())]


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
    assert (0.9, ()) in figures_beside(record_of(), published(0.5, encoder=encoder), published(0.9))


def test_recalled_status_is_marked_in_any_case() -> None:
    (table,) = published_report([record_of()], catalog_of(published(status="Recalled"))).tables()
    assert "recalled" in table.rows[0][table.columns.index("published")].lower()


def test_earlier_protocol_is_a_condition() -> None:
    assert differing(record_of(scored(protocol="head@0"))) != ()


def test_epochs_are_shown_if_the_figure_has_no_recipe() -> None:
    (table,) = published_report([record_of(recipe=recipe(epochs=7))], catalog_of(published(recipe=None))).tables()
    assert any("7" in cell for cell in table.rows[0][:5] + table.rows[0][-1:])
