"""What `bench speed` measures besides training: the device's ceilings, evaluators on made features, start-up."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmark.api.catalog import Catalog
from benchmark.api.cells import Cell, Item, Job, ScoreRequest
from benchmark.api.encoders import Layout, Pool, Tap
from benchmark.api.evaluators import EvaluatorSpec
from benchmark.api.executors import ExecutorContext
from benchmark.api.recipes import Recipe
from benchmark.errors import UnsupportedError
from benchmark.evaluation.evaluate import LabeledImages, Subject, evaluate
from benchmark.progress import Event
from benchmark.speed import timing
from benchmark.speed.timing import DeviceLimits, TimedCall
from benchmark.speed.training import TrainingSettings, TrainingTimes

STARTS = 4
"""Cells that are started to see how long it takes; the first pays for the fork server."""

# --- evaluators -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of the features that evaluators are timed on."""

    train: int = 50_000
    test: int = 10_000
    width: int = 512
    classes: int = 10


class _Synthetic:
    """Features that overlap by class as those of an encoder do: a mixture in 64 dimensions, turned, with noise, rectified.

    Args:
        size: how many and how wide.
        device: where they lie.
    """

    def __init__(self, size: Size, device: torch.device) -> None:
        tap = Tap(name="synthetic", kind="vector", shape=(size.width,))
        self.layout = Layout(taps=(tap,), output="synthetic", probe="synthetic", local=None)
        chance = torch.Generator().manual_seed(0)
        centers = 0.35 * torch.randn(size.classes, 64, generator=chance)
        turn = torch.randn(64, size.width, generator=chance) / 8
        self.labels: dict[str, Tensor] = {}
        self.features: dict[str, Tensor] = {}
        for split, count in (("train", size.train), ("test", size.test)):
            labels = torch.randint(size.classes, (count,), generator=chance)
            features = torch.empty(count, size.width)
            for start in range(0, count, 5000):
                block = labels[start : start + 5000]
                inner = centers[block] + torch.randn(len(block), 64, generator=chance)
                noise = 0.5 * torch.randn(len(block), size.width, generator=chance)
                features[start : start + 5000] = (inner @ turn + noise).relu_()
            self.labels[split], self.features[split] = labels.to(device), features.to(device)

    def read(self, split: str, tap: str, pool: Pool) -> Tensor:
        """(N, D) float32 of a split.

        Raises:
            UnsupportedError: features without pooling: there is no map here.
        """
        if pool == "none":
            raise UnsupportedError("it takes a map as it is, and these features are vectors")
        return self.features[split]

    def encode(self, images: Tensor, tap: str) -> Tensor:
        """There is no encoder.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError("it encodes images itself, and there is no encoder here")


@dataclass(frozen=True, kw_only=True)
class Timed:
    """An evaluator that is timed."""

    label: str
    spec: EvaluatorSpec
    params: Any


def evaluators(timed: Sequence[Timed], size: Size, settings: TrainingSettings) -> list[TrainingTimes]:
    """Seconds and memory of each evaluator on made features.

    Args:
        timed: the evaluators.
        size: of the features.
        settings: device, threads and rounds.
    """
    subject = _subject(_Synthetic(size, settings.device), size, settings.device)
    shape = f"{size.train} train, {size.test} test, {size.width} dimensions, {size.classes} classes"
    calls: dict[str, TimedCall] = {}
    found = []
    for each in timed:
        call = _calling(subject, each)
        try:
            with timing.peak_memory(settings.device) as peak:
                call()
        except UnsupportedError as error:
            found.append(TrainingTimes(subject=each.label, quantity="not timed", value=0.0, unit="", detail=str(error)))
            continue
        detail = f"above the features; {shape}"
        found.append(
            TrainingTimes(subject=each.label, quantity="peak memory", value=peak.bytes, unit="bytes", detail=detail)
        )
        calls[each.label] = TimedCall(call=call)
    for name, seconds in _once_each(calls, settings).items():
        middle, spread = statistics.median(seconds), (min(seconds), max(seconds))
        found.append(
            TrainingTimes(subject=name, quantity="seconds", value=middle, unit="s", spread=spread, detail=shape)
        )
    return found


def _calling(subject: Subject, timed: Timed) -> Callable[[], None]:
    item = Item(name=timed.spec.name, label=timed.label)
    request = ScoreRequest(tap="synthetic", pool=timed.spec.pools[0], evaluator=item, protocol=timed.spec.protocol)

    def call() -> None:
        list(evaluate(subject, [request], lambda _: (timed.spec, timed.params)))

    return call


def _subject(source: _Synthetic, size: Size, device: torch.device) -> Subject:
    blank = torch.zeros(1, 1, 8, 8, dtype=torch.uint8, device=device)
    return Subject(
        source=source,
        train=LabeledImages(images=blank.expand(size.train, -1, -1, -1), labels=source.labels["train"]),
        test=LabeledImages(images=blank.expand(size.test, -1, -1, -1), labels=source.labels["test"]),
        class_names=tuple(str(label) for label in range(size.classes)),
        fingerprint="synthetic",
    )


def _once_each(calls: dict[str, TimedCall], settings: TrainingSettings) -> dict[str, list[float]]:
    """Seconds of single calls by turns; the call for the memory was the rehearsal."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(settings.rounds):
        for name, contestant in calls.items():
            start = time.perf_counter()
            contestant.call()
            timing.wait_for(settings.device)
            found[name].append(time.perf_counter() - start)
    return found


