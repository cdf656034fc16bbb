"""The adversarial prior: a discriminator pushes the distribution of codes towards the uniform one on [0, 1]^D.

Hjelm et al. 2019, section 3.3 and the authors' code. One backward pass trains both sides: the discriminator's loss sees
detached codes, the encoder's loss sees detached discriminator weights. Minimizing one joint loss without detaching makes the
encoder help the discriminator, an error in several re-implementations.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Discriminator(nn.Sequential):
    """Uniform sample (positive logit) or code (negative logit): D - 1000 - 200 - 1 with ReLU.

    It has no batch normalization, because the gradient penalty requires that each logit depends only on its own input.

    Args:
        width: D, length of a code.
    """

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 1000), nn.ReLU(), nn.Linear(1000, 200), nn.ReLU(), nn.Linear(200, 1))


def discriminator_loss(discriminator: nn.Module, vectors: Tensor, penalty: float, generator: torch.Generator) -> Tensor:
    """Binary cross-entropy of uniform samples against codes, plus `penalty` times the squared gradient at both.

    The penalty is centered at zero (Mescheder et al. 2018): the mean of ||dD/dinput||^2 over samples and codes. It needs a
    second backward pass through the discriminator, and therefore a graph (no `torch.no_grad`).

    Args:
        discriminator: (M, D) -> logits (M, 1).
        vectors: (N, D), before the sigmoid; they receive no gradient.
        penalty: weight, 0 or more.
        generator: on the device of `vectors`; draws the N uniform samples.

    Returns:
        Scalar; 2 log 2 if samples and codes cannot be distinguished.
    """
    codes = torch.sigmoid(vectors.detach())
    samples = torch.rand(codes.shape, generator=generator, device=codes.device, dtype=codes.dtype)
    inputs = torch.cat([samples, codes]).requires_grad_(penalty > 0)
    logits = discriminator(inputs)
    loss = F.softplus(-logits[: len(samples)]).mean() + F.softplus(logits[len(samples) :]).mean()
    if penalty > 0:
        (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
        loss = loss + penalty * gradient.square().sum(dim=1).mean()
    return loss


def encoder_loss(discriminator: nn.Module, vectors: Tensor) -> Tensor:
    """The encoder's loss, softplus(-D(sigmoid(Y))) (non-saturating). The discriminator receives no gradient.

    Args:
        discriminator: (N, D) -> logits (N, 1).
        vectors: (N, D), before the sigmoid.

    Returns:
        Scalar; log 2 if codes cannot be distinguished from uniform samples.
    """
    weights = {name: weight.detach() for name, weight in discriminator.named_parameters()}
    logits = torch.func.functional_call(discriminator, weights, (torch.sigmoid(vectors),))
    return F.softplus(-logits).mean()
