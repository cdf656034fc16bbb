"""Frozen cells: one with given features, and a finished cell of raw pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from click.testing import CliRunner
from torch import Tensor, nn

from benchmark.analysis.frozen_cell import FrozenCell
from benchmark.api.encoders import Layout, Tap
from benchmark.cli.main import main
from benchmark.encoder import NormalizedEncoder

RECORD = "pixels/-/digits[subset=100]/-"
"""Name of the finished cell on the command line."""


class Pixels(nn.Module):
    """An encoder that returns the pixels, in [0, 1]."""

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        return {"out": images.flatten(1)}


def cell_of(pixels: Sequence[Sequence[int]], labels: Sequence[int], *, std: float = 1.0) -> FrozenCell:
    """A cell whose test features are the rows of `pixels` divided by 255. Its classes are cat and dog."""
    width = len(pixels[0])
    layout = Layout(taps=(Tap(name="out", kind="vector", shape=(width,)),), output="out", probe="out")
    images = torch.tensor(pixels, dtype=torch.uint8).reshape(len(pixels), 1, 1, width)
    targets = torch.tensor(labels)
    return FrozenCell(
        title="method / encoder",
        encoder=NormalizedEncoder(Pixels(), layout, [0.0], [std]),
        tap="out",
        images={"train": images[:1], "test": images},
        labels={"train": targets[:1], "test": targets},
        class_names=("cat", "dog"),
    )


def records_of_pixels(folder: Path) -> Path:
    """Runs one cell: raw pixels of a hundred digits, scored on all test images. Returns its --out folder."""
    cell = ("--methods", "pixels", "--dataset", "digits[subset=100]", "--evaluators", "knn", "--no-floors")
    options = ("--executor", "inline", "--device", "cpu", "--quiet", "--out", str(folder / "runs"))
    result = CliRunner().invoke(main, ["run", *cell, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder / "runs"
