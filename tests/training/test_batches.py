"""Where batches come from: the same bytes in the same order whether images lie on the device or are streamed to it."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.api.catalog import load_catalog
from benchmark.api.cells import Job
from benchmark.api.grammar import parse_items
from benchmark.evaluation.trained_encoder import entry_of
from benchmark.execution.cell import run_cell
from benchmark.execution.plan import cell_folder, plan
from benchmark.execution.request import Request
from benchmark.records.record import Record, read_record
from benchmark.training import batches as feed_room
from benchmark.training.batches import (
    DEPTH,
    RESIDENT_SHARE,
    ResidentBatches,
    StreamedBatches,
    batch_source_for,
    fits_in_memory,
    free_memory,
)

CPU = torch.device("cpu")
COUNT = 23
PATIENCE = 10.0
"""Seconds that a thread may take for what it does at once; a machine under load is slow."""


def numbered(count: int = COUNT) -> Tensor:
    """Images (count, 2, 4, 3) in which every byte is told from its neighbors; image i holds i in its corner."""
    images = torch.arange(count * 24, dtype=torch.int64).mul_(37).remainder_(251).to(torch.uint8).view(count, 2, 4, 3)
    images[:, 0, 0, 0] = torch.arange(count)
    return images


def order_of(count: int = COUNT) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(3))


def kept(batches: Iterator[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    return [(raw.clone(), index.clone()) for raw, index in batches]


def threads_now() -> set[int]:
    return {each.ident for each in threading.enumerate() if each.ident is not None}


def until(condition: Callable[[], bool]) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


# --- the same bytes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "steps"),
    [(1, 1), (1, 23), (4, 5), (4, 6), (5, 2), (7, 4), (23, 1), (22, 2)],
    ids=["one", "each", "whole batches", "smaller last", "stopped early", "last of two", "all", "last of one"],
)
def test_both_feeds_give_the_images_of_the_order_step_by_step(size: int, steps: int) -> None:
    images, order = numbered(), order_of()
    pixels, places = images.numpy(), order.numpy()
    for feed in (ResidentBatches(images), StreamedBatches(images, CPU)):
        found = kept(feed.batches(order, size, steps))
        assert len(found) == steps
        for step, (raw, index) in enumerate(found):
            wanted = places[step * size : (step + 1) * size]
            assert raw.dtype == torch.uint8
            assert index.dtype == torch.int64
            np.testing.assert_array_equal(index.numpy(), wanted)
            np.testing.assert_array_equal(raw.numpy(), pixels[wanted])


def test_no_steps_are_no_batches() -> None:
    assert kept(ResidentBatches(numbered()).batches(order_of(), 4, 0)) == []
    assert kept(StreamedBatches(numbered(), CPU).batches(order_of(), 4, 0)) == []


def test_a_feed_goes_round_as_often_as_it_is_asked_to() -> None:
    feed = StreamedBatches(numbered(), CPU)
    first, second = (kept(feed.batches(order, 6, 4)) for order in (order_of(), order_of().flip(0)))
    assert torch.equal(torch.cat([index for _, index in first]), order_of())
    assert torch.equal(torch.cat([index for _, index in second]), order_of().flip(0))


@pytest.mark.parametrize("kind", ["memmap", "load"])
def test_images_that_are_mapped_from_a_file_are_streamed_as_they_are(tmp_path: Path, kind: str) -> None:
    images, order = numbered(), order_of()
    if kind == "memmap":
        written = np.memmap(tmp_path / "images.bin", dtype=np.uint8, mode="w+", shape=tuple(images.shape))
        written[:] = images.numpy()
        written.flush()
        mapped = np.memmap(tmp_path / "images.bin", dtype=np.uint8, mode="r+", shape=tuple(images.shape))
    else:
        np.save(tmp_path / "images.npy", images.numpy())
        mapped = np.load(tmp_path / "images.npy", mmap_mode="c")
    found = kept(StreamedBatches(torch.from_numpy(mapped), CPU).batches(order, 5, 5))
    assert torch.equal(torch.cat([raw for raw, _ in found]), images[order])


def test_images_of_which_not_every_byte_is_wanted_may_be_strided() -> None:
    wide = numbered(2 * COUNT)
    order = order_of()
    found = kept(StreamedBatches(wide[::2], CPU).batches(order, 8, 3))
    assert torch.equal(torch.cat([raw for raw, _ in found]), wide[::2][order])


# --- buffers ----------------------------------------------------------------------------------------------------------


def test_a_batch_stays_as_it_is_until_the_next_one_is_asked_for() -> None:
    images, order = numbered(), order_of()
    for step, (raw, index) in enumerate(StreamedBatches(images, CPU).batches(order, 2, 11)):
        time.sleep(0.01)  # the thread has long filled all other buffers
        wanted = order[2 * step : 2 * step + 2]
        assert torch.equal(index, wanted)
        assert torch.equal(raw, images[wanted])


def test_no_more_buffers_are_made_than_are_ahead() -> None:
    found = {raw.data_ptr() for raw, _ in StreamedBatches(numbered(), CPU).batches(order_of(), 2, 11)}
    assert 1 <= len(found) <= DEPTH


def test_what_is_done_to_a_batch_does_not_reach_the_images() -> None:
    for feed in (ResidentBatches(numbered()), StreamedBatches(numbered(), CPU)):
        for raw, _ in feed.batches(order_of(), 4, 5):
            raw.zero_()
        assert torch.equal(feed.images, numbered())


# --- the end ----------------------------------------------------------------------------------------------------------


def test_the_thread_ends_with_the_last_batch() -> None:
    before = threads_now()
    kept(StreamedBatches(numbered(), CPU).batches(order_of(), 4, 6))
    assert threads_now() <= before


@pytest.mark.parametrize("taken", [1, 2, 5])
def test_stopping_early_ends_the_thread(taken: int) -> None:
    before = threads_now()
    batches = StreamedBatches(numbered(), CPU).batches(order_of(), 2, 11)
    for _ in range(taken):
        next(batches)
    batches.close()  # type: ignore[attr-defined]  # it is a generator
    assert threads_now() <= before


def test_a_step_that_fails_ends_the_thread_and_is_what_the_caller_sees() -> None:
    before = threads_now()

    def train() -> None:
        for _, index in StreamedBatches(numbered(), CPU).batches(order_of(), 2, 11):
            raise ZeroDivisionError(str(index.tolist()))

    with pytest.raises(ZeroDivisionError):
        train()
    assert until(lambda: threads_now() <= before)


def test_a_feed_that_nobody_reads_starts_no_thread() -> None:
    before = threads_now()
    batches = StreamedBatches(numbered(), CPU).batches(order_of(), 2, 11)
    assert threads_now() <= before
    del batches


def test_an_error_while_reading_is_raised_where_batches_are_asked_for() -> None:
    before = threads_now()
    order = order_of()
    order[9] = COUNT + 5  # in the third batch of 4
    batches = StreamedBatches(numbered(), CPU).batches(order, 4, 5)
    assert torch.equal(next(batches)[1], order[:4])
    assert torch.equal(next(batches)[1], order[4:8])
    with pytest.raises((IndexError, RuntimeError), match="out of range"):
        next(batches)
    assert threads_now() <= before


def test_a_disk_that_fails_in_the_thread_is_told_by_the_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*given: Any, **named: Any) -> Tensor:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(feed_room.torch, "index_select", unreadable)
    with pytest.raises(OSError, match="Input/output error"):
        next(StreamedBatches(numbered(), CPU).batches(order_of(), 4, 5))


# --- which of them ----------------------------------------------------------------------------------------------------


def test_images_on_the_device_are_resident_and_all_others_are_streamed() -> None:
    images = numbered()
    assert isinstance(batch_source_for(images, CPU), ResidentBatches)
    assert isinstance(batch_source_for(images, CPU, streamed=True), StreamedBatches)
    assert isinstance(batch_source_for(images, torch.device("meta")), StreamedBatches)


def test_what_fits_is_half_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_room, "free_memory", lambda device: 1000)
    assert RESIDENT_SHARE == 0.5
    assert [fits_in_memory(size, CPU) for size in (0, 500, 501, 10**12)] == [True, True, False, False]


def test_free_memory_is_what_the_system_says_in_bytes() -> None:
    path = Path("/proc/meminfo")
    if not path.exists():
        assert free_memory(CPU) == 2**62
        return
    said = dict(line.split(":") for line in path.read_text().splitlines())
    total = int(said["MemTotal"].split()[0]) * 1024
    assert 0 < free_memory(CPU) <= total
    assert free_memory(CPU) % 1024 == 0


@pytest.mark.parametrize(
    "text",
    [
        None,
        "MemAvailable: lots\n",
        pytest.param("MemTotal: 12 kB\n"),
        pytest.param(""),
    ],
    ids=["no file", "no number", "no such line", "empty"],
)
def test_where_free_memory_cannot_be_asked_there_is_no_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "meminfo").write_text(text)
    monkeypatch.setattr(feed_room, "Path", lambda asked: tmp_path / "meminfo")
    assert free_memory(CPU) == 2**62


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
def test_a_gpu_is_given_the_same_bytes_from_pinned_memory() -> None:
    images, order = numbered(), order_of()
    device = torch.device("cuda:0")
    found = kept(StreamedBatches(images, device).batches(order, 4, 6))
    assert {raw.device for raw, _ in found} == {device}
    assert torch.equal(torch.cat([raw for raw, _ in found]).cpu(), images[order])
    assert torch.equal(torch.cat([index for _, index in found]).cpu(), order)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
def test_what_is_free_on_a_gpu_is_less_than_all_of_it() -> None:
    device = torch.device("cuda:0")
    assert 0 < free_memory(device) <= torch.cuda.get_device_properties(device).total_memory


# --- a whole cell -----------------------------------------------------------------------------------------------------

JobMaker = Callable[..., Job]


@pytest.fixture
def job(third_party: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobMaker:
    """A job of one method on the third-party encoder and dataset, in an output folder of its own."""
    monkeypatch.setenv("BENCH_PLUGINS", "third_party,rotation,dim,probes,heads")

    def make(out: str, method: str = "mean_color", evaluators: str = "centroid", **request: Any) -> Job:
        asked = Request(
            methods=parse_items([method]),
            encoders=parse_items(["tiny"]),
            datasets=parse_items([request.pop("datasets", "stripes")]),
            evaluators=parse_items([evaluators]),
            epochs=2,
            floors=False,
            data_dir=tmp_path / "data",
            **request,
        )
        (planned,) = plan(asked, load_catalog()).cells
        return Job(
            cell=planned.cell,
            scores=planned.scores,
            data_dir=str(tmp_path / "data"),
            out_dir=str(tmp_path / out),
            folder=cell_folder(planned.cell),
        )

    return make


def ran(job: Job) -> tuple[Record, str, dict[str, np.ndarray[Any, Any]]]:
    """The record, what the weights hash to, and the outcomes of each image."""
    outcome = run_cell(job)
    assert outcome.state == "done", outcome.traceback
    folder = Path(job.out_dir) / job.folder
    with np.load(folder / "predictions.npz", allow_pickle=False) as file:
        arrays = dict(file)
    return read_record(folder), hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(), arrays


@pytest.fixture
def feeds_used(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of feed that a training asked for, in order."""
    from benchmark.training import loop as train_room

    used: list[str] = []
    real = feed_room.batch_source_for

    def watched(*given: Any, **named: Any) -> Any:
        found = real(*given, **named)
        used.append(type(found).__name__)
        return found

    monkeypatch.setattr(train_room, "feed_for", watched)
    return used


