"""Building a method: contract violations are refused, and the context says what is trained."""

from __future__ import annotations

from typing import Any

import pytest
from small_trainings import IMAGES, RECIPE, MeanColor, small_encoder, step_of, train_small
from torch import nn

import benchmark
from benchmark.errors import PluginError


def test_method_without_loss_or_step_is_refused() -> None:
    with pytest.raises(PluginError, match=r"method 'tried': the module has neither loss\(batch\) nor step\(batch"):
        train_small(lambda context: nn.Identity())


def test_build_without_module_is_refused() -> None:
    with pytest.raises(PluginError, match=r"build returned int, but must return a torch\.nn\.Module"):
        train_small(lambda context: 3)  # type: ignore[arg-type,return-value]  # a plugin's mistake


def test_encoder_outside_of_the_submodules_is_refused() -> None:
    class Hidden(MeanColor):
        def __init__(self, context: benchmark.MethodContext) -> None:
            super().__init__(context)
            del self.encoder
            self.__dict__["encoder"] = context.encoder

    with pytest.raises(PluginError, match=r"context\.encoder is not a submodule"):
        train_small(Hidden)


@pytest.mark.parametrize(("labels", "num_classes"), [("none", None), ("all", 4)])
def test_context_has_steps_normalization_and_classes_only_with_labels(labels: Any, num_classes: int | None) -> None:
    context: Any = step_of(recipe=RECIPE, labels=labels).method.context
    assert (context.total_steps, context.num_images, context.image_shape) == (6, IMAGES, (3, 16, 16))
    assert context.num_classes == num_classes
    assert context.mean == pytest.approx((0.4, 0.4, 0.4))
    assert context.std == pytest.approx((0.3, 0.3, 0.3))
    assert context.layout == small_encoder().layout
