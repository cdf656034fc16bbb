"""A plain PyTorch training pipeline, the baseline of `bench speed`.

Pillow augments one image at a time in a worker process. The step runs in float32 with contiguous (channels-first) tensors
and an unfused optimizer. A method with two views makes two forward passes. This is what a careful author writes without
this project; nothing in it is slowed down on purpose.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from benchmark.api.recipes import Augment
from benchmark.encoder import NormalizedEncoder

Views = Callable[[Any, Image.Image, random.Random], tuple[Sequence[Image.Image], Sequence[float]]]


class PlainImages(Dataset[tuple[Tensor, ...]]):
    """A map-style dataset: crop, flip, the method's views, conversion to tensors; one image at a time.

    Args:
        images: (N, C, H, W) uint8.
        augment: augmentation of the recipe.
        pad: black border of the crop in pixels.
        views: makes the method's views of an image; None: the image itself.
        params: parameters of the method.
    """

    def __init__(self, images: NDArray[np.uint8], augment: Augment, pad: int, views: Views | None, params: Any) -> None:
        self._images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        self._augment, self._pad, self._views, self._params = augment, pad, views, params
        self._worker_rng: random.Random | None = None

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        rng = self._rng()
        pixels = self._images[index]
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        if self._augment in ("crop", "crop-flip") and self._pad:
            image = self._crop(image, rng)
        if self._augment in ("flip", "crop-flip") and rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        images, targets = ([image], []) if self._views is None else self._views(self._params, image, rng)
        return (*(_to_tensor(view) for view in images), torch.tensor(targets, dtype=torch.float32))

    def _rng(self) -> random.Random:
        """The generator of this worker process; each worker has another seed."""
        if self._worker_rng is None:
            worker = get_worker_info()
            self._worker_rng = random.Random(0 if worker is None else worker.seed)
        return self._worker_rng

    def _crop(self, image: Image.Image, rng: random.Random) -> Image.Image:
        """A random window of the image with a black border. Pillow fills pixels outside the image with black."""
        left, top = (rng.randint(-self._pad, self._pad) for _ in range(2))
        return image.crop((left, top, left + image.width, top + image.height))


def _to_tensor(image: Image.Image) -> Tensor:
    """(C, H, W) float32 in [0, 1]."""
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
    pixels = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    return pixels.contiguous().float().div_(255)


def plain_batches(dataset: PlainImages, batch: int, workers: int) -> Iterator[list[Tensor]]:
    """An infinite sequence of shuffled batches. Worker processes stay alive between epochs."""
    loader = DataLoader(
        dataset,
        batch_size=min(batch, len(dataset)),
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    while True:
        yield from loader


class PlainEncoder(NormalizedEncoder):
    """The encoder in float32 with contiguous (channels-first) images and weights."""

    def __init__(self, encoder: NormalizedEncoder) -> None:
        super().__init__(
            encoder.network, encoder.layout, encoder.mean.flatten().tolist(), encoder.std.flatten().tolist()
        )
        self.network = encoder.network.to(memory_format=torch.contiguous_format)

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """See `NormalizedEncoder.forward`."""
        features: dict[str, Tensor] = self.network((images - self.mean) / self.std, tuple(taps))
        return {name: features[name] for name in taps}
