"""The plain way to train, which `bench speed` compares with: one image at a time by Pillow in a worker process, float32
tensors laid out as they come, an unfused optimizer, two forwards where the method makes two.

Meant to be what a careful person would write without this project; nothing in it is slowed down.
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
    """Images as a map-style dataset: crop, flip, the method's views, ToTensor; one at a time.

    Args:
        images: (N, C, H, W) uint8.
        augment: the recipe's.
        pad: black border of the crop in pixels.
        views: the method's, or None for the image alone.
        params: the method's.
    """

    def __init__(self, images: NDArray[np.uint8], augment: Augment, pad: int, views: Views | None, params: Any) -> None:
        self._pictures = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        self._augment, self._pad, self._views, self._params = augment, pad, views, params
        self._chance: random.Random | None = None

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        chance = self._own_chance()
        picture = self._pictures[index]
        image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture)
        if self._augment in ("crop", "crop-flip") and self._pad:
            image = self._cropped(image, chance)
        if self._augment in ("flip", "crop-flip") and chance.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        images, numbers = ([image], []) if self._views is None else self._views(self._params, image, chance)
        return (*(_tensor(each) for each in images), torch.tensor(numbers, dtype=torch.float32))

    def _own_chance(self) -> random.Random:
        """Each worker process draws on its own."""
        if self._chance is None:
            worker = get_worker_info()
            self._chance = random.Random(0 if worker is None else worker.seed)
        return self._chance

    def _cropped(self, image: Image.Image, chance: random.Random) -> Image.Image:
        """A window of the image in its black border; Pillow's crop gives black outside."""
        left, top = (chance.randint(-self._pad, self._pad) for _ in range(2))
        return image.crop((left, top, left + image.width, top + image.height))


def _tensor(image: Image.Image) -> Tensor:
    """(C, H, W) float32 in [0, 1]."""
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
    pixels = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    return pixels.contiguous().float().div_(255)


def plain_batches(dataset: PlainImages, batch: int, workers: int) -> Iterator[list[Tensor]]:
    """Batches without end, shuffled, from worker processes that live on between epochs."""
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
    """The encoder in float32 with its images and weights laid out as torch makes them (channels first)."""

    def __init__(self, encoder: NormalizedEncoder) -> None:
        super().__init__(
            encoder.network, encoder.layout, encoder.mean.flatten().tolist(), encoder.std.flatten().tolist()
        )
        self.network = encoder.network.to(memory_format=torch.contiguous_format)

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """See `NormalizedEncoder.forward`."""
        features: dict[str, Tensor] = self.network((images - self.mean) / self.std, tuple(taps))
        return {name: features[name] for name in taps}
