"""Extract features from a frozen encoder, and check that nothing changed it.

All requested taps of a split are read in one pass over its images and kept.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from benchmark.api.encoders import Layout, Pool
from benchmark.encoder import NormalizedEncoder, pooled
from benchmark.errors import FrozenError
from benchmark.images import blocks, to_float

BLOCK = 500
"""Number of images that are encoded at once."""


class FrozenFeatures:
    """The features of the training and the test images, computed when they are first requested.

    Args:
        encoder: what is scored; it stays in eval mode.
        train: (N, C, H, W) uint8, on the encoder's device, or on the CPU if they do not fit there.
        test: (M, C, H, W) uint8, likewise.
        requests: (tap, pool) pairs that are read in one pass. Those without pooling are read one by one, because they
            are large and not always needed.
    """

    def __init__(
        self, encoder: NormalizedEncoder, train: Tensor, test: Tensor, requests: Sequence[tuple[str, Pool]]
    ) -> None:
        self.encoder = encoder.eval()
        self._images = {"train": train, "test": test}
        self._requests = [pair for pair in dict.fromkeys(requests) if pair[1] != "none"]
        self._kept: dict[tuple[str, str, Pool], Tensor] = {}
        self.encoded = False
        """Whether `encode` was called, that is, an evaluator encoded further images, usually augmented views."""

    @property
    def layout(self) -> Layout:
        """The taps of the encoder."""
        return self.encoder.layout

    def read(self, split: str, tap: str, pool: Pool) -> Tensor:
        """The features of a split at a tap.

        Features without pooling are kept for one tap at a time, because they may take gigabytes.

        Args:
            split: `train` or `test`.
            tap: name of a tap.
            pool: `average`, `flat` or `none`.

        Returns:
            (N, D) float32, or (N, *tap.shape) without pooling.

        Raises:
            KeyError: the layout has no such tap.
        """
        if (split, tap, pool) not in self._kept:
            pairs = self._requests if (tap, pool) in self._requests else [(tap, pool)]
            if pool == "none":
                self._kept = {key: kept for key, kept in self._kept.items() if key[1] == tap or key[2] != "none"}
            for pair, features in self._extract(self._images[split], pairs).items():
                self._kept[(split, *pair)] = features
        return self._kept[(split, tap, pool)]

    @torch.no_grad()
    def encode(self, images: Tensor, tap: str) -> Tensor:
        """The features of float32 images in [0, 1] in the tap's own shape; in eval mode, without a graph."""
        self.encoder.eval()
        self.encoded = True
        features: Tensor = self.encoder(images.to(self.encoder.mean.device), [tap])[tap]
        return features

    def _shape(self, tap: str, pool: Pool) -> tuple[int, ...]:
        layout_tap = self.layout.tap(tap)
        return layout_tap.shape if pool == "none" else (layout_tap.width(pool),)

    @torch.no_grad()
    def _extract(self, images: Tensor, pairs: Sequence[tuple[str, Pool]]) -> dict[tuple[str, Pool], Tensor]:
        """The features of all (tap, pool) pairs, from one pass over the images."""
        self.encoder.eval()
        taps = list(dict.fromkeys(tap for tap, _ in pairs))
        device = self.encoder.mean.device
        kept = {(tap, pool): torch.empty((len(images), *self._shape(tap, pool)), device=device) for tap, pool in pairs}
        start = 0
        for block in blocks(images, BLOCK):
            encoded = self.encoder(to_float(block.to(device)), taps)
            for (tap, pool), features in kept.items():
                features[start : start + len(block)] = pooled(encoded[tap], self.layout.tap(tap), pool)
            start += len(block)
        return kept


@contextlib.contextmanager
def frozen_features(encoder: nn.Module) -> Iterator[str]:
    """Checks that the weights and buffers of an encoder have the same bytes afterwards as before.

    Yields:
        The checksum of its state.

    Raises:
        FrozenError: they changed: an evaluator trained the encoder, or left its norm layers in train mode.
    """
    before = state_checksum(encoder)
    yield before
    if state_checksum(encoder) != before:
        raise FrozenError(
            "the encoder's weights or running statistics changed while it was scored; an evaluator must read features "
            "through probe.features or probe.encode, and must not train the encoder"
        )


def state_checksum(module: nn.Module) -> str:
    """SHA-256 of the names and bytes of all weights and buffers, as hexadecimal digits."""
    return tensors_checksum(module.state_dict())


def tensors_checksum(tensors: Mapping[str, Tensor]) -> str:
    """The same of a state that was read from a file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
