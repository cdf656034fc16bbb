"""The base of methods without training: the encoder is scored unchanged."""

from __future__ import annotations

from typing import NoReturn

from torch import nn

import benchmark


class NotTrained(nn.Module):
    """A method that does not train its encoder.

    Args:
        encoder: the encoder to score.
        name: name of the method, for the message.
    """

    def __init__(self, encoder: benchmark.Encoder, name: str) -> None:
        super().__init__()
        self.encoder = encoder
        self._name = name

    def loss(self, batch: benchmark.Batch) -> NoReturn:
        """Not supported. The harness does not call it, because the spec declares `trains=False`.

        Raises:
            PluginError: always.
        """
        raise benchmark.PluginError(
            f"method '{self._name}' has no loss: its spec declares trains=False, so it must not be trained"
        )