# --- device and start-up ----------------------------------------------------------------------------------------------


def device(settings: TrainingSettings) -> tuple[DeviceLimits, list[TrainingTimes]]:
    """The ceilings of the device in the precision that training uses there."""
    low = settings.device.type == "cuda" and torch.cuda.is_bf16_supported()
    found = timing.device_limits(settings.device, torch.bfloat16 if low else torch.float32, settings.rounds)
    kind = "bfloat16" if low else "float32"
    return found, [
        TrainingTimes(
            subject="device", quantity="matrix product", value=found.flops, unit="flop/s", detail=f"{kind}, best"
        ),
        TrainingTimes(
            subject="device", quantity="copy", value=found.bytes, unit="bytes/s", detail="read and written, best"
        ),
    ]


def start_up(catalog: Catalog, settings: TrainingSettings) -> list[TrainingTimes]:
    """Seconds of `bench --help`, and from one cell's end to the next one's first word in the default executor."""
    helped = timing.help_seconds(settings.rounds)
    found = [
        TrainingTimes(
            subject="start-up",
            quantity="bench --help",
            value=statistics.median(helped),
            unit="s",
            spread=(min(helped), max(helped)),
        )
    ]
    seconds = _cell_starts(catalog)
    for quantity, each in (("first cell's process", seconds[:1]), ("next cell's process", seconds[1:])):
        if each:
            spread = (min(each), max(each))
            found.append(
                TrainingTimes(
                    subject="start-up", quantity=quantity, value=statistics.median(each), unit="s", spread=spread
                )
            )
    return found


def _cell_starts(catalog: Catalog) -> list[float]:
    """Cells of a dataset that does not exist: each is started, says so, and fails at once."""
    spec = catalog.find(catalog.executors, "executor", "local").spec
    clock = timing.Clock()

    def reporter(event: Event) -> None:
        if event.kind == "started":
            clock.begun()

    with tempfile.TemporaryDirectory() as folder:
        executor = spec.build(ExecutorContext(params=spec.params(), devices=("cpu",), slots=1, threads=1))
        jobs = [_hollow(number, folder) for number in range(STARTS)]
        clock.over()
        for _ in executor.run(jobs, reporter):
            clock.over()
    return clock.seconds


def _hollow(number: int, folder: str) -> Job:
    item = Item(name="nothing", label="nothing", params={}, identity={})
    cell = Cell(
        id=f"{number:064d}",
        method=item,
        encoder=item,
        dataset=item,
        fingerprint="",
        subset=None,
        seed=0,
        recipe=Recipe(epochs=0),
        smoke=True,
    )
    return Job(cell=cell, scores=(), data_dir=folder, out_dir=folder, folder=str(number))
