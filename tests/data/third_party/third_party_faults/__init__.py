"""A plugin that loads, and whose methods and evaluators go wrong later, each in a way of its own.

What is steady here is right and slow: its cells say in a file what they do (see `diary`), and take the time that a test
gives them, so that something can happen to them meanwhile.
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
    "fault_nan": "its loss is not a number in the third step",
    "fault_detached": "its loss does not depend on the encoder",
    "fault_killed": "is killed in the middle of a step, as by the kernel when memory runs out",
    "fault_exits": "ends its process without a word",
    "fault_gives_up": "leaves by sys.exit, as a script would",
    "fault_segfault": "says a line, then reads where nothing is",
    "fault_hangs": "says a line, then never comes back from its first step",
    "fault_stubborn": "never comes back from its first step, and will not be interrupted",
    "fault_heals": "raises in its fifth step, as long as the file named by THIRD_PARTY_GATE is there",
    "fault_fills": "fills the disk of the folder named by THIRD_PARTY_DISK in its last step",
    "fault_waits": "is right, but waits in each step as long as the file named by THIRD_PARTY_GATE is there",
}
STEADY = {
    "steady": "mean colors, slowly",
    "steady_noise": "the same through two kinds of noise: of the step's generator, and of torch's own",
    "steady_teacher": "the same beside a moving average of its head, and a memory of epochs",
}


@dataclass(frozen=True, kw_only=True)
class MemoryParams:
    """How memory runs out."""

    kind: Literal["torch", "python", "allocator"] = field(default="torch", metadata={"help": "who says it"})
    """torch.OutOfMemoryError, MemoryError, or the RuntimeError of torch's allocator of host memory."""
    fits: int = field(default=8, metadata={"help": "images a batch that fit"})
    """A step with more runs out of memory."""
    times: int = field(default=1_000_000, metadata={"help": "how often it runs out"})
    """Then it fits, as when a neighbor has left the device."""


@dataclass(frozen=True, kw_only=True)
class CurseParams:
    """What befalls the evaluator `cursed` in the process in which this was trained."""

    how: Literal["raises", "exits", "dies"] = field(default="raises", metadata={"help": "what the evaluator does"})
    """Raises, leaves by sys.exit, or ends the process."""


@benchmark.hookimpl
def bench_methods() -> Iterator[benchmark.MethodSpec]:
    """One method for each fault, and those that are steady."""
    for name, summary in FAULTS.items():
        yield benchmark.MethodSpec(
            name=name, summary=summary, build=lambda context, name=name: _build(name, context), recipe=_recipe
        )
    for name, summary in STEADY.items():
        yield benchmark.MethodSpec(
            name=name, summary=summary, build=lambda context, name=name: _steady(name, context), recipe=_recipe
        )
    yield benchmark.MethodSpec(
        name="fault_memory", summary="runs out of memory", build=_hungry, params=MemoryParams, recipe=_recipe
    )
    yield benchmark.MethodSpec(
        name="fault_cursed", summary="its scoring goes wrong", build=_cursed, params=CurseParams, recipe=_recipe
    )


@benchmark.hookimpl
def bench_evaluators() -> Iterator[benchmark.EvaluatorSpec]:
    """Evaluators that raise, and that train what they were given."""
    metric = benchmark.Metric(name="accuracy", headline="accuracy")
    yield benchmark.EvaluatorSpec(name="fault_raises", summary="raises", evaluate=_raise, metrics=(metric,))
    yield benchmark.EvaluatorSpec(name="fault_trains", summary="moves weights", evaluate=_train, metrics=(metric,))
    yield benchmark.EvaluatorSpec(name="refuses", summary="makes no sense here", evaluate=_refuse, metrics=(metric,))
    yield benchmark.EvaluatorSpec(
        name="fault_empty", summary="finds nothing", evaluate=_find_nothing, metrics=(metric,)
    )
    yield benchmark.EvaluatorSpec(
        name="cursed", summary="right, unless fault_cursed was here", evaluate=_curse, metrics=(metric,)
    )
    yield benchmark.EvaluatorSpec(
        name="steady_centroid", summary="centroid, slowly", evaluate=_score_slowly, metrics=(metric,)
    )


@benchmark.hookimpl
def bench_datasets() -> Iterator[benchmark.DatasetSpec]:
    """Images that are too small."""
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


def _hungry(context: benchmark.MethodContext) -> nn.Module:
    from third_party_faults.methods import Hungry

    return Hungry(context)


def _cursed(context: benchmark.MethodContext) -> nn.Module:
    from third_party_faults.methods import Cursed

    return Cursed(context)


def _curse(probe: benchmark.Probe, params: benchmark.NoParams) -> benchmark.Evaluation:
    from third_party_faults.scoring import cursed

    return cursed(probe)


def _score_slowly(probe: benchmark.Probe, params: benchmark.NoParams) -> benchmark.Evaluation:
    from third_party_faults.scoring import slow_centroid

    return slow_centroid(probe)


def _raise(*arguments: object) -> benchmark.Evaluation:
    raise ZeroDivisionError("the third-party evaluator failed")


def _train(probe: benchmark.Probe, params: benchmark.NoParams) -> benchmark.Evaluation:
    import torch

    encoder = probe.source.encoder  # behind the probe's back
    with torch.no_grad():
        next(encoder.parameters()).add_(0.1)
    accuracy = benchmark.Measurement(metric="accuracy", value=1.0, n=len(probe.test.labels))
    return benchmark.Evaluation(measurements=(accuracy,))


def _find_nothing(probe: benchmark.Probe, params: benchmark.NoParams) -> benchmark.Evaluation:
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
    raise benchmark.UnsupportedError("these images have no color to speak of")
