"""repbench: a plugin-based benchmark of self-supervised image representations.

For notebooks and scripts: `run` and `read_results` return `Results`; `load_encoder` loads a trained encoder.

    import benchmark

    results = benchmark.run("aet,rotation", encoders="blocknet")
    print(results.table("linear"))

For plugin authors: specs of methods, encoders, datasets, evaluators and executors. A method plugin is a module with a
`loss`, a spec with its name, and a hook that yields the spec:

    import benchmark

    @benchmark.hookimpl
    def bench_methods():
        def build(context):
            from bench_mine.method import Mine      # imports torch only when the method is used
            return Mine(context.encoder)
        yield benchmark.MethodSpec(name="mine", summary="my idea", build=build)

`benchmark.testing` holds the conformance checks that a plugin's tests run; `benchmark.images` and `benchmark.warp` hold
tensor functions on batches of images. Importing this package imports neither torch nor pandas.
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
from benchmark.api.limits import checked_argument, checked_path, checked_text
from benchmark.api.methods import Batch, Losses, Method, MethodContext, MethodSpec, Published, Setting
from benchmark.api.recipes import Recipe
from benchmark.errors import (
    BenchError,
    DataError,
    PluginError,
    RecordError,
    TrainingError,
    UnsupportedError,
    UsageError,
    contained,
)
from benchmark.results import Results, read_results, run

if TYPE_CHECKING:
    from benchmark.encoder import NormalizedEncoder

__version__ = "0.1.0"


@contained()
def load_encoder(record: str | Path, device: str = "cpu") -> NormalizedEncoder:
    """Load the trained encoder of a finished cell.

    Args:
        record: the cell's folder, such as `runs/aet-resnet18-digits-s0-1a2b3c4d5e`.
        device: device of the weights.

    Returns:
        A module in eval mode that takes float32 images (N, C, H, W) in [0, 1] and normalizes them itself.
        `encoder(images, ["layer4"])` returns a dictionary of layers; `encoder.vector(images)` returns the output, (N, D).

    Raises:
        RecordError: the folder has no finished record, or its weights are damaged or not those that were trained.
    """
    from benchmark.evaluation.trained_encoder import load_encoder as load

    return load(checked_argument("record", checked_path, record), checked_argument("device", checked_text, device))


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
    "RecordError",
    "Results",
    "Setting",
    "Split",
    "Tap",
    "TrainingError",
    "UnsupportedError",
    "UsageError",
    "__version__",
    "hookimpl",
    "load_encoder",
    "read_results",
    "run",
]
