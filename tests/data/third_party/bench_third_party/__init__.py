"""A valid third-party plugin: one of each kind, each as small as a real one can be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import benchmark

if TYPE_CHECKING:
    from torch import nn

METHOD_VERSION = 1
ENCODER_VERSION = 1
CENTROID_VERSION = 1
CLASSES = ("top", "upper", "lower", "bottom")


@dataclass(frozen=True, kw_only=True)
class MeanColorParams:
    """Parameters of `mean_color`."""

    part: Literal["center", "left"] = field(default="center", metadata={"help": "which part of the image is hidden"})
    """The hidden part, whose mean color is predicted from the rest."""


@dataclass(frozen=True, kw_only=True)
class StripesParams:
    """Number and size of the images."""

    train: int = field(default=48, metadata={"help": "training images"})
    """4 or more, one for each class."""
    test: int = field(default=24, metadata={"help": "test images"})
    """4 or more, one for each class."""
    size: int = field(default=8, metadata={"help": "side in pixels"})
    """A multiple of 4."""

    def __post_init__(self) -> None:
        if min(self.train, self.test) < len(CLASSES) or self.size % 4:
            raise ValueError(f"train={self.train}, test={self.test}, size={self.size} cannot be")


@benchmark.hookimpl
def bench_methods() -> Iterator[benchmark.MethodSpec]:
    """Predicts the mean color of a hidden part."""
    yield benchmark.MethodSpec(
        name="mean_color",
        summary="what color is the hidden part?",
        paper="A. Author, On Hidden Colors, 2024",
        params=MeanColorParams,
        build=_mean_color,
        version=METHOD_VERSION,
        recipe=lambda setting: benchmark.Recipe(epochs=2, batch=16, augment="none", lr=0.01),
    )


@benchmark.hookimpl
def bench_encoders() -> Iterator[benchmark.EncoderSpec]:
    """One convolution and one linear layer."""
    yield benchmark.EncoderSpec(
        name="tiny", summary="one convolution, one linear layer", build=_tiny, layout=_layout, version=ENCODER_VERSION
    )


@benchmark.hookimpl
def bench_datasets() -> Iterator[benchmark.DatasetSpec]:
    """A bright stripe on noise."""
    yield benchmark.DatasetSpec(
        name="stripes", summary="where is the bright stripe?", describe=_describe, load=_load, params=StripesParams
    )


@benchmark.hookimpl
def bench_evaluators() -> Iterator[benchmark.EvaluatorSpec]:
    """The nearest class mean."""
    yield benchmark.EvaluatorSpec(
        name="centroid",
        summary="the nearest class mean names the class",
        evaluate=_evaluate,
        metrics=(benchmark.Metric(name="accuracy", headline="accuracy"),),
        version=CENTROID_VERSION,
    )


@benchmark.hookimpl
def bench_executors() -> Iterator[benchmark.ExecutorSpec]:
    """The smallest executor."""
    yield benchmark.ExecutorSpec(name="in_order", summary="one cell after another", build=_in_order)


def _in_order(context: benchmark.ExecutorContext) -> benchmark.Executor:
    from bench_third_party.in_order import InOrder

    return InOrder(context)


def _mean_color(context: benchmark.MethodContext) -> nn.Module:
    from bench_third_party.mean_color import MeanColor

    return MeanColor(context.encoder, context.layout, context.image_shape, context.params.part)


def _tiny(context: benchmark.EncoderContext) -> nn.Module:
    from bench_third_party.tiny import Tiny

    return Tiny(context.image_shape[0])


def _layout(params: benchmark.NoParams, image_shape: tuple[int, int, int]) -> benchmark.Layout:
    _, height, width = image_shape
    conv = benchmark.Tap(name="conv", kind="map", shape=(8, -(-height // 2), -(-width // 2)))
    linear = benchmark.Tap(name="fc", kind="vector", shape=(16,))
    return benchmark.Layout(taps=(conv, linear), output="fc", probe="conv", local="conv")


def _describe(params: StripesParams, data_dir: Path) -> benchmark.DatasetInfo:
    return benchmark.DatasetInfo(
        label="stripes",
        fingerprint=f"stripes-1-{params.train}-{params.test}-{params.size}",
        image_shape=(3, params.size, params.size),
        num_train=params.train,
        num_test=params.test,
        class_names=CLASSES,
    )


def _load(params: StripesParams, data_dir: Path) -> benchmark.Dataset:
    from bench_third_party.stripes import stripes

    return benchmark.Dataset(
        train=stripes(params.train, params.size, seed=1),
        test=stripes(params.test, params.size, seed=2),
        class_names=CLASSES,
    )


def _evaluate(probe: benchmark.Probe, params: benchmark.NoParams) -> benchmark.Evaluation:
    from bench_third_party.centroid import nearest_centroid

    return nearest_centroid(probe)
