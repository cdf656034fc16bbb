"""From an encoder to feature vectors: frozen, in eval mode, without a graph, and proven unchanged afterwards.

All taps that are wanted of a split are read in one pass over its images and kept.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from benchmark.api.encoders import Layout, Pool
from benchmark.encoder import NormalizedEncoder, pooled
from benchmark.errors import FrozenError
from benchmark.images import blocks, to_float

BLOCK = 500
"""Images encoded at once."""


class FrozenFeatures:
    """The features of a train and a test split, each computed when first asked for.

    Args:
        encoder: what is scored; left in eval mode.
        train: (N, C, H, W) uint8 on the encoder's device, or on the CPU if they are too many for it.
        test: (M, C, H, W) uint8, likewise.
        wanted: (tap, pool) pairs that will be asked for: read in one pass, but for those without pooling, which are
            large and not always asked for.
    """

    def __init__(
        self, encoder: NormalizedEncoder, train: Tensor, test: Tensor, wanted: Sequence[tuple[str, Pool]]
    ) -> None:
        self.encoder = encoder.eval()
        self._images = {"train": train, "test": test}
        self._wanted = [pair for pair in dict.fromkeys(wanted) if pair[1] != "none"]
        self._kept: dict[tuple[str, str, Pool], Tensor] = {}
        self.encoded = False
        """Whether somebody encoded images of his own: views of the training images, mostly."""

    @property
    def layout(self) -> Layout:
        """The encoder's taps."""
        return self.encoder.layout

    def read(self, split: str, tap: str, pool: Pool) -> Tensor:
        """(N, D) float32 features of a split at a tap, or (N, *tap.shape) without pooling.

        Features without pooling are kept for one tap at a time: they fill gigabytes.

        Args:
            split: `train` or `test`.
            tap: a name of the layout.
            pool: `average`, `flat` or `none`.

        Raises:
            KeyError: no such tap.
        """
        if (split, tap, pool) not in self._kept:
            wanted = self._wanted if (tap, pool) in self._wanted else [(tap, pool)]
            if pool == "none":
                self._kept = {key: kept for key, kept in self._kept.items() if key[1] == tap or key[2] != "none"}
            for pair, features in self._pass(self._images[split], wanted).items():
                self._kept[(split, *pair)] = features
        return self._kept[(split, tap, pool)]

    @torch.no_grad()
    def encode(self, images: Tensor, tap: str) -> Tensor:
        """The tap's own shape for float32 images in [0, 1]; eval mode, no graph."""
        self.encoder.eval()
        self.encoded = True
        features: Tensor = self.encoder(images.to(self.encoder.mean.device), [tap])[tap]
        return features

    def _shape(self, tap: str, pool: Pool) -> tuple[int, ...]:
        found = self.layout.tap(tap)
        return found.shape if pool == "none" else (found.width(pool),)

    @torch.no_grad()
    def _pass(self, images: Tensor, wanted: Sequence[tuple[str, Pool]]) -> dict[tuple[str, Pool], Tensor]:
        self.encoder.eval()
        taps = list(dict.fromkeys(tap for tap, _ in wanted))
        device = self.encoder.mean.device
        kept = {(tap, pool): torch.empty((len(images), *self._shape(tap, pool)), device=device) for tap, pool in wanted}
        start = 0
        for block in blocks(images, BLOCK):
            found = self.encoder(to_float(block.to(device)), taps)
            for (tap, pool), features in kept.items():
                features[start : start + len(block)] = pooled(found[tap], self.layout.tap(tap), pool)
            start += len(block)
        return kept


@contextlib.contextmanager
def frozen_features(encoder: nn.Module) -> Iterator[str]:
    """Guards an encoder: whatever happens inside, its weights and buffers must be the same bytes afterwards.

    Yields:
        The checksum of its state.

    Raises:
        FrozenError: something changed: an evaluator trained it, or left its norm layers in train mode.
    """
    before = state_checksum(encoder)
    yield before
    if state_checksum(encoder) != before:
        raise FrozenError(
            "the encoder's weights or running statistics changed while it was scored: an evaluator must read features "
            "through probe.features or probe.encode, and train nothing of the encoder"
        )


def state_checksum(module: nn.Module) -> str:
    """SHA-256 over the names and bytes of all weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
