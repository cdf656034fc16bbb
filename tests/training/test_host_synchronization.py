"""Within an epoch the host never waits for the device: nothing is read back between its first step and its end."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from host_reads import Watcher
from plain_training import CASES, STEPS, Case
from small_trainings import ReadsItsLoss
from torch import Tensor

from benchmark.progress import silent
from benchmark.training.batches import ResidentBatches
from benchmark.training.loop import Loop


class Surrounded:
    """A batch source: everything between the second batch of an epoch and its end happens inside of a context."""

    def __init__(self, images: Tensor, context: Callable[[], AbstractContextManager[Any]]) -> None:
        self.source, self.context, self.steps = ResidentBatches(images), context, 0

    def batches(self, order: Tensor, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        batches = self.source.batches(order, size, steps)
        yield next(batches)
        with self.context():
            for batch in batches:
                self.steps += 1
                yield batch


def steps_inside(
    case: Case,
    context: Callable[[], AbstractContextManager[Any]],
    build: Any = None,
    device: torch.device | None = None,
) -> int:
    """Trains with all steps after the first of an epoch inside of a context. Returns their number."""
    data, encoder = case.data(device), case.fresh_encoder().to(device or "cpu")
    source = Surrounded(data.images, context)
    with torch.random.fork_rng(devices=[] if device is None else [device]):
        Loop(case.task(build=build), data, encoder, silent, source).run()
    return source.steps


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adamw"])
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_read_back_between_the_first_step_of_an_epoch_and_its_end(name: str, optimizer: Any) -> None:
    watcher = Watcher()
    steps = steps_inside(CASES[name].with_recipe(optimizer=optimizer, clip=1.0), lambda: watcher)
    assert steps == 2 * (STEPS - 1)
    assert watcher.calls > 10 * steps
    assert watcher.reads == []


def test_method_that_reads_its_loss_is_detected() -> None:
    watcher = Watcher()
    steps_inside(CASES["rotation"], lambda: watcher, ReadsItsLoss)
    assert len(watcher.reads) == 2 * (STEPS - 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
@pytest.mark.parametrize("name", CASES)
def test_host_does_not_wait_for_a_gpu_between_the_first_step_of_an_epoch_and_its_end(name: str) -> None:
    @contextlib.contextmanager
    def no_waiting() -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that its debug mode does not detect everything
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    assert steps_inside(CASES[name], no_waiting, device=torch.device("cuda:0")) == 2 * (STEPS - 1)
