"""Within an epoch the host never waits for the device: nothing is read back between its first step and its end."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from plain_training import CASES, STEPS, Case
from small_trainings import MeanColor
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import benchmark
from benchmark.progress import silent
from benchmark.training.batches import ResidentBatches
from benchmark.training.loop import Loop

READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique")
"""Operations whose result the host waits for. `.item()`, `float()`, `bool()`, `if` and masks use them."""


class Reads(TorchDispatchMode):
    """Lists the operations that would make the host wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        if func._schema.name.partition("::")[2] in READS:
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))


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
    reads = Reads()
    steps = steps_inside(CASES[name].with_recipe(optimizer=optimizer, clip=1.0), lambda: reads)
    assert steps == 2 * (STEPS - 1)
    assert reads.calls > 10 * steps
    assert reads.names == []


class ReadsItsLoss(MeanColor):
    """A method that reads its loss on the host."""

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        losses = super().loss(batch)
        losses.total.item()
        return losses


def test_method_that_reads_its_loss_is_detected() -> None:
    reads = Reads()
    steps_inside(CASES["rotation"], lambda: reads, ReadsItsLoss)
    assert len(reads.names) == 2 * (STEPS - 1)


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
