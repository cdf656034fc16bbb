"""Sums of losses: means, the first step that is not finite, and constant addresses."""

from __future__ import annotations

import pytest
import torch

from benchmark.api.methods import Losses
from benchmark.errors import TrainingError
from benchmark.training.losses import LossSums

CPU = torch.device("cpu")


def losses(total: float, **parts: float) -> Losses:
    made = {name: torch.tensor(value) for name, value in parts.items()}
    return Losses(total=torch.tensor(total, requires_grad=True), parts=made)


def sums_of(*steps: Losses) -> LossSums:
    sums = LossSums(CPU)
    for step in steps:
        sums.add(step)
    return sums


def test_means_are_taken_over_the_steps_for_each_part() -> None:
    sums = sums_of(losses(1.0, prior=10.0), losses(2.0, prior=20.0), losses(6.0, prior=60.0))
    assert sums.means(3, "tried", 0, 3) == {"total": 3.0, "prior": 30.0}


@pytest.mark.parametrize("earlier", [100.0, float("nan")])
def test_reset_forgets_the_earlier_epoch(earlier: float) -> None:
    sums = sums_of(losses(earlier))
    sums.reset()
    sums.add(losses(1.0))
    sums.add(losses(2.0))
    assert sums.means(2, "tried", 1, 2) == {"total": 1.5}


def test_sums_are_float64() -> None:
    """In float32, 2^24 + 1 is 2^24."""
    sums = sums_of(losses(2.0**24), *[losses(1.0)] * 8)
    assert sums.means(1, "tried", 0, 9)["total"] == 2**24 + 8


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_first_step_that_is_not_finite_is_reported_with_its_parts(bad: float) -> None:
    sums = sums_of(
        losses(1.0, prior=0.5), losses(bad, prior=0.25), losses(float("nan"), prior=0.125), losses(1.0, prior=4.0)
    )
    with pytest.raises(TrainingError, match=rf"in step 12 \(epoch 3\): total {bad:g}, prior 0\.25\. ") as caught:
        sums.means(4, "tried", 2, 5)
    assert "tried: " in str(caught.value)
    assert "--set lr=" in str(caught.value)


def test_part_that_is_not_finite_is_no_error_if_the_total_is_finite() -> None:
    assert sums_of(losses(1.0, prior=float("inf"))).means(1, "tried", 0, 1) == {"total": 1.0, "prior": float("inf")}


def test_state_of_the_sums_can_be_restored() -> None:
    sums = sums_of(losses(1.0, prior=0.5), losses(float("nan"), prior=0.25))
    restored = LossSums(CPU)
    restored.load(sums.state())
    restored.add(losses(2.0, prior=8.0))
    with pytest.raises(TrainingError, match=r"in step 2 \(epoch 1\): total nan, prior 0\.25"):
        restored.means(3, "tried", 0, 3)


def test_tensors_of_the_sums_keep_their_addresses() -> None:
    """A captured step writes to them."""
    sums = sums_of(losses(1.0, prior=1.0))

    def addresses() -> list[int]:
        return [tensor.data_ptr() for group in sums.state().values() for tensor in group.values()]

    before = addresses()
    assert len(before) == len(set(before)) == 6
    for value in (2.0, float("nan"), 3.0):
        sums.add(losses(value, prior=value))
    sums.reset()
    sums.add(losses(1.0, prior=1.0))
    assert addresses() == before


def test_sums_hold_no_graph() -> None:
    state = sums_of(losses(1.0)).state()
    assert not any(tensor.requires_grad for group in state.values() for tensor in group.values())
