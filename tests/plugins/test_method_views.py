"""Methods that split their loss: loss(batch) is loss_of(batch, views(batch)), to the last bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_trainings import RECIPE, data_of, small_encoder
from torch import Tensor

import benchmark
from benchmark.api.catalog import load_catalog
from benchmark.progress import silent
from benchmark.training.step import TrainingStep
from benchmark.training.task import TrainingTask

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "aet": ("aet", {}),
    "aet affine": ("aet", {"transform": "affine"}),
    "aet similarity": ("aet", {"transform": "similarity"}),
    "aet joint": ("aet", {"statistics": "joint"}),
    "aet image": ("aet", {"loss": "image", "fill": "black"}),
    "rotation": ("rotation", {}),
    "rotation 2": ("rotation", {"turns": 2}),
    "rotation 8": ("rotation", {"turns": 8}),
}


def shipped_step(method: str, params: dict[str, Any]) -> TrainingStep:
    catalog = load_catalog()
    spec = catalog.find(catalog.methods, "method", method).spec
    task = TrainingTask(spec=spec, params=spec.params(**params), recipe=RECIPE, seed=0, title=method)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TrainingStep(task, data_of(32), small_encoder(), silent)


def batch_of(step: TrainingStep) -> benchmark.Batch:
    return step.make_batch(step.data.images[:8], torch.arange(8), 0.0)


@pytest.mark.parametrize("name", VARIANTS)
def test_loss_is_the_loss_of_its_views(name: str) -> None:
    step = shipped_step(*VARIANTS[name])
    batch, before = batch_of(step), step.generator.get_state()

    def computed(loss: Any) -> tuple[benchmark.Losses, list[Tensor], Tensor]:
        step.generator.set_state(before)
        step.method.zero_grad()
        losses = loss()
        losses.total.backward()
        gradients = [p.grad.clone() for p in step.method.parameters() if p.grad is not None]
        return losses, gradients, step.generator.get_state()

    whole, whole_gradients, whole_state = computed(lambda: step.hooks.loss(batch))
    halves, gradients, state = computed(lambda: step.hooks.loss_of(batch, step.hooks.views(batch)))
    assert torch.equal(state, whole_state)
    assert torch.equal(halves.total, whole.total)
    assert {part: float(value) for part, value in halves.parts.items()} == {
        part: float(value) for part, value in whole.parts.items()
    }
    assert len(gradients) == len(whole_gradients) > 0
    assert all(torch.equal(one, other) for one, other in zip(gradients, whole_gradients, strict=True))


@pytest.mark.parametrize("name", VARIANTS)
def test_views_make_all_random_draws(name: str) -> None:
    """So that `bench speed` can make views once and train on them repeatedly."""
    step = shipped_step(*VARIANTS[name])
    batch = batch_of(step)
    views, before = step.hooks.views(batch), step.generator.get_state()
    first, second = (float(step.hooks.loss_of(batch, views).total.detach()) for _ in range(2))
    assert torch.equal(step.generator.get_state(), before)
    assert first == second


def test_all_shipped_methods_with_views_are_compared() -> None:
    catalog = load_catalog()
    names = [entry.spec.name for entry in catalog.methods if entry.spec.trains]
    assert {"aet", "rotation", "dim", "supervised"} <= set(names)
    for name in names:
        step = shipped_step(name, {})
        assert step.has("views") == step.has("loss_of") == (name in {method for method, _ in VARIANTS.values()})
