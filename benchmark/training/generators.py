"""Read and restore the states of the random number generators that a training step draws from."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def generator_states(generator: torch.Generator, device: torch.device) -> dict[str, torch.Tensor]:
    """The states of the step's own generator, of the host's and of the device's default generator.

    Args:
        generator: the step's own, on the device.
        device: where the step runs.
    """
    states = {"draws": generator.get_state(), "host": torch.get_rng_state()}
    if device.type == "cuda":
        states["device"] = torch.cuda.get_rng_state(device)
    return states


def set_generator_states(states: Mapping[str, torch.Tensor], generator: torch.Generator, device: torch.device) -> None:
    """Restores the states that `generator_states` returned."""
    generator.set_state(states["draws"].cpu())
    torch.set_rng_state(states["host"].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["device"].cpu(), device)
