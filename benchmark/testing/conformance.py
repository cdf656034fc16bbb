"""The error of a conformance check, and the guard against global side effects."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


class ConformanceError(AssertionError):
    """A plugin that does not keep its contract."""


def require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ConformanceError(sentence)


class NoTrace:  # reads as a word in a with statement
    """Global torch state is afterwards what it was: random stream, default type, gradient mode, thread count."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._before = list(global_state())

    def __exit__(self, kind: object, *exception: object) -> None:
        if kind is not None:
            return
        for (what, before), (_, after) in zip(self._before, global_state(), strict=True):
            require(before == after, f"{self._name} changed global state: {what}")


def global_state() -> Iterator[tuple[str, object]]:
    # Only what code must not touch: draws during a check run inside fork_rng, so a moved stream is a leak.
    yield "torch's default type", torch.get_default_dtype()
    yield "gradient mode", torch.is_grad_enabled()
    yield "the number of threads", torch.get_num_threads()
    yield "torch's random stream", bytes(torch.random.get_rng_state().numpy().tobytes())
    yield "deterministic algorithms", torch.are_deterministic_algorithms_enabled()
    state: Any = np.random.get_state()
    yield "numpy's random stream", state[1].tobytes()
    yield "python's random stream", random.getstate()
