"""A plugin that loads, and whose methods and evaluators go wrong later, each in a way of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

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
    "fault_waits": "is right, but waits in each step as long as the file named by STRANGER_GATE is there",
}


@benchmark.hookimpl
def bench_methods() -> Iterator[benchmark.MethodSpec]:
    """One method for each fault."""
    for name, summary in FAULTS.items():
        yield benchmark.MethodSpec(
            name=name,
            summary=summary,
            build=lambda context, name=name: _build(name, context),
            recipe=lambda setting: benchmark.Recipe(epochs=2, batch=16, augment="none", lr=0.01),
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


@benchmark.hookimpl
def bench_datasets() -> Iterator[benchmark.DatasetSpec]:
    """Images that are too small."""
    yield benchmark.DatasetSpec(name="fault_specks", summary="4 x 4 pixels", describe=_describe_specks, load=_raise)


def _build(name: str, context: benchmark.MethodContext) -> nn.Module:
    if name == "fault_build":
        raise RuntimeError("the stranger's build went wrong")
    from stranger_faults.methods import Faulty

    return Faulty(name, context.encoder, context.layout, context.image_shape)


def _raise(*arguments: object) -> benchmark.Evaluation:
    raise ZeroDivisionError("the stranger's evaluator went wrong")


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
    raise benchmark.UnsupportedError("these images have no colour to speak of")
