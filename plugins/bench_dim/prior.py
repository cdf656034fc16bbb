"""The adversarial prior: a discriminator that draws the codes' distribution towards the uniform one on [0, 1]^D.

Hjelm et al. 2019, section 3.3 and the authors' code. The game is played in one backward: the discriminator's loss sees
detached codes, the encoder's loss sees detached discriminator weights. Minimising one joint loss without those two cuts
makes the encoder help the discriminator, which is the fault of several re-implementations.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Discriminator(nn.Sequential):
    """Uniform (positive logit) or code (negative): D - 1000 - 200 - 1 with ReLU.

    No batch norm: the gradient penalty wants each logit to depend on its own input alone.

    Args:
        width: D, length of a code.
    """

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 1000), nn.ReLU(), nn.Linear(1000, 200), nn.ReLU(), nn.Linear(200, 1))


def discriminator_loss(discriminator: nn.Module, vectors: Tensor, penalty: float, generator: torch.Generator) -> Tensor:
    """Binary cross-entropy of uniform draws against codes, plus `penalty` times the squared gradient at both.

    The penalty is centerd at zero (Mescheder et al. 2018): the mean of ||dD/dinput||^2 over draws and codes. It needs a
    second backward through the discriminator, and with that a graph (no `torch.no_grad`).

    Args:
        discriminator: (M, D) -> logits (M, 1).
        vectors: (N, D), before the sigmoid; no gradient goes back to them.
        penalty: weight, 0 or more.
        generator: on the device of `vectors`; draws the N uniform codes.

    Returns:
        Scalar; 2 log 2 where the two cannot be told apart.
    """
    codes = torch.sigmoid(vectors.detach())
    draws = torch.rand(codes.shape, generator=generator, device=codes.device, dtype=codes.dtype)
    inputs = torch.cat([draws, codes]).requires_grad_(penalty > 0)
    logits = discriminator(inputs)
    loss = F.softplus(-logits[: len(draws)]).mean() + F.softplus(logits[len(draws) :]).mean()
    if penalty > 0:
        (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
        loss = loss + penalty * gradient.square().sum(dim=1).mean()
    return loss


def encoder_loss(discriminator: nn.Module, vectors: Tensor) -> Tensor:
    """What the encoder minimizes, softplus(-D(sigmoid(Y))) (not saturating); the discriminator gets no gradient.

    Args:
        discriminator: (N, D) -> logits (N, 1).
        vectors: (N, D), before the sigmoid.

    Returns:
        Scalar; log 2 where codes look uniform.
    """
    weights = {name: weight.detach() for name, weight in discriminator.named_parameters()}
    logits = torch.func.functional_call(discriminator, weights, (torch.sigmoid(vectors),))
    return F.softplus(-logits).mean()
