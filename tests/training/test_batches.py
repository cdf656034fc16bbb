"""Sources of batches: resident and streamed batches have the same bytes in the same order, and threads end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.training.batches import PREFETCHED_BATCHES, ResidentBatches, StreamedBatches, batch_source_for

CPU = torch.device("cpu")
COUNT = 23
PATIENCE = 10.0
"""Seconds to wait for a thread on a loaded machine."""


def numbered(count: int = COUNT) -> Tensor:
    """Images (count, 2, 4, 3) in which neighboring bytes differ; image i holds i in its corner."""
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
    """Whether a condition became true in time."""
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
def test_sources_yield_the_images_of_the_order_step_by_step(size: int, steps: int) -> None:
    images, order = numbered(), order_of()
    pixels, positions = images.numpy(), order.numpy()
    for source in (ResidentBatches(images), StreamedBatches(images, CPU)):
        batches = kept(source.batches(order, size, steps))
        assert len(batches) == steps
        for step, (raw, index) in enumerate(batches):
            expected = positions[step * size : (step + 1) * size]
            assert raw.dtype == torch.uint8
            assert index.dtype == torch.int64
            np.testing.assert_array_equal(index.numpy(), expected)
            np.testing.assert_array_equal(raw.numpy(), pixels[expected])


def test_no_steps_give_no_batches() -> None:
    assert kept(ResidentBatches(numbered()).batches(order_of(), 4, 0)) == []
    assert kept(StreamedBatches(numbered(), CPU).batches(order_of(), 4, 0)) == []


def test_streamed_source_serves_several_epochs() -> None:
    source = StreamedBatches(numbered(), CPU)
    first, second = (kept(source.batches(order, 6, 4)) for order in (order_of(), order_of().flip(0)))
    assert torch.equal(torch.cat([index for _, index in first]), order_of())
    assert torch.equal(torch.cat([index for _, index in second]), order_of().flip(0))


@pytest.mark.parametrize("kind", ["memmap", "load"])
def test_memory_mapped_images_are_streamed(tmp_path: Path, kind: str) -> None:
    images, order = numbered(), order_of()
    if kind == "memmap":
        written = np.memmap(tmp_path / "images.bin", dtype=np.uint8, mode="w+", shape=tuple(images.shape))
        written[:] = images.numpy()
        written.flush()
        mapped = np.memmap(tmp_path / "images.bin", dtype=np.uint8, mode="r+", shape=tuple(images.shape))
    else:
        np.save(tmp_path / "images.npy", images.numpy())
        mapped = np.load(tmp_path / "images.npy", mmap_mode="c")
    batches = kept(StreamedBatches(torch.from_numpy(mapped), CPU).batches(order, 5, 5))
    assert torch.equal(torch.cat([raw for raw, _ in batches]), images[order])


def test_strided_images_are_streamed() -> None:
    wide = numbered(2 * COUNT)
    order = order_of()
    batches = kept(StreamedBatches(wide[::2], CPU).batches(order, 8, 3))
    assert torch.equal(torch.cat([raw for raw, _ in batches]), wide[::2][order])


# --- buffers ----------------------------------------------------------------------------------------------------------


def test_batch_is_valid_until_the_next_one_is_requested() -> None:
    images, order = numbered(), order_of()
    for step, (raw, index) in enumerate(StreamedBatches(images, CPU).batches(order, 2, 11)):
        time.sleep(0.01)  # the thread fills all other buffers meanwhile
        expected = order[2 * step : 2 * step + 2]
        assert torch.equal(index, expected)
        assert torch.equal(raw, images[expected])


def test_streamed_source_uses_a_fixed_number_of_buffers() -> None:
    addresses = {raw.data_ptr() for raw, _ in StreamedBatches(numbered(), CPU).batches(order_of(), 2, 11)}
    assert 1 <= len(addresses) <= PREFETCHED_BATCHES


def test_changes_of_a_batch_do_not_reach_the_images() -> None:
    for source in (ResidentBatches(numbered()), StreamedBatches(numbered(), CPU)):
        for raw, _ in source.batches(order_of(), 4, 5):
            raw.zero_()
        assert torch.equal(source.images, numbered())


# --- the end ----------------------------------------------------------------------------------------------------------


def test_thread_ends_after_the_last_batch() -> None:
    before = threads_now()
    kept(StreamedBatches(numbered(), CPU).batches(order_of(), 4, 6))
    assert threads_now() <= before


@pytest.mark.parametrize("taken", [1, 2, 5])
def test_thread_ends_if_the_caller_stops_early(taken: int) -> None:
    before = threads_now()
    batches = StreamedBatches(numbered(), CPU).batches(order_of(), 2, 11)
    for _ in range(taken):
        next(batches)
    batches.close()  # type: ignore[attr-defined]  # it is a generator
    assert threads_now() <= before


def test_thread_ends_if_a_step_fails() -> None:
    before = threads_now()

    def train() -> None:
        for _, index in StreamedBatches(numbered(), CPU).batches(order_of(), 2, 11):
            raise ZeroDivisionError(str(index.tolist()))

    with pytest.raises(ZeroDivisionError):
        train()
    assert until(lambda: threads_now() <= before)


def test_thread_starts_with_the_first_batch() -> None:
    before = threads_now()
    batches = StreamedBatches(numbered(), CPU).batches(order_of(), 2, 11)
    assert threads_now() <= before
    del batches


def test_error_of_the_thread_is_raised_in_the_caller() -> None:
    before = threads_now()
    order = order_of()
    order[9] = COUNT + 5  # in the third batch of 4
    batches = StreamedBatches(numbered(), CPU).batches(order, 4, 5)
    assert torch.equal(next(batches)[1], order[:4])
    assert torch.equal(next(batches)[1], order[4:8])
    with pytest.raises((IndexError, RuntimeError), match="out of range"):
        next(batches)
    assert threads_now() <= before


def test_disk_error_in_the_thread_is_raised_in_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*arguments: Any, **named: Any) -> Tensor:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(torch, "index_select", unreadable)
    with pytest.raises(OSError, match="Input/output error"):
        next(StreamedBatches(numbered(), CPU).batches(order_of(), 4, 5))


# --- the choice -------------------------------------------------------------------------------------------------------


def test_source_is_resident_for_images_on_the_device_and_streamed_otherwise() -> None:
    images = numbered()
    assert isinstance(batch_source_for(images, CPU), ResidentBatches)
    assert isinstance(batch_source_for(images, CPU, streamed=True), StreamedBatches)
    assert isinstance(batch_source_for(images, torch.device("meta")), StreamedBatches)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
def test_gpu_receives_the_same_bytes() -> None:
    images, order = numbered(), order_of()
    device = torch.device("cuda:0")
    batches = kept(StreamedBatches(images, device).batches(order, 4, 6))
    assert {raw.device for raw, _ in batches} == {device}
    assert torch.equal(torch.cat([raw for raw, _ in batches]).cpu(), images[order])
    assert torch.equal(torch.cat([index for _, index in batches]).cpu(), order)
