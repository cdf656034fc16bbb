"""What all conformance checks share: their error, and the check that global state does not change."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


class ConformanceError(AssertionError):
    """A plugin violates its contract."""


def require(condition: bool, message: str) -> None:
    """Raises ConformanceError with the message unless the condition holds."""
    if not condition:
        raise ConformanceError(message)


@contextlib.contextmanager
def unchanged_global_state(name: str) -> Iterator[None]:
    """Checks that the code inside leaves the global state as it was: random streams, default type, gradient mode, threads.

    Args:
        name: what is checked, for the message: "method 'mine'".

    Raises:
        ConformanceError: with what changed.
    """
    before = _global_state()
    yield
    changed = [part for part, value in _global_state().items() if value != before[part]]
    require(not changed, f"{name} changed global state: {', '.join(changed)}")


def _global_state() -> dict[str, object]:
    # The harness runs a plugin's code in torch.random.fork_rng, so torch's stream moves only by a leak.
    numpy_state: Any = np.random.get_state()
    return {
        "torch's default type": torch.get_default_dtype(),
        "gradient mode": torch.is_grad_enabled(),
        "the number of threads": torch.get_num_threads(),
        "torch's random stream": torch.random.get_rng_state().numpy().tobytes(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "numpy's random stream": numpy_state[1].tobytes(),
        "python's random stream": random.getstate(),
    }
