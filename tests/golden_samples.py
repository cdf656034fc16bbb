"""Methods and encoders of the published papers, built for golden numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from method_samples import make_context
from numpy.typing import NDArray

import bench_aet
import bench_bounds
import bench_dim
import bench_encoders
import bench_rotation
import benchmark
from benchmark.encoder import NormalizedEncoder, build_encoder
from benchmark.testing.miniature import SMALL_ENCODER

ENCODERS = {spec.name: spec for spec in (*bench_encoders.bench_encoders(), SMALL_ENCODER)}


PLUGINS = (bench_aet, bench_rotation, bench_dim, bench_bounds)


METHODS: dict[str, benchmark.MethodSpec] = {spec.name: spec for plugin in PLUGINS for spec in plugin.bench_methods()}


RGB, DIGIT = (3, 32, 32), (1, 8, 8)


CONV2 = benchmark.Tap(name="conv2", kind="map", shape=(192, 8, 8))


GRAY = 128


Floats = NDArray[np.floating[Any]]


Shape = tuple[int, int, int]


def make_encoder(name: str, shape: Shape = RGB, **choices: Any) -> NormalizedEncoder:
    spec = ENCODERS[name]
    half = (0.5,) * shape[0]
    return build_encoder(spec, spec.params(**choices), shape, num_images=100, seed=0, mean=half, std=half)


def make_method(name: str, encoder: NormalizedEncoder, shape: Shape = RGB, **params: Any) -> Any:
    spec = METHODS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classes = 10 if spec.labels == "all" else None
        return spec.build(make_context(encoder, spec.params(**params), image_shape=shape, num_classes=classes))
