"""Build the module of a method, and check it against the method's contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from benchmark.api.methods import MethodContext, MethodSpec
from benchmark.encoder import NormalizedEncoder
from benchmark.errors import PluginError
from benchmark.seeding import derived_seed
from benchmark.training.task import TrainingData, TrainingTask


class Hooks(Protocol):
    """The optional functions of a method, looked up by name: see `benchmark.Method`."""

    def __getattr__(self, name: str) -> Callable[..., Any]: ...


def build_method(task: TrainingTask, data: TrainingData, encoder: NormalizedEncoder, total_steps: int) -> nn.Module:
    """The module of a method, on the CPU.

    Args:
        task: the method, its parameters and the seed.
        data: what the method is trained on.
        encoder: what the method trains.
        total_steps: number of optimization steps.

    Raises:
        PluginError: the module violates the method's contract.
    """
    spec = task.spec
    _, channels, height, width = data.images.shape
    context = MethodContext(
        params=task.params,
        encoder=encoder,
        layout=encoder.layout,
        image_shape=(channels, height, width),
        num_images=len(data.images),
        num_classes=data.num_classes if spec.labels == "all" else None,
        total_steps=total_steps,
        mean=tuple(encoder.mean.flatten().tolist()),
        std=tuple(encoder.std.flatten().tolist()),
        generator=torch.Generator().manual_seed(derived_seed(task.seed, "build")),
    )
    method = spec.build(context)
    _check_method(spec, method, encoder)
    return method


def _check_method(spec: MethodSpec, method: object, encoder: NormalizedEncoder) -> None:
    if not isinstance(method, nn.Module):
        raise PluginError(
            f"method '{spec.name}': build returned {type(method).__name__}, but must return a torch.nn.Module"
        )
    if spec.trains and not (has_hook(method, "loss") or has_hook(method, "step")):
        raise PluginError(f"method '{spec.name}': the module has neither loss(batch) nor step(batch, optimizer)")
    if spec.trains and not any(module is encoder for module in method.modules()):
        raise PluginError(
            f"method '{spec.name}': context.encoder is not a submodule, so it would be neither trained nor saved; keep it "
            "as an attribute of the module (self.encoder = context.encoder)"
        )


def has_hook(method: nn.Module, name: str) -> bool:
    """Whether a method has a function of this name."""
    return callable(getattr(method, name, None))


def parameter_groups(method: nn.Module, hooks: Hooks) -> list[dict[str, Any]]:
    """The method's own parameter groups, or one group of all parameters that require a gradient.

    Each group has `lr_factor`, by which its learning rate is multiplied.
    """
    groups: list[dict[str, Any]]
    if has_hook(method, "parameter_groups"):
        groups = hooks.parameter_groups()
    else:
        groups = [{"params": [parameter for parameter in method.parameters() if parameter.requires_grad]}]
    for group in groups:
        group.setdefault("lr_factor", 1.0)
    return groups
