"""Estimates of time and memory from past records."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sample_records import sample_record

from benchmark.api.cells import Cell, Item
from benchmark.api.recipes import Recipe
from benchmark.execution.estimates import Estimates, as_words, on_slots
from benchmark.records import index
from benchmark.records.columns import columns_of
from benchmark.records.record import Record
from benchmark.records.record_files import write_record

IMAGES = {"f" * 64: 1000}
"""The dataset of the planned cells has a thousand training images."""


def cell(method: str = "aet", encoder: str = "resnet18", dataset: str = "digits", **changes: Any) -> Cell:
    """A planned cell: two epochs of a thousand images."""
    items = {
        kind: Item(name=label.partition("[")[0], label=label)
        for kind, label in zip("med", (method, encoder, dataset), strict=True)
    }
    fields: dict[str, Any] = {
        **{"id": "0" * 64, "method": items["m"], "encoder": items["e"], "dataset": items["d"]},
        **{"fingerprint": "f" * 64, "subset": None, "seed": 0, "recipe": Recipe(epochs=2, batch=64)},
    }
    return Cell(**{**fields, **changes})


def record(
    *labels: str, rate: float = 0.01, images: int = 6000, scoring: float | None = 5.0, memory: int = 100, **changes: Any
) -> Record:
    """A finished cell: 6 epochs of a thousand images, `rate` seconds per image."""
    cost = {"train_seconds": rate * images, "images_seen": images, "peak_memory_bytes": memory}
    if scoring is not None:
        cost["evaluate_seconds"] = scoring
    return sample_record(*labels, cost=cost, recipe={"epochs": 6, "batch": 64}, **changes)


def estimates(*records: Record, device: str = "cpu") -> Estimates:
    return Estimates(columns_of(records).summaries, device, IMAGES)


def test_cost_is_train_rate_times_images_and_epochs_plus_scoring() -> None:
    assert estimates(record()).cost(cell())[0] == pytest.approx(0.01 * 1000 * 2 + 5)


def test_cost_is_a_median_over_records() -> None:
    known = estimates(*(record(rate=rate, scoring=scoring) for rate, scoring in ((0.01, 1), (0.02, 2), (9.0, 900))))
    assert known.cost(cell())[0] == pytest.approx(0.02 * 2000 + 2)


def test_cost_comes_from_the_most_similar_records() -> None:
    others = [
        record("aet[loss=image]", "resnet18", "photos", rate=0.02),
        record("dim", "resnet18", "digits", rate=0.03),
    ]
    assert estimates(*others, record()).cost(cell())[0] == pytest.approx(25)
    assert estimates(*others).cost(cell())[0] == pytest.approx(45)
    assert estimates(others[1]).cost(cell())[0] == pytest.approx(65)
    assert estimates(record("dim", "blocknet", "digits")).cost(cell()) == (None, None)


@pytest.mark.parametrize("state", ["failed", "interrupted", "smoke"])
def test_cost_ignores_records_that_are_not_done(state: str) -> None:
    assert estimates(record(state=state)).cost(cell()) == (None, None)


def test_cost_ignores_records_of_another_kind_of_device() -> None:
    assert estimates(record(), device="cuda").cost(cell()) == (None, None)
    on_gpu = {"device": "cuda", "device_name": "H100", "versions": {}}
    assert estimates(record(provenance=on_gpu), device="cuda").cost(cell())[0] == pytest.approx(25)
    assert estimates(record(provenance=on_gpu)).cost(cell()) == (None, None)


def test_cost_uses_the_number_of_images_of_subset_and_dataset() -> None:
    known = estimates(record())
    assert known.cost(cell(dataset="digits[subset=50]", subset=50))[0] == pytest.approx(0.01 * 50 * 2 + 5)
    assert known.cost(cell(dataset="unknown", fingerprint="e" * 64)) == (None, None)


def test_cost_uses_the_images_that_the_method_has_seen() -> None:
    assert estimates(record(images=60_000)).cost(cell())[0] == pytest.approx(0.01 * 10_000 * 2 + 5)


def test_cost_of_a_method_without_training_is_its_scoring() -> None:
    floor = cell("pixels", "-", recipe=Recipe(epochs=0))
    assert estimates(record("pixels", "-", images=0, scoring=7)).cost(floor)[0] == pytest.approx(7)
    assert estimates(record("pixels", "-", images=0, scoring=None)).cost(floor)[0] is None


def test_cost_without_a_scoring_time_is_the_training() -> None:
    assert estimates(record(scoring=None)).cost(cell())[0] == pytest.approx(20)


def test_cost_of_a_smoke_cell_is_unknown() -> None:
    assert estimates(record()).cost(cell(smoke=True)) == (None, None)


def test_memory_is_the_maximum_of_the_same_cell_and_batch() -> None:
    known = estimates(record(memory=100), record(memory=300, seed=1), record("dim", memory=900))
    assert known.cost(cell())[1] == 300
    assert known.cost(cell(recipe=Recipe(epochs=2, batch=128)))[1] is None
    assert known.cost(cell(dataset="photos"))[1] is None


def test_seconds_of_a_cell_that_only_lacks_scores_leave_out_the_training() -> None:
    known, planned = estimates(record()), cell()

    def seconds(state: str, retrain: bool = False) -> float | None:
        return known.seconds(SimpleNamespace(cell=planned, state=state, retrain=retrain))  # type: ignore[arg-type]  # only these fields are read

    assert seconds("scores missing") == pytest.approx(5)
    assert seconds("scores missing", retrain=True) == seconds("new") == pytest.approx(25)


def test_cost_ignores_records_without_costs() -> None:
    assert estimates(sample_record(cost={})).cost(cell()) == (None, None)


def test_index_holds_everything_that_estimates_need(tmp_path: Path) -> None:
    write_record(tmp_path / "cell", record())
    for _ in range(2):
        columns, _ = index.read(tmp_path)
        assert Estimates(columns.summaries, "cpu", IMAGES).cost(cell()) == (pytest.approx(25), 100)
    assert dataclasses.replace(columns.summaries[0], folder="") == columns_of([record()]).summaries[0]


@pytest.mark.parametrize(("slots", "seconds"), [(1, 19), (2, 10), (3, 10), (100, 10)])
def test_on_slots_is_the_longest_cell_or_the_mean_load(slots: int, seconds: float) -> None:
    assert on_slots([10, 4, 5], slots) == seconds
    assert on_slots([], slots) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.25, "0.2 s"),
        (9.5, "9.5 s"),
        (89, "89 s"),
        (90, "1.5 min"),
        (3599, "60 min"),
        (5400, "1.5 h"),
        (1e7, "2,778 h"),
    ],
)
def test_as_words_writes_times_for_people(seconds: float, words: str) -> None:
    assert as_words(seconds) == words
