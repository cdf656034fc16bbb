"""A plugin that loads, and whose methods and evaluators fail later, each in another way.

The steady methods are valid and slow: their cells log what they do (see `activity`) and take as long as a test sets, so
that a test can interrupt them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import benchmark

if TYPE_CHECKING:
    from torch import nn

FAULTS = {
    "fault_build": "raises in build",
    "fault_loss": "raises in loss",
    "fault_nan": "the loss is NaN in the third step",
    "fault_detached": "the loss does not depend on the encoder",
    "fault_killed": "is killed during a step, as the kernel does when memory runs out",
    "fault_exits": "ends its process without a message",
    "fault_gives_up": "calls sys.exit, like a script",
    "fault_segfault": "prints a line, then reads an invalid address",
    "fault_hangs": "prints a line, then never returns from its first step",
    "fault_stubborn": "never returns from its first step and ignores interrupts",
    "fault_heals": "raises in its fifth step while the file named by THIRD_PARTY_GATE exists",
    "fault_fills": "fills the disk that holds the folder named by THIRD_PARTY_DISK in its last step",
    "fault_waits": "is valid, but waits in each step while the file named by THIRD_PARTY_GATE exists",
    "fault_thread": "is valid, but starts a thread that never ends",
    "fault_processes": "is valid, but leaves a child process and a daemon",
    "fault_orphans": "leaves a child process and a daemon, and dies",
    "fault_moves": "is valid, but changes the working directory",
    "fault_removes": "removes the folder of its cell",
    "fault_files": "opens as many files as it may",
    "fault_text": "raises an error with a text of 10 MB",
}
STEADY = {
    "steady": "mean colors, slowly",
    "steady_noise": "the same with noise from two generators: the step's and torch's global one",
    "steady_teacher": "the same with a moving average of its head and a count of epochs",
}


@dataclass(frozen=True, kw_only=True)
class MemoryParams:
    """How memory runs out."""

    kind: Literal["torch", "python", "allocator"] = field(default="torch", metadata={"help": "type of the error"})
    """torch.OutOfMemoryError, MemoryError, or the RuntimeError of torch's allocator for host memory."""
    fits: int = field(default=8, metadata={"help": "largest batch that fits"})
    """Images; a step with more of them runs out of memory."""
    times: int = field(default=1_000_000, metadata={"help": "how often it runs out"})
    """After that, every batch fits, as if another process had left the device."""


@dataclass(frozen=True, kw_only=True)
class ScoringParams:
    """What the evaluator `fragile` does in the process in which this method was trained."""

    how: Literal["raises", "exits", "dies"] = field(default="raises", metadata={"help": "what the evaluator does"})
    """Raises, calls sys.exit, or ends the process."""


@benchmark.hookimpl
def bench_methods() -> Iterator[benchmark.MethodSpec]:
    """One method for each fault, and the steady ones."""
    for name, summary in FAULTS.items():
        yield benchmark.MethodSpec(
            name=name, summary=summary, build=lambda context, name=name: _build(name, context), recipe=_recipe
        )
    for name, summary in STEADY.items():
        yield benchmark.MethodSpec(
            name=name, summary=summary, build=lambda context, name=name: _steady(name, context), recipe=_recipe
        )
    yield benchmark.MethodSpec(
        name="fault_memory", summary="runs out of memory", build=_out_of_memory, params=MemoryParams, recipe=_recipe
    )
    yield benchmark.MethodSpec(
        name="fault_scoring", summary="makes scoring fail", build=_scoring, params=ScoringParams, recipe=_recipe
    )


@benchmark.hookimpl
def bench_evaluators() -> Iterator[benchmark.EvaluatorSpec]:
    """Evaluators that raise or train the encoder, and slow valid ones."""
    metric = benchmark.Metric(name="accuracy", headline="accuracy")
    yield benchmark.EvaluatorSpec(name="fault_raises", summary="raises", evaluate=_raise, metrics=(metric,))
    yield benchmark.EvaluatorSpec(name="fault_trains", summary="moves weights", evaluate=_train, metrics=(metric,))
    yield benchmark.EvaluatorSpec(name="refuses", summary="makes no sense here", evaluate=_refuse, metrics=(metric,))
    yield benchmark.EvaluatorSpec(
        name="fault_empty", summary="measures nothing", evaluate=_measure_nothing, metrics=(metric,)
    )
    yield benchmark.EvaluatorSpec(
        name="fragile", summary="fails after fault_scoring", evaluate=_fragile, metrics=(metric,)
    )
    yield benchmark.EvaluatorSpec(
        name="steady_centroid", summary="centroid, slowly", evaluate=_score_slowly, metrics=(metric,)
    )


@benchmark.hookimpl
def bench_datasets() -> Iterator[benchmark.DatasetSpec]:
    """Images that are too small for any encoder."""
    yield benchmark.DatasetSpec(name="fault_specks", summary="4 x 4 pixels", describe=_describe_specks, load=_raise)


def _recipe(setting: benchmark.Setting) -> benchmark.Recipe:
    return benchmark.Recipe(epochs=2, batch=16, augment="none", lr=0.01)


def _build(name: str, context: benchmark.MethodContext) -> nn.Module:
    if name == "fault_build":
        raise RuntimeError("the third-party build failed")
    from third_party_faults.methods import Faulty

    return Faulty(name, context.encoder, context.layout, context.image_shape)


def _steady(name: str, context: benchmark.MethodContext) -> nn.Module:
    from third_party_faults.steady import Steady

    return Steady(name, context)


def _out_of_memory(context: benchmark.MethodContext) -> nn.Module:
    from third_party_faults.methods import OutOfMemory

    return OutOfMemory(context)


def _scoring(context: benchmark.MethodContext) -> nn.Module:
    from third_party_faults.methods import FailsLater

    return FailsLater(context)


def _fragile(probe: benchmark.Probe, params: benchmark.NoParams) -> benchmark.Evaluation:
    from third_party_faults.scoring import fragile

    return fragile(probe)


def _score_slowly(probe: benchmark.Probe, params: benchmark.NoParams) -> benchmark.Evaluation:
    from third_party_faults.scoring import slow_centroid

    return slow_centroid(probe)


def _raise(*arguments: object) -> benchmark.Evaluation:
    raise ZeroDivisionError("the third-party evaluator failed")


def _train(probe: benchmark.Probe, params: benchmark.NoParams) -> benchmark.Evaluation:
    import torch

    encoder = probe.source.encoder  # not part of the interface
    with torch.no_grad():
        next(encoder.parameters()).add_(0.1)
    accuracy = benchmark.Measurement(metric="accuracy", value=1.0, n=len(probe.test.labels))
    return benchmark.Evaluation(measurements=(accuracy,))


def _measure_nothing(probe: benchmark.Probe, params: benchmark.NoParams) -> benchmark.Evaluation:
    return benchmark.Evaluation(measurements=())


def _describe_specks(params: benchmark.NoParams, data_dir: Path) -> benchmark.DatasetInfo:
    return benchmark.DatasetInfo(
        label="fault_specks",
        fingerprint="specks",
        image_shape=(3, 4, 4),
        num_train=8,
        num_test=8,
        class_names=("a", "b"),
    )


def _refuse(probe: benchmark.Probe, params: benchmark.NoParams) -> benchmark.Evaluation:
    raise benchmark.UnsupportedError("these images have no color")
