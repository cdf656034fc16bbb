"""Estimates: what is most like a cell counts, medians of it, and nothing is said where nothing is known."""

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
from benchmark.records.record import Record, write_record

IMAGES = {"f" * 64: 1000}
"""The dataset of the planned cells has a thousand training images."""


def cell(method: str = "aet", encoder: str = "resnet18", dataset: str = "digits", **changes: Any) -> Cell:
    """A planned one: two epochs of a thousand images."""
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
    """A finished one: 6 epochs of a thousand images, `rate` seconds for each image."""
    cost = {"train_seconds": rate * images, "images_seen": images, "peak_memory_bytes": memory}
    if scoring is not None:
        cost["evaluate_seconds"] = scoring
    return sample_record(*labels, cost=cost, recipe={"epochs": 6, "batch": 64}, **changes)


def estimates(*records: Record, device: str = "cpu") -> Estimates:
    return Estimates(columns_of(records).summaries, device, IMAGES)


def test_seconds_are_those_of_an_image_times_epochs_and_images_and_those_of_scoring() -> None:
    assert estimates(record()).guess(cell())[0] == pytest.approx(0.01 * 1000 * 2 + 5)


def test_medians_count_and_not_means() -> None:
    found = estimates(*(record(rate=rate, scoring=scoring) for rate, scoring in ((0.01, 1), (0.02, 2), (9.0, 900))))
    assert found.guess(cell())[0] == pytest.approx(0.02 * 2000 + 2)


def test_the_most_alike_is_asked_first() -> None:
    others = [
        record("aet[loss=image]", "resnet18", "photos", rate=0.02),
        record("dim", "resnet18", "digits", rate=0.03),
    ]
    assert estimates(*others, record()).guess(cell())[0] == pytest.approx(25)
    assert estimates(*others).guess(cell())[0] == pytest.approx(45)
    assert estimates(others[1]).guess(cell())[0] == pytest.approx(65)
    assert estimates(record("dim", "blocknet", "digits")).guess(cell()) == (None, None)


@pytest.mark.parametrize("state", ["failed", "interrupted", "smoke"])
def test_only_what_is_done_counts(state: str) -> None:
    assert estimates(record(state=state)).guess(cell()) == (None, None)


def test_another_kind_of_device_says_nothing() -> None:
    assert estimates(record(), device="cuda").guess(cell()) == (None, None)
    on_gpu = {"device": "cuda", "device_name": "H100", "versions": {}}
    assert estimates(record(provenance=on_gpu), device="cuda").guess(cell())[0] == pytest.approx(25)
    assert estimates(record(provenance=on_gpu)).guess(cell()) == (None, None)


def test_a_subset_and_another_dataset_have_their_own_number_of_images() -> None:
    found = estimates(record())
    assert found.guess(cell(dataset="digits[subset=50]", subset=50))[0] == pytest.approx(0.01 * 50 * 2 + 5)
    assert found.guess(cell(dataset="unheard of", fingerprint="e" * 64)) == (None, None)


def test_a_method_that_saw_more_images_than_are_labeled_will_again() -> None:
    assert estimates(record(images=60_000)).guess(cell())[0] == pytest.approx(0.01 * 10_000 * 2 + 5)


def test_what_is_not_trained_takes_the_time_of_its_scores() -> None:
    floor = cell("pixels", "-", recipe=Recipe(epochs=0))
    assert estimates(record("pixels", "-", images=0, scoring=7)).guess(floor)[0] == pytest.approx(7)
    assert estimates(record("pixels", "-", images=0, scoring=None)).guess(floor)[0] is None


def test_a_record_that_does_not_say_how_long_scoring_took_still_tells_of_training() -> None:
    assert estimates(record(scoring=None)).guess(cell())[0] == pytest.approx(20)


def test_smoke_is_not_estimated() -> None:
    assert estimates(record()).guess(cell(smoke=True)) == (None, None)


def test_memory_is_the_most_that_the_same_cell_held_with_the_same_batch() -> None:
    found = estimates(record(memory=100), record(memory=300, seed=1), record("dim", memory=900))
    assert found.guess(cell())[1] == 300
    assert found.guess(cell(recipe=Recipe(epochs=2, batch=128)))[1] is None
    assert found.guess(cell(dataset="photos"))[1] is None


def test_a_cell_that_only_lacks_scores_is_not_trained_again() -> None:
    found, planned = estimates(record()), cell()

    def seconds(standing: str, retrain: bool = False) -> float | None:
        return found.seconds(SimpleNamespace(cell=planned, standing=standing, retrain=retrain))  # type: ignore[arg-type]  # all that is asked of an errand

    assert seconds("scores missing") == pytest.approx(5)
    assert seconds("scores missing", retrain=True) == seconds("new") == pytest.approx(25)


def test_records_without_any_cost_say_nothing_and_harm_nothing() -> None:
    assert estimates(sample_record(cost={})).guess(cell()) == (None, None)


def test_the_index_keeps_all_that_is_needed(tmp_path: Path) -> None:
    write_record(tmp_path / "cell", record())
    for _ in range(2):
        columns, _ = index.read(tmp_path)
        assert Estimates(columns.summaries, "cpu", IMAGES).guess(cell()) == (pytest.approx(25), 100)
    assert dataclasses.replace(columns.summaries[0], folder="") == columns_of([record()]).summaries[0]


@pytest.mark.parametrize(("slots", "seconds"), [(1, 19), (2, 10), (3, 10), (100, 10)])
def test_no_schedule_is_shorter_than_its_longest_cell_nor_than_its_share(slots: int, seconds: float) -> None:
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
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert as_words(seconds) == words