def assert_same_cell(job: JobMaker, monkeypatch: pytest.MonkeyPatch, feeds_used: list[str], **request: Any) -> Record:
    """Runs it twice, with images that fit and with images that do not, and compares all that can be compared."""
    monkeypatch.setattr(cells, "fits", lambda size, device: True)
    record, weights, arrays = ran(job("resident", **request))
    monkeypatch.setattr(cells, "fits", lambda size, device: False)
    streamed, streamed_weights, streamed_arrays = ran(job("streamed", **request))
    assert feeds_used == ["Resident", "Streamed"]
    assert streamed_weights == weights
    assert streamed.id == record.id
    assert streamed.scores == record.scores
    assert streamed.checks == record.checks
    assert sorted(streamed_arrays) == sorted(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(streamed_arrays[name], array)
    return streamed


def test_a_cell_that_is_too_large_for_the_device_scores_the_same(
    job: JobMaker, monkeypatch: pytest.MonkeyPatch, feeds_used: list[str]
) -> None:
    record = assert_same_cell(job, monkeypatch, feeds_used)
    assert len(record.scores) == 2


def test_a_part_of_a_dataset_is_streamed_as_well(
    job: JobMaker, monkeypatch: pytest.MonkeyPatch, feeds_used: list[str]
) -> None:
    record = assert_same_cell(job, monkeypatch, feeds_used, datasets="stripes[subset=32]")
    assert record.cost["images_seen"] == 64


def test_every_shipped_evaluator_scores_a_streamed_cell_the_same(
    job: JobMaker, monkeypatch: pytest.MonkeyPatch, feeds_used: list[str]
) -> None:
    record = assert_same_cell(
        job,
        monkeypatch,
        feeds_used,
        method="rotation",
        evaluators="linear,knn[k=3],retrieval,fc1[epochs=2],conv[epochs=2],svm,mlp[epochs=2]",
        taps=("conv",),
    )
    names = {score.evaluator.partition("[")[0] for score in record.scores}
    assert names == {"linear", "knn", "retrieval", "fc1", "conv", "svm", "mlp"}


def test_a_read_only_array_that_does_not_fit_is_trained_on_without_a_warning(
    job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job("read-only")
    dataset = entry_of(load_catalog(), "datasets", "dataset", made.cell.dataset).spec
    real = dataset.load

    def frozen(*given: Any) -> Any:
        data = real(*given)
        for part in (data.train.images, data.test.images):
            part.flags.writeable = False
        return data

    watched = dataclasses.replace(dataset, load=frozen)
    entry = entry_of

    def patched(catalog: Any, kind: str, singular: str, item: Any) -> Any:
        found = entry(catalog, kind, singular, item)
        return dataclasses.replace(found, spec=watched) if kind == "datasets" else found

    monkeypatch.setattr(cells, "entry_of", patched)
    monkeypatch.setattr(cells, "fits", lambda size, device: False)
    assert ran(made)[0].state == "done"
