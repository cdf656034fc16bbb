"""Methods that make no step: the encoder is scored as it comes."""

from __future__ import annotations

from typing import NoReturn

from torch import nn

import benchmark


class NotTrained(nn.Module):
    """An encoder that is left alone.

    Args:
        encoder: scored as it is.
        name: of the method, for the message.
    """

    def __init__(self, encoder: benchmark.Encoder, name: str) -> None:
        super().__init__()
        self.encoder = encoder
        self._name = name

    def loss(self, batch: benchmark.Batch) -> NoReturn:
        """Never called by a harness that respects `trains=False`.

        Raises:
            PluginError: always.
        """
        raise benchmark.PluginError(
            f"method '{self._name}' is not trained and has no loss; its spec says trains=False, so make no steps with it"
        )
