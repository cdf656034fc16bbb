"""Measured scores beside published figures, as tables, CSV and JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence

import pytest
from sample_figures import PAPER, catalog_of, published, record_of, scored, trained

from benchmark.api.catalog import Catalog
from benchmark.api.methods import Published
from benchmark.api.recipes import Recipe, with_epochs
from benchmark.errors import UsageError
from benchmark.records.record import Record, Score
from benchmark.reports.published_tables import published_report
from benchmark.reports.render import Format, render_report
from benchmark.reports.table import Table

MACHINE_FORMATS: tuple[Format, ...] = ("csv", "json")


def table_of(records: Sequence[Record], *figures: Published) -> Table:
    """The only table."""
    (table,) = published_report(records, catalog_of(*figures)).tables()
    return table


def rows(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def row_of(*records: Record, figure: Published | None = None) -> dict[str, str]:
    """The only row of the only table."""
    (row,) = rows(table_of(records, figure or published()))
    return row


def missing(table: Table) -> list[str]:
    """The notes on figures that were not scored."""
    return [note for note in table.notes if note.startswith("Published, not scored here")]


# --- tables -----------------------------------------------------------------------------------------------------------


def test_row_holds_measured_and_published_value_with_source() -> None:
    row = row_of(record_of(scored(0.85)), figure=published(0.9116))
    assert row == {
        **row,
        "method": "turn",
        "encoder": "net",
        "tap": "conv2",
        "evaluator": "head",
        "seeds": "1",
        "ours": "0.8500 [0.842, 0.858]",
        "published": "0.9116",
        "difference": "-0.0616",
        "source": "Ann 2020, Table 1",
        "remarks": "",
    }


def test_seeds_give_mean_and_spread() -> None:
    records = [record_of(scored(value), seed=seed) for seed, value in enumerate((0.80, 0.85, 0.90))]
    row = row_of(*records)
    assert (row["seeds"], row["ours"], row["difference"]) == ("3", "0.8500 ±0.0500", "-0.0500")


def test_seedless_method_shows_a_dash_and_its_interval() -> None:
    row = row_of(record_of(scored(0.85), seed=None))
    assert (row["seeds"], row["ours"]) == ("-", "0.8500 [0.842, 0.858]")


def test_score_without_interval_shows_the_value() -> None:
    assert row_of(record_of(scored(0.85, ci_low=None, ci_high=None)))["ours"] == "0.8500"


@pytest.mark.parametrize(("ours", "shown"), [(0.95, "+0.0500"), (0.9, "+0.0000"), (0.123456, "-0.7765")])
def test_difference_is_measured_minus_published(ours: float, shown: str) -> None:
    assert row_of(record_of(scored(ours)))["difference"] == shown


def test_recalled_figure_is_marked() -> None:
    records = [record_of()]
    figures = (published(0.9, status="recalled", spread=0.01), published(0.91, source="Bob 2021"))
    recalled, read = rows(table_of(records, *figures))
    assert recalled["published"] == "0.9000 ±0.0100 recalled"
    assert read["published"] == "0.9100"


def test_remarks_list_all_differences_and_the_note() -> None:
    ours = record_of(
        scored(evaluator="svm[pool=average]", pool="average"),
        dataset="cifar10-jpeg[subset=500]",
        subset=500,
        method_params={"turns": 2, "weight": 1.0},
        recipe=dataclasses.replace(with_epochs(PAPER, 5), lr=0.01),
    )
    remarks = row_of(ours, figure=published(evaluator="svm", note="best epoch on test"))["remarks"]
    assert set(remarks.split("; ")) == {
        *("images of cifar10-jpeg", "500 training images", "5 of 200 epochs", "lr=0.01", "turns=2"),
        *("svm pool=average", "published: best epoch on test"),
    }


def test_remarks_state_failure_to_learn() -> None:
    def remarks(failed: bool | None) -> str:
        return row_of(record_of(checks={"trained": True, "failed_to_learn": failed, "frozen": True}))["remarks"]

    assert "did not learn" in remarks(True)
    assert remarks(False) == remarks(None) == ""


def test_metric_other_than_accuracy_is_named() -> None:
    row = row_of(record_of(scored(0.5, metric="accuracy@k=20")), figure=published(metric="accuracy@k=20"))
    assert row["evaluator"] == "head accuracy@k=20"


def test_datasets_and_subsets_have_separate_tables() -> None:
    records = [
        record_of(scored(0.5), dataset="cifar10"),
        record_of(scored(0.4), dataset="cifar10-jpeg"),
        record_of(scored(0.3), dataset="cifar10-jpeg[subset=500]", subset=500),
        record_of(scored(0.6), dataset="cifar10", encoder_params={"blocks": 3, "init": "own"}),
    ]
    tables = published_report(records, catalog_of(published())).tables()
    assert [table.title.partition(" on ")[2] for table in tables] == [
        "cifar10",
        "cifar10-jpeg",
        "cifar10-jpeg[subset=500]",
    ]
    assert [[row["ours"][:6] for row in rows(table)] for table in tables] == [
        ["0.5000", "0.6000"],
        ["0.4000"],
        ["0.3000"],
    ]


def test_scores_without_figures_have_no_row() -> None:
    record = record_of(scored(0.5), scored(0.6, tap="conv3"), scored(0.7, "svm"))
    assert [row["tap"] for row in rows(table_of([record], published()))] == ["conv2"]


@pytest.mark.parametrize(
    ("records", "figures"),
    [
        ([record_of(dataset="digits")], [published()]),
        ([record_of(dataset="cifar100")], [published()]),
        ([record_of(state="smoke")], [published()]),
        ([record_of(scored(tap="conv3"))], [published()]),
        ([record_of()], [published(method={"turns": 2})]),
        ([dataclasses.replace(record_of(), scores=())], [published()]),
        ([record_of()], []),
    ],
    ids=["digits", "cifar100", "smoke", "tap", "named parameter", "no scores", "no figures"],
)
def test_records_without_figures_are_a_usage_error(records: list[Record], figures: list[Published]) -> None:
    with pytest.raises(UsageError, match=r"no published figure corresponds.*bench list methods -v"):
        published_report(records, catalog_of(*figures))


def test_failed_seeds_are_counted() -> None:
    failed = record_of(checks={"trained": True, "failed_to_learn": True, "frozen": True})
    (table,) = published_report([failed, record_of(seed=1)], catalog_of(published())).tables()
    assert "1 of 2 did not learn" in table.rows[0][table.columns.index("remarks")]


def test_recalled_status_is_marked_in_any_case() -> None:
    (table,) = published_report([record_of()], catalog_of(published(status="Recalled"))).tables()
    assert "recalled" in table.rows[0][table.columns.index("published")].lower()


def test_epochs_are_shown_if_the_figure_has_no_recipe() -> None:
    (table,) = published_report([trained(epochs=7)], catalog_of(published(recipe=None))).tables()
    assert any("7" in cell for cell in table.rows[0][:5] + table.rows[0][-1:])


@pytest.mark.parametrize("width", [80, 100])
def test_narrow_terminal_keeps_published_and_difference(width: int) -> None:
    record = record_of(dataset="cifar10-jpeg[subset=2000]", subset=2000, recipe=Recipe(epochs=20))
    figure = published(0.9, status="recalled", source="Gidaris et al. 2018, Table 1", note="best epoch on test")
    text = " ".join(render_report(published_report([record], catalog_of(figure)), "table", width).split())
    assert "0.9000" in text
    assert "-0.0500" in text
    assert ("Gidaris" in text) != ("Too narrow for: source" in text)


# --- what was not scored ----------------------------------------------------------------------------------------------


def test_figures_not_scored_are_listed_with_evaluator_and_tap() -> None:
    figures = (
        published(),
        published(evaluator="head[per_class=20]"),
        published(evaluator="svm", tap="conv3"),
        published(metric="recall"),
    )
    (note,) = missing(table_of([record_of()], *figures))
    assert "turn / net" in note
    listed = note.rstrip(".").partition(": ")[2]
    assert set(listed.split(", ")) == {"head[per_class=20] at conv2", "svm at conv3", "head recall at conv2"}


def test_figure_scored_on_any_seed_is_not_listed() -> None:
    records = [record_of(scored()), record_of(scored(), scored(evaluator="svm"), seed=1)]
    assert missing(table_of(records, published(), published(evaluator="svm"))) == []


def test_figures_not_scored_are_listed_per_cell() -> None:
    full = record_of(scored(), scored(evaluator="svm"))
    part = record_of(scored(), encoder="wide")
    both = (published(), published(evaluator="svm"))
    wide = tuple(dataclasses.replace(figure, encoder="wide") for figure in both)
    (note,) = missing(table_of([full, part], *both, *wide))
    assert "turn / wide" in note
    other = record_of(scored(), subset=500)
    assert len(missing(table_of([full, other], *both))) == 1


def test_figures_of_other_settings_are_not_listed() -> None:
    others = [
        published(evaluator="svm", encoder="wide"),
        published(evaluator="svm", dataset="cifar100"),
        published(evaluator="svm", method={"turns": 8}),
    ]
    catalog = catalog_of(published(), *others, other=[published(evaluator="svm")])
    (table,) = published_report([record_of()], catalog).tables()
    assert missing(table) == []


def test_figures_not_scored_are_listed_per_dataset() -> None:
    both = record_of(scored(), scored(evaluator="svm"), dataset="cifar10")
    figures = (published(), published(evaluator="svm"))
    first, second = published_report([both, record_of(dataset="cifar10-jpeg")], catalog_of(*figures)).tables()
    assert missing(first) == []
    assert len(missing(second)) == 1


def test_scored_figure_is_not_listed_as_missing() -> None:
    figures = (published(0.9), published(0.8, encoder="net[blocks=3]"))
    (table,) = published_report([record_of()], catalog_of(*figures)).tables()
    assert missing(table) == []


def test_cell_without_a_comparison_lists_its_published_figures() -> None:
    catalog = catalog_of(published(), other=[published(tap="conv3")])
    (table,) = published_report([record_of(), record_of(method="other")], catalog).tables()
    assert any("other / net" in note and "head at conv3" in note for note in table.notes)


# --- for machines -----------------------------------------------------------------------------------------------------


def several() -> tuple[list[Record], Catalog]:
    """Three seeds, one seed and none; several differences, a source with commas, a recalled figure."""
    records = [
        *(record_of(scored(value), seed=seed) for seed, value in enumerate((0.80, 0.85, 0.93))),
        record_of(
            scored(0.5, "svm[pool=average]", pool="average"),
            dataset="cifar10-jpeg[subset=500]",
            subset=500,
            recipe=dataclasses.replace(PAPER, milestones=(60, 150), lr=0.01),
        ),
        record_of(scored(0.4), method="floor", seed=None, recipe=None),
    ]
    figures = (published(0.9, note="best, on test"), published(0.91, status="recalled"), published(evaluator="svm"))
    return records, catalog_of(*figures, floor=[published(0.3, recipe=None, source='"Floors", 2019')])


def test_csv_agrees_with_the_tables() -> None:
    records, catalog = several()
    lines = list(csv.DictReader(io.StringIO(render_report(published_report(records, catalog), "csv"))))
    assert len(lines) == 4
    for table in published_report(records, catalog).tables():
        own = [line for line in lines if table.title.endswith(f" on {line['dataset']}")]
        for line, row in zip(own, rows(table), strict=True):
            for key in ("method", "encoder", "tap", "evaluator", "source"):
                assert line[key] == row[key]
            assert f"{float(line['value']):.4f}" == row["ours"].split()[0]
            assert f"{float(line['published']):.4f}" == row["published"].split()[0]
            assert f"{float(line['difference']):+.4f}" == row["difference"]
            assert (line["status"] == "recalled") == row["published"].endswith("recalled")
            note = [f"published: {line['note']}"] if line["note"] else []
            remarks = row["remarks"]
            for note_text in table.notes:
                letter, _, conditions = note_text.partition(" ")
                remarks = remarks.replace(letter, conditions) if letter.startswith("(") else remarks
            assert [*filter(None, line["differences"].split("; ")), *note] == [*filter(None, remarks.split("; "))]


def test_shared_training_differences_are_stated_once() -> None:
    ours = record_of(scored(), scored(evaluator="svm"), dataset="cifar10-jpeg[subset=500]", subset=500)
    table = table_of([ours], published(), published(evaluator="svm", note="best epoch"))
    assert [row["remarks"] for row in rows(table)] == ["(a)", "(a); published: best epoch"]
    assert "(a) images of cifar10-jpeg; 500 training images" in table.notes


def test_csv_and_json_hold_the_same_rows() -> None:
    records, catalog = several()
    text = render_report(published_report(records, catalog), "csv")
    lines = list(csv.DictReader(io.StringIO(text)))
    objects = json.loads(render_report(published_report(records, catalog), "json"))
    assert [list(each) for each in objects] == [text.splitlines()[0].split(",")] * len(lines)
    for line, each in zip(lines, objects, strict=True):
        for key, value in each.items():
            if isinstance(value, float):
                assert float(line[key]) == value
            else:
                assert line[key] == ("" if value is None else str(value))


def test_json_holds_raw_values_with_spread_or_interval() -> None:
    records, catalog = several()
    three, _, one, floor = json.loads(render_report(published_report(records, catalog), "json"))
    assert three["value"] == pytest.approx(0.86)
    # (.06^2 + .01^2 + .07^2) / 2 = .0043
    assert three["spread"] == pytest.approx(0.0043**0.5)
    assert (three["seeds"], three["ci_low"], three["ci_high"]) == (3, None, None)
    assert (one["seeds"], one["spread"], one["ci_low"], one["ci_high"]) == (1, None, 0.4921875, 0.5078125)
    assert (floor["published"], floor["difference"]) == (0.3, pytest.approx(0.1))
    assert [each["n"] for each in (three, one, floor)] == [10_000] * 3
    assert [each["epochs"] for each in (three, one, floor)] == [200, 200, 0]


def test_json_lists_all_differences() -> None:
    records, catalog = several()
    three, _, one, floor = json.loads(render_report(published_report(records, catalog), "json"))
    assert three["differences"] == floor["differences"] == ""
    assert set(one["differences"].split("; ")) == {
        *("images of cifar10-jpeg", "500 training images", "lr=0.01", "milestones=60;150", "svm pool=average")
    }
    assert three["note"] == "best, on test"


def test_json_names_the_cells() -> None:
    records, catalog = several()
    three, *_ = json.loads(render_report(published_report(records, catalog), "json"))
    assert three["cells"].split() == [record.short_id for record in records[:3]]


def test_smoke_record_is_in_no_format() -> None:
    records = [record_of(scored(0.2), state="smoke"), record_of(scored(0.8), seed=1)]
    catalog = catalog_of(published())
    (line,) = csv.DictReader(io.StringIO(render_report(published_report(records, catalog), "csv")))
    (row,) = json.loads(render_report(published_report(records, catalog), "json"))
    assert float(line["value"]) == row["value"] == 0.8
    assert rows(table_of(records, published()))[0]["seeds"] == "1"


def test_markdown_and_latex_hold_figures_and_differences() -> None:
    records, catalog = several()
    report = published_report(records, catalog)
    for form in ("md", "latex"):
        text = render_report(report, form)  # type: ignore[arg-type]  # both are valid statuses
        assert "0.9100 recalled" in text
        assert "svm pool=average" in text
        assert "ours and published on cifar10-jpeg[subset=500]" in text


@pytest.mark.parametrize("scores", [(scored(0.7), scored(0.6, "svm"))])
def test_rows_are_in_the_order_of_scores(scores: tuple[Score, ...]) -> None:
    figures = (published(evaluator="svm"), published())
    assert [row["evaluator"] for row in rows(table_of([record_of(*scores)], *figures))] == ["head", "svm"]
    assert [row["evaluator"] for row in rows(table_of([record_of(*scores[::-1])], *figures))] == ["svm", "head"]


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


def test_row_names_only_cells_with_the_score() -> None:
    records = [record_of(scored(), scored(tap="conv3")), record_of(scored(), seed=1)]
    _, row = json.loads(
        render_report(published_report(records, catalog_of(published(), published(tap="conv3"))), "json")
    )
    assert (row["seeds"], row["cells"]) == (1, records[0].short_id)
