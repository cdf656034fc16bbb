"""The result of a training: the encoder to score, checked, and whether the method learned."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from benchmark.encoder import NormalizedEncoder
from benchmark.errors import PluginError, TrainingError
from benchmark.training.step import TrainingStep
from benchmark.training.task import EpochLosses, Trained, TrainingPosition


def result_of(
    step: TrainingStep,
    curve: tuple[EpochLosses, ...],
    *,
    seconds: float,
    resumed_from: TrainingPosition,
    acceleration: Mapping[str, str],
) -> Trained:
    """The result of a finished training.

    Args:
        step: the trained method.
        curve: the losses of each epoch.
        seconds: training time.
        resumed_from: position of the checkpoint that the training resumed from.
        acceleration: what made the steps faster.

    Raises:
        PluginError: the method returns no encoder, or names an unknown part of its loss.
        TrainingError: a weight is not finite.
    """
    task = step.task
    encoder = _trained_encoder(step)
    _check_finite(encoder, task.title)
    trivial: Mapping[str, float] = step.hooks.trivial_losses() if step.has("trivial_losses") else {}
    steps = len(curve) * step.length.steps_per_epoch
    return Trained(
        encoder=encoder.eval(),
        curve=curve,
        seconds=seconds,
        images_seen=step.length.images_seen(min(steps, task.steps or steps)),
        failed_to_learn=failed_to_learn(task.spec.name, trivial, curve[-1].losses if curve else {}),
        saw_labels=step.saw_labels,
        trivial=dict(trivial),
        resumed_from=resumed_from,
        acceleration=dict(acceleration),
    )


def _trained_encoder(step: TrainingStep) -> NormalizedEncoder:
    encoder: object = step.hooks.trained_encoder() if step.has("trained_encoder") else step.encoder
    if not isinstance(encoder, NormalizedEncoder):
        raise PluginError(
            f"method '{step.task.spec.name}': trained_encoder() returned {type(encoder).__name__}, but must return "
            "context.encoder or a copy of it (copy.deepcopy), so that it can be saved and loaded"
        )
    return encoder


def _check_finite(encoder: NormalizedEncoder, title: str) -> None:
    """Checks the weights: no loss shows the effect of the last update."""
    for name, tensor in encoder.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                f"{title}: after training, the encoder's '{name}' is not finite. Try a lower learning rate: --set lr=..."
            )


def failed_to_learn(method: str, trivial: Mapping[str, float], losses: Mapping[str, float]) -> bool | None:
    """Whether a part of the loss did not end below its trivial value.

    Args:
        method: name of the method, for messages.
        trivial: part of the loss -> its value for a predictor that ignores the image.
        losses: the losses of the last epoch, by part.

    Returns:
        None if the method declares no trivial value, or nothing was trained.

    Raises:
        PluginError: `trivial` names a part that the losses do not have.
    """
    if not trivial or not losses:
        return None
    unknown = sorted(set(trivial) - set(losses))
    if unknown:
        raise PluginError(
            f"method '{method}': trivial_losses names the part '{unknown[0]}', but the parts are {', '.join(losses)}"
        )
    return not all(losses[part] < value for part, value in trivial.items())
