"""A tiny encoder, a Deep InfoMax method around it, and a batch."""

import math

import torch
from generators import seeded
from method_samples import make_batch, make_context
from torch import nn

import benchmark
from bench_dim import DimParams
from bench_dim.method import DeepInfoMax
from benchmark.encoder import NormalizedEncoder


class Tiny(nn.Module):
    """A map of 4 x 4 locations, and an output of the given kind."""

    def __init__(self, kind="vector"):
        super().__init__()
        self.kind = kind
        self.calls = 0
        self.local = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Sequential(nn.Flatten(), nn.Linear(128, 16)) if kind == "vector" else nn.Conv2d(8, 16, 2, 2)

    def forward(self, images, taps):
        self.calls += 1
        local = self.local(images)
        output = self.deep(local)
        return {"local": local, "out": output.flatten(2).mT if self.kind == "tokens" else output}


def tiny_encoder(kind="vector"):
    shape = {"vector": (16,), "map": (16, 2, 2), "tokens": (4, 16)}[kind]
    taps = (benchmark.Tap(name="local", kind="map", shape=(8, 4, 4)), benchmark.Tap(name="out", kind=kind, shape=shape))
    layout = benchmark.Layout(taps=taps, output="out", probe="local", local="local")
    return NormalizedEncoder(Tiny(kind), layout, (0.5,), (0.5,))


def tiny_method(kind="vector", seed=0, **params):
    torch.manual_seed(seed)
    return DeepInfoMax(make_context(tiny_encoder(kind), DimParams(**{"units": 32, **params})))


def batch(count=8, seed=0):
    return make_batch(torch.rand(count, 1, 8, 8, generator=seeded(seed)), seed=seed + 1)


LOG_TWO = math.log(2)
