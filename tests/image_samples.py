"""A folder of images, and checks of a dataset against its description."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench_images import folder
from benchmark import Dataset, DatasetInfo, NoParams

NOTHING = NoParams()


COLORS = {"blue": (0, 0, 255), "red": (255, 0, 0)}


def assert_as_described(dataset: Dataset, info: DatasetInfo) -> None:
    for split, count in ((dataset.train, info.num_train), (dataset.test, info.num_test)):
        assert split.images.shape == (count, *info.image_shape)
        assert split.images.dtype == np.uint8
        assert split.images.flags.c_contiguous
        assert split.labels.shape == (count,)
        assert split.labels.dtype == np.int64
        assert set(split.labels.tolist()) <= set(range(len(info.class_names)))
        torch.from_numpy(split.images)  # a read-only map would warn
    assert dataset.class_names == info.class_names


def make_tree(root: Path) -> Path:
    """Three train images and one test image of each of two colors, 16 x 12."""
    for split, count in (("train", 3), ("test", 1)):
        for name, color in COLORS.items():
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (16, 12), color).save(root / split / name / f"{number}.png")
    return root


def params_for(root: Path, size: int = 8, **others: object) -> folder.FolderParams:
    return folder.FolderParams(path=str(root), size=size, **others)  # type: ignore[arg-type]  # passed on as passed
