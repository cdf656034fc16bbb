"""Loading a cell's dataset: subsets, normalization, and images that do not fit on the device."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sample_jobs import folder_of, run_done, third_party_job

import benchmark
from benchmark.evaluation.cell_data import CellData, load_data
from benchmark.images import channel_statistics, stratified_subset
from benchmark.records.record import Record
from benchmark.training import loop, memory

CPU = torch.device("cpu")


def split_of(count: int, seed: int) -> benchmark.Split:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)
    return benchmark.Split(images=images, labels=np.arange(count) % 3)


def dataset(unlabeled: int | None = None) -> benchmark.Dataset:
    return benchmark.Dataset(
        train=split_of(30, 0),
        test=split_of(12, 1),
        class_names=("a", "b", "c"),
        unlabeled=None if unlabeled is None else split_of(unlabeled, 2).images,
    )


def loaded(data: benchmark.Dataset, *, subset: int | None = None, fits: Any = None) -> CellData:
    def describe(params: object, data_dir: Path) -> benchmark.DatasetInfo:
        raise AssertionError("describe is not needed to load")

    spec = benchmark.DatasetSpec(name="made", summary="", describe=describe, load=lambda params, data_dir: data)
    return load_data(spec, spec.params(), Path("data"), subset=subset, device=CPU, fits=fits)


@pytest.mark.parametrize("fits", [None, lambda size: True, lambda size: False], ids=["default", "fits", "streamed"])
def test_data_are_the_images_and_labels_of_the_dataset(fits: Any) -> None:
    source = dataset(unlabeled=5)
    data = loaded(source, fits=fits)
    for images, array in (
        (data.train.images, source.train.images),
        (data.test.images, source.test.images),
        (data.unlabeled, source.unlabeled),
    ):
        assert images is not None
        assert images.dtype == torch.uint8
        np.testing.assert_array_equal(images.numpy(), array)
    assert data.train.labels.dtype == data.test.labels.dtype == torch.int64
    np.testing.assert_array_equal(data.train.labels.numpy(), source.train.labels)
    np.testing.assert_array_equal(data.test.labels.numpy(), source.test.labels)
    assert data.class_names == ("a", "b", "c")
    assert data.streamed == (fits is not None and not fits(0))


def test_size_that_must_fit_is_that_of_all_images() -> None:
    sizes: list[int] = []
    loaded(dataset(unlabeled=5), fits=lambda size: sizes.append(size) or True)  # type: ignore[func-returns-value]
    assert sizes == [(30 + 12 + 5) * 3 * 4 * 4]


def test_images_that_fit_are_copied() -> None:
    source = dataset()
    data = loaded(source)
    data.train.images.zero_()
    assert source.train.images.any()


@pytest.mark.parametrize("layout", ["writable", "read-only", "strided"])
def test_images_that_do_not_fit_are_used_without_a_warning(layout: str) -> None:
    source = dataset()
    images: NDArray[np.uint8] = source.train.images
    if layout == "strided":
        images = images[::-1]
    images.flags.writeable = layout != "read-only"
    data = dataclasses.replace(source, train=dataclasses.replace(source.train, images=images))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = loaded(data, fits=lambda size: False)
    np.testing.assert_array_equal(result.train.images.numpy(), images)


def test_subset_keeps_some_training_images_and_all_test_images() -> None:
    source, data = dataset(unlabeled=5), loaded(dataset(unlabeled=5), subset=9)
    chosen = stratified_subset(torch.from_numpy(source.train.labels), 9).numpy()
    np.testing.assert_array_equal(data.train.images.numpy(), source.train.images[chosen])
    np.testing.assert_array_equal(data.train.labels.numpy(), source.train.labels[chosen])
    assert len(data.test.images) == 12
    assert data.unlabeled is not None
    assert len(data.unlabeled) == 5


@pytest.mark.parametrize(("labels", "unlabeled", "count"), [("none", 5, 35), ("all", 5, 30), ("none", None, 30)])
def test_unlabeled_images_are_trained_on_by_methods_without_labels(
    labels: str, unlabeled: int | None, count: int
) -> None:
    data = loaded(dataset(unlabeled=unlabeled))
    images = data.images_to_train_on(labels)
    assert len(images) == count
    assert torch.equal(images[:30], data.train.images)
    if count == 35:
        assert data.unlabeled is not None
        assert torch.equal(images[30:], data.unlabeled)


def test_normalization_is_that_of_the_training_images_unless_the_recipe_has_one() -> None:
    data = loaded(dataset(unlabeled=5), subset=9)
    mean, std = channel_statistics(data.train.images)
    own = (0.1, 0.2, 0.3)
    assert data.normalization(benchmark.Recipe()) == (mean, std)
    assert data.normalization(benchmark.Recipe(mean=own)) == (own, std)
    assert data.normalization(benchmark.Recipe(std=own)) == (mean, own)
    assert data.normalization(benchmark.Recipe(mean=own, std=own)) == (own, own)


# --- a whole cell -----------------------------------------------------------------------------------------------------

Outcome = tuple[Record, bytes, dict[str, NDArray[Any]]]


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of batch sources that trainings use, in order."""
    used: list[str] = []
    real = loop.batch_source_for

    def watched(*arguments: Any, **named: Any) -> Any:
        source = real(*arguments, **named)
        used.append(type(source).__name__)
        return source

    monkeypatch.setattr(loop, "batch_source_for", watched)
    return used


def run_cell_with(monkeypatch: pytest.MonkeyPatch, free: int, out: Path, method: str, **request: Any) -> Outcome:
    """The record, the weights and the predictions of a cell, on a device with so many free bytes."""
    monkeypatch.setattr(memory, "free_memory", lambda device: free)
    job = third_party_job(out, method, data_dir=out.parent / "data", **request)
    record = run_done(job)
    with np.load(folder_of(job) / "predictions.npz", allow_pickle=False) as file:
        return record, (folder_of(job) / "model.safetensors").read_bytes(), dict(file)


@pytest.mark.parametrize(
    ("method", "request_", "scores"),
    [
        ("mean_color", {}, 2),
        ("mean_color", {"datasets": "stripes[subset=32]"}, 2),
        (
            "rotation",
            {
                "evaluators": "linear,knn[k=3],retrieval,fc1[epochs=2],conv[epochs=2],svm,mlp[epochs=2]",
                "taps": ("conv",),
            },
            None,
        ),
    ],
    ids=["whole dataset", "subset", "all evaluators"],
)
def test_streamed_cell_has_the_weights_scores_and_predictions_of_a_resident_one(
    installed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sources: list[str],
    method: str,
    request_: dict[str, Any],
    scores: int | None,
) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", "third_party,rotation,dim,probes,heads")
    resident, weights, arrays = run_cell_with(monkeypatch, 2**40, tmp_path / "resident", method, epochs=2, **request_)
    streamed, streamed_weights, streamed_arrays = run_cell_with(
        monkeypatch, 0, tmp_path / "streamed", method, epochs=2, **request_
    )
    assert sources == ["ResidentBatches", "StreamedBatches"]
    assert streamed_weights == weights
    assert (streamed.id, streamed.scores, streamed.checks) == (resident.id, resident.scores, resident.checks)
    assert sorted(streamed_arrays) == sorted(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(streamed_arrays[name], array)
    names = {score.evaluator.partition("[")[0] for score in streamed.scores}
    assert scores is None or len(streamed.scores) == scores
    assert scores is not None or names == {"linear", "knn", "retrieval", "fc1", "conv", "svm", "mlp"}
