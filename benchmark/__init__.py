"""repbench: a benchmark of unsupervised image representations, made of plugins.

This module is all that a plugin's author needs; it imports no torch. A method is a module with a `loss`, a spec that
names it, and a hook that yields the spec:

    import benchmark

    @benchmark.hookimpl
    def bench_methods():
        def build(context):
            from bench_mine.method import Mine      # torch is imported here, not when methods are listed
            return Mine(context.encoder)
        yield benchmark.MethodSpec(name="mine", summary="my idea", build=build)

`plugins/README.md` walks through a whole one; `benchmark.testing` holds the checks that a plugin's own tests run;
`benchmark.images` and `benchmark.warp` hold tensor functions on batches of images.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.api.cells import Cause, Job, Outcome
from benchmark.api.datasets import Dataset, DatasetInfo, DatasetSpec, Split
from benchmark.api.encoders import Encoder, EncoderContext, EncoderSpec, Layout, NoParams, Tap
from benchmark.api.evaluators import Evaluation, EvaluatorSpec, Measurement, Metric, Probe, ProbeSplit
from benchmark.api.executors import Executor, ExecutorContext, ExecutorSpec
from benchmark.api.hookspecs import hookimpl
from benchmark.api.methods import Batch, Losses, Method, MethodContext, MethodSpec, Published, Setting
from benchmark.api.recipes import Recipe
from benchmark.errors import BenchError, DataError, PluginError, TrainingError, UnsupportedError, UsageError

if TYPE_CHECKING:
    from benchmark.encoder import NormalizedEncoder

__version__ = "0.1.0"


def load_encoder(record: str | Path, device: str = "cpu") -> NormalizedEncoder:
    """The trained encoder of a finished cell.

    Args:
        record: the cell's folder, such as `runs/aet-resnet18-digits-s0-1a2b3c4d5e`.
        device: where to put it.

    Returns:
        A module in eval mode that takes float32 images (N, C, H, W) in [0, 1]: `encoder(images, ["layer4"])` gives a
        dictionary of taps, `encoder.vector(images)` the output as (N, D). Normalization is part of it.

    Raises:
        RecordError: no finished record there, or its weights do not fit.
    """
    from benchmark.evaluation.trained_encoder import load_encoder as load

    return load(Path(record), device)


__all__ = [
    "Batch",
    "BenchError",
    "Cause",
    "DataError",
    "Dataset",
    "DatasetInfo",
    "DatasetSpec",
    "Encoder",
    "EncoderContext",
    "EncoderSpec",
    "Evaluation",
    "EvaluatorSpec",
    "Executor",
    "ExecutorContext",
    "ExecutorSpec",
    "Job",
    "Layout",
    "Losses",
    "Measurement",
    "Method",
    "MethodContext",
    "MethodSpec",
    "Metric",
    "NoParams",
    "Outcome",
    "PluginError",
    "Probe",
    "ProbeSplit",
    "Published",
    "Recipe",
    "Setting",
    "Split",
    "Tap",
    "TrainingError",
    "UnsupportedError",
    "UsageError",
    "__version__",
    "hookimpl",
    "load_encoder",
]
