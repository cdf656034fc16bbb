"""The harness trains with the losses, gradients and weights of a plain loop that is written out as a reference."""

from __future__ import annotations

import dataclasses
import shutil
from typing import Any

import pytest
import torch
from plain_training import BATCH, CASES, SGD, STEPS, Run, assert_equal_bits

NO_COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")

LOSS = 1e-5
"""Relative tolerance of a step's loss under SGD. float32 has 6e-8; sums of some thousand terms in another order lose one
or two digits of that, and the earlier steps have moved the weights by as much again."""
GRADIENT = 5e-5
"""Tolerance of each entry of the first step's gradients, relative to the largest entry of the same tensor: entries are
differences of many larger terms, so their own size does not bound their error."""
WEIGHT = 1e-3
"""Tolerance of each entry of the weights after SGD, relative to the largest change of the tensor: the error of the
gradients, carried through 2 x `STEPS` steps of a network with batch norm (without kinks, see the fixture `smooth`)."""
ADAM_LOSS, ADAM_WEIGHT = 1e-4, 0.02
"""The same under Adam. The tolerance of a weight is relative to the learning rate, by which one step moves it."""


def assert_close(run: Run, plain: Run, *, loss: float, gradient: float) -> None:
    assert run.losses == pytest.approx(plain.losses, rel=loss)
    assert run.gradients.keys() == plain.gradients.keys()
    for name, expected in plain.gradients.items():
        atol = gradient * float(expected.abs().max())
        torch.testing.assert_close(run.gradients[name], expected, rtol=0, atol=atol, msg=f"gradient of {name}")


@pytest.mark.usefixtures("smooth")
@pytest.mark.parametrize("name", CASES)
def test_losses_gradients_and_weights_are_those_of_the_plain_loop(name: str) -> None:
    case = CASES[name].with_recipe(**SGD)
    plain, run = case.plain(), case.harness()
    assert len(plain.losses) == 2 * STEPS
    assert_close(run, plain, loss=LOSS, gradient=GRADIENT)
    assert run.weights.keys() == plain.weights.keys()
    largest = run.weights.pop("largest_batch", None)  # a counter of DIM, which the plain loss does not update
    assert largest is None or int(largest) == BATCH
    for key, weights in run.weights.items():
        expected = plain.weights[key]
        moved = float((expected.double() - plain.start[key].double()).abs().max())
        assert torch.equal(run.start[key], plain.start[key]), key
        torch.testing.assert_close(weights, expected, rtol=0, atol=WEIGHT * moved + 1e-7, msg=key)


@pytest.mark.parametrize("name", CASES)
def test_first_loss_with_relu_is_that_of_the_plain_loop(name: str) -> None:
    assert CASES[name].harness().losses[0] == pytest.approx(CASES[name].plain().losses[0], rel=LOSS)


@pytest.mark.usefixtures("smooth")
@pytest.mark.parametrize("name", CASES)
def test_adam_gives_the_losses_and_weights_of_the_plain_loop(name: str) -> None:
    """Adam divides by the size of the gradient: weights whose gradient is rounding noise may move in either direction.

    So weights are compared where the first gradient is clearly above the noise.
    """
    case = CASES[name]
    plain, run = case.plain(), case.harness()
    assert_close(run, plain, loss=ADAM_LOSS, gradient=GRADIENT)
    for key, gradient in plain.gradients.items():
        clear = gradient.abs() > 0.05 * gradient.abs().max()
        difference = (run.weights[key] - plain.weights[key])[clear].abs().max()
        assert float(difference) < ADAM_WEIGHT * case.recipe.lr, key


def test_epoch_loss_is_the_mean_of_the_plain_losses() -> None:
    plain, run = CASES["rotation"].plain(), CASES["rotation"].harness()
    means = [sum(plain.losses[start : start + STEPS]) / STEPS for start in (0, STEPS)]
    assert [row.losses["total"] for row in run.trained.curve] == pytest.approx(means, rel=ADAM_LOSS)


@pytest.mark.usefixtures("smooth")
@pytest.mark.parametrize("augment", ["none", "crop", "flip"])
def test_augmentation_is_that_of_the_plain_loop(augment: Any) -> None:
    case = CASES["supervised"].with_recipe(augment=augment, pad=3, **SGD)
    assert_close(case.harness(), case.plain(), loss=LOSS, gradient=GRADIENT)


@pytest.mark.usefixtures("smooth")
def test_tolerances_detect_one_changed_pixel() -> None:
    case = CASES["supervised"].with_recipe(**SGD)
    changed = dataclasses.replace(case, changed_pixel=(7, 1, 8, 8))
    with pytest.raises(AssertionError):
        assert_close(changed.harness(), case.plain(), loss=LOSS, gradient=GRADIENT)


@pytest.mark.parametrize("name", CASES)
def test_streamed_images_train_to_the_same_bits(name: str) -> None:
    assert_equal_bits(CASES[name].harness(streamed=True), CASES[name].harness())


@pytest.mark.usefixtures("smooth")
@pytest.mark.slow
@NO_COMPILER
@pytest.mark.filterwarnings("default")  # warnings of the compiler about this version of torch
@pytest.mark.parametrize("name", ["aet projective", "dim"])
def test_compiled_network_gives_the_numbers_of_the_plain_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The compiler imports setuptools, which refuses to load after the standard library's distutils of other tests.
    monkeypatch.setenv("SETUPTOOLS_USE_DISTUTILS", "stdlib")
    case = CASES[name].with_recipe(**SGD)
    encoder = case.fresh_encoder()
    names = list(encoder.state_dict())
    run = case.harness("compile", encoder=encoder)
    assert run.trained.acceleration["compile"] == "compiled"
    assert_close(run, case.plain(), loss=2 * LOSS, gradient=2 * GRADIENT)
    assert list(encoder.state_dict()) == names
