"""Deep InfoMax's adversarial prior: `bench_dim.prior`."""

import pytest
import torch
from generators import seeded
from tiny_dim import LOG_TWO
from torch import nn

from bench_dim.prior import Discriminator, discriminator_loss, encoder_loss


class FirstCoordinate(nn.Module):
    """Logit = slope times the code's first coordinate."""

    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(float(slope)))
        self.seen = []

    def forward(self, codes):
        self.seen.append(codes.detach())
        return self.slope * codes[:, :1]


def test_constant_discriminator_has_loss_two_log_two():
    vectors = torch.randn(6, 4)
    assert discriminator_loss(FirstCoordinate(0), vectors, 1.0, seeded()).item() == pytest.approx(1.386294, abs=1e-6)
    assert encoder_loss(FirstCoordinate(0), vectors).item() == pytest.approx(LOG_TWO, abs=1e-6)


def test_penalty_is_the_squared_gradient_of_the_logit():
    vectors = torch.randn(6, 4)
    without = discriminator_loss(FirstCoordinate(3), vectors, 0.0, seeded())
    with_penalty = discriminator_loss(FirstCoordinate(3), vectors, 0.5, seeded())
    assert (with_penalty - without).item() == pytest.approx(0.5 * 9, abs=1e-5)


def test_penalty_has_a_gradient_for_the_discriminator():
    gradients = []
    for penalty in (0.0, 1.0):
        discriminator = FirstCoordinate(3)
        discriminator_loss(discriminator, torch.randn(6, 4, generator=seeded()), penalty, seeded(1)).backward()
        gradients.append(discriminator.slope.grad.item())
    assert gradients[1] - gradients[0] == pytest.approx(6, abs=1e-4)  # d slope^2 / d slope


def test_discriminator_compares_uniform_samples_with_sigmoid_codes():
    discriminator = FirstCoordinate(1)
    vectors = torch.full((4000, 8), 100.0)
    discriminator_loss(discriminator, vectors, 0.0, seeded())
    draws, codes = discriminator.seen[0].split(4000)
    assert torch.equal(codes, torch.ones_like(codes))
    assert draws.mean().item() == pytest.approx(0.5, abs=0.01)
    assert draws.var().item() == pytest.approx(1 / 12, abs=0.002)


def test_each_loss_has_a_gradient_only_for_its_own_side():
    torch.manual_seed(0)
    discriminator, vectors = Discriminator(4), torch.randn(6, 4, requires_grad=True)
    discriminator_loss(discriminator, vectors, 1.0, seeded()).backward()
    assert vectors.grad is None
    assert all(weight.grad is not None for weight in discriminator.parameters() if weight.dim() == 2)
    discriminator.zero_grad(set_to_none=True)
    encoder_loss(discriminator, vectors).backward()
    assert vectors.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in discriminator.parameters())


def test_encoder_loss_moves_codes_to_higher_logits():
    discriminator, vectors = FirstCoordinate(2), torch.zeros(5, 3, requires_grad=True)
    encoder_loss(discriminator, vectors).backward()
    assert (vectors.grad[:, 0] < 0).all()  # codes move to higher logits
    assert (vectors.grad[:, 1:] == 0).all()
