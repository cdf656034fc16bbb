"""The training that is measured: `benchmark.speed.timed_training`, `concurrent_training`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from speed_samples import CPU

from benchmark.api.catalog import Catalog, load_catalog
from benchmark.errors import TrainingError
from benchmark.speed.concurrent_training import concurrent_rate
from benchmark.speed.measure import SpeedOptions, plan_trainings
from benchmark.speed.measurement import MeasurementSettings
from benchmark.speed.timed_training import TimedTraining, load_training


def load(tmp_path: Path, catalog: Catalog, dataset: str = "digits") -> TimedTraining:
    """The training of rotation on dim_conv."""
    options = SpeedOptions(methods=("rotation",), encoders=("dim_conv",), datasets=(dataset,), data_dir=tmp_path)
    (planned,) = plan_trainings(options, catalog).cells
    training = load_training(planned.cell, catalog, tmp_path, MeasurementSettings(device=CPU, threads=1))
    assert training is not None
    return training


def test_training_uses_the_subset_of_a_dataset(tmp_path: Path) -> None:
    training = load(tmp_path, load_catalog(), "digits[subset=100]")
    assert training.cell.subset == 100
    assert len(training.images) == 100


def test_training_includes_unlabeled_images(tmp_path: Path) -> None:
    catalog = load_catalog()
    (entry,) = catalog.match(catalog.datasets, "dataset", "digits")

    def load_with_unlabeled(*arguments: Any) -> Any:
        data = entry.spec.load(*arguments)
        return dataclasses.replace(data, unlabeled=data.test.images)

    spec = dataclasses.replace(entry.spec, load=load_with_unlabeled)
    datasets = tuple(dataclasses.replace(each, spec=spec) if each is entry else each for each in catalog.datasets)
    training = load(tmp_path, dataclasses.replace(catalog, datasets=datasets))
    assert len(training.images) == 1437 + 360


@pytest.mark.slow
def test_failing_processes_end_the_measurement(tmp_path: Path) -> None:
    cell = load(tmp_path, load_catalog()).cell
    unknown = dataclasses.replace(cell, dataset=dataclasses.replace(cell.dataset, name="nowhere"))
    settings = MeasurementSettings(device=CPU, threads=1, rounds=1, min_seconds=0.01, processes=2)
    with pytest.raises(TrainingError, match="2 of 2 processes failed"):
        concurrent_rate(unknown, tmp_path, settings, 2)
