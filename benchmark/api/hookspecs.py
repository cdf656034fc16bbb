"""The hooks that a plugin may implement, one for each kind of spec.

A plugin is an installed package with an entry point in the group `bench`:

    [project.entry-points.bench]
    mine = "bench_mine"

`bench_mine/__init__.py` defines one or more of the functions below, decorated with `@benchmark.hookimpl`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, cast

import pluggy

from benchmark.api.datasets import DatasetSpec
from benchmark.api.encoders import EncoderSpec
from benchmark.api.evaluators import EvaluatorSpec
from benchmark.api.executors import ExecutorSpec
from benchmark.api.methods import MethodSpec

Spec = MethodSpec | EncoderSpec | DatasetSpec | EvaluatorSpec | ExecutorSpec
PROJECT = "bench"
"""Entry-point group, hook prefix and pluggy project name."""

_Function = TypeVar("_Function")
_hookspec = pluggy.HookspecMarker(PROJECT)
_hookimpl = pluggy.HookimplMarker(PROJECT)


def hookimpl(function: _Function) -> _Function:
    """Decorator: the function implements the hook of the same name."""
    return cast(_Function, _hookimpl(cast(Any, function)))


@_hookspec
def bench_methods() -> Iterable[MethodSpec]:
    """Yields methods, which train an encoder.

    Examples:
        >>> import benchmark
        >>> @benchmark.hookimpl
        ... def bench_methods():
        ...     def build(context):
        ...         from bench_mine.method import Mine
        ...         return Mine(context)
        ...     yield benchmark.MethodSpec(name="mine", summary="my idea", build=build)
        >>> [spec.name for spec in bench_methods()]
        ['mine']
    """
    raise AssertionError("a hook specification is never called")


@_hookspec
def bench_encoders() -> Iterable[EncoderSpec]:
    """Yields encoders: networks with named taps.

    Examples:
        >>> import benchmark
        >>> def layout(params, image_shape):
        ...     taps = (benchmark.Tap(name="fc", kind="vector", shape=(64,)),)
        ...     return benchmark.Layout(taps=taps, output="fc", probe="fc")
        >>> @benchmark.hookimpl
        ... def bench_encoders():
        ...     def build(context):
        ...         from bench_mine.network import Network
        ...         return Network(context.image_shape)
        ...     yield benchmark.EncoderSpec(name="tiny", summary="one layer", build=build, layout=layout)
        >>> [spec.layout(None, (1, 8, 8)).output for spec in bench_encoders()]
        ['fc']
    """
    raise AssertionError("a hook specification is never called")


@_hookspec
def bench_datasets() -> Iterable[DatasetSpec]:
    """Yields datasets: uint8 images with int64 labels, split into train and test.

    Examples:
        >>> import benchmark
        >>> @benchmark.hookimpl
        ... def bench_datasets():
        ...     def describe(params, data_dir):
        ...         return benchmark.DatasetInfo(label="noise", fingerprint="v1", image_shape=(1, 8, 8),
        ...                                      num_train=20, num_test=10, class_names=("a", "b"))
        ...     def load(params, data_dir):
        ...         import numpy as np
        ...         def split(count):
        ...             images = np.random.default_rng(count).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
        ...             return benchmark.Split(images=images, labels=np.arange(count) % 2)
        ...         return benchmark.Dataset(train=split(20), test=split(10), class_names=("a", "b"))
        ...     yield benchmark.DatasetSpec(name="noise", summary="random pixels", describe=describe, load=load)
        >>> [spec.load(None, None).train.images.shape for spec in bench_datasets()]
        [(20, 1, 8, 8)]
    """
    raise AssertionError("a hook specification is never called")


@_hookspec
def bench_evaluators() -> Iterable[EvaluatorSpec]:
    """Yields evaluators, which score frozen features.

    Examples:
        >>> import benchmark
        >>> @benchmark.hookimpl
        ... def bench_evaluators():
        ...     def evaluate(probe, params):
        ...         features = probe.test.features()
        ...         value = float(features.std(dim=0).mean())
        ...         return benchmark.Evaluation(measurements=(
        ...             benchmark.Measurement(metric="spread", value=value, n=len(features)),))
        ...     yield benchmark.EvaluatorSpec(name="spread", summary="mean standard deviation", evaluate=evaluate,
        ...                                   metrics=(benchmark.Metric(name="spread", unit="feature units"),))
        >>> [spec.protocol for spec in bench_evaluators()]
        ['spread@1']
    """
    raise AssertionError("a hook specification is never called")


@_hookspec
def bench_executors() -> Iterable[ExecutorSpec]:
    """Yields executors, which run cells.

    Examples:
        >>> import benchmark
        >>> class Here:
        ...     def run(self, jobs, reporter):
        ...         from benchmark.executors import run_cell
        ...         for job in jobs:
        ...             yield run_cell(job, device="cpu", reporter=reporter)
        >>> @benchmark.hookimpl
        ... def bench_executors():
        ...     yield benchmark.ExecutorSpec(name="here", summary="in this process", build=lambda context: Here())
        >>> [spec.name for spec in bench_executors()]
        ['here']
    """
    raise AssertionError("a hook specification is never called")


HOOKS: dict[str, type] = {
    "bench_methods": MethodSpec,
    "bench_encoders": EncoderSpec,
    "bench_datasets": DatasetSpec,
    "bench_evaluators": EvaluatorSpec,
    "bench_executors": ExecutorSpec,
}
"""Hook name -> the type of spec that it yields."""
