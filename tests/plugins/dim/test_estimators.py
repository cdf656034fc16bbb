"""Deep InfoMax's bounds on mutual information: `bench_dim.estimators`."""

import math

import pytest
import torch
import torch.nn.functional as F
from generators import seeded
from tiny_dim import LOG_TWO

from bench_dim.estimators import ESTIMATORS, NWJ_TANGENT, dv, jsd, nce, negatives, nwj, positives

LOSSES = [pytest.param(estimator.loss, id=name) for name, estimator in ESTIMATORS.items()]


def random_scores(count=5, locations=3, scale=1.0, seed=0):
    return torch.randn(count, count, locations, generator=seeded(seed)) * scale


def test_losses_of_zero_scores_have_closed_forms():
    zeros = torch.zeros(8, 8, 9)
    assert jsd(zeros).item() == pytest.approx(1.386294, abs=1e-6)
    assert dv(zeros).item() == pytest.approx(0, abs=1e-6)
    assert nce(zeros).item() == pytest.approx(4.158883, abs=1e-5)
    assert nwj(zeros).item() == pytest.approx(0.367879, abs=1e-6)
    assert nce(torch.zeros(64, 64, 64)).item() == pytest.approx(8.302266, abs=1e-5)


def test_trivial_loss_is_that_of_constant_scores():
    for name, constant in (("jsd", 0.0), ("dv", 7.0), ("nce", -3.0), ("nwj", 1.0)):
        estimator = ESTIMATORS[name]
        assert estimator.loss(torch.full((8, 8, 9), constant)).item() == pytest.approx(estimator.trivial(63), abs=1e-5)


def test_infonce_excludes_the_own_image_also_for_low_scores():
    scores = torch.full((8, 8, 9), -20.0)
    own = torch.eye(8, dtype=torch.bool)[:, :, None]
    filled = scores.masked_fill(own, -10.0).flatten(1)[:, None]
    leaky = -(F.log_softmax(torch.cat([positives(scores)[..., None], filled.expand(-1, 9, -1)], dim=2), dim=2)[..., 0])
    assert leaky.mean().item() == pytest.approx(12.198, abs=1e-3)
    assert nce(scores).item() == pytest.approx(4.158883, abs=1e-5)


def test_losses_of_two_images_match_the_equations():
    # u = [[1, -2], [0.5, 3]]: positives 1 and 3, the negative of image 0 is -2, that of image 1 is 0.5.
    scores = torch.tensor([[1.0, -2.0], [0.5, 3.0]])[:, :, None]
    e = math.exp
    assert jsd(scores).item() == pytest.approx(
        (math.log(1 + e(-1)) + math.log(1 + e(-3)) + math.log(1 + e(-2)) + math.log(1 + e(0.5))) / 2, abs=1e-6
    )
    assert dv(scores).item() == pytest.approx(math.log((e(-2) + e(0.5)) / 2) - 2, abs=1e-6)
    assert nce(scores).item() == pytest.approx((math.log(1 + e(-3)) + math.log(1 + e(-2.5))) / 2, abs=1e-6)
    assert nwj(scores).item() == pytest.approx((e(-3) + e(-0.5)) / 2 - 2, abs=1e-6)


def test_positives_are_own_locations_and_negatives_all_others():
    scores = random_scores(4, 3)
    for i in range(4):
        assert torch.equal(positives(scores)[i], scores[i, i])
        expected = torch.cat([scores[i, j] for j in range(4) if j != i])
        assert torch.equal(negatives(scores)[i], expected)


def test_negatives_ignore_infinities_on_the_diagonal():
    scores = random_scores()
    own = torch.eye(5, dtype=torch.bool)[:, :, None].expand_as(scores)
    scores[own] = math.inf
    scores.requires_grad_()
    torch.logsumexp(negatives(scores), dim=1).sum().backward()
    assert torch.equal(scores.grad == 0, own)
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_is_invariant_to_the_order_of_images_and_locations(loss):
    scores = random_scores()
    images = torch.randperm(5, generator=seeded())
    assert loss(scores[images][:, images]).item() == pytest.approx(loss(scores).item(), abs=1e-5)
    assert loss(scores[:, :, torch.tensor([2, 0, 1])]).item() == pytest.approx(loss(scores).item(), abs=1e-5)


@pytest.mark.parametrize("loss", [pytest.param(dv, id="dv"), pytest.param(nce, id="nce")])
@pytest.mark.parametrize("shift", [-1000.0, -20.0, 50.0])
def test_loss_is_invariant_to_a_constant(loss, shift):
    scores = random_scores().double()
    assert loss(scores + shift).item() == pytest.approx(loss(scores).item(), abs=1e-9)


def test_infonce_is_invariant_to_a_constant_per_vector():
    scores = random_scores().double()
    assert nce(scores + torch.randn(5, 1, 1, generator=seeded())).item() == pytest.approx(nce(scores).item(), abs=1e-9)


def reference(name, scores):
    """The equations in float64, term by term."""
    table = scores.double()
    count, _, locations = table.shape
    own = [table[i, i, k] for i in range(count) for k in range(locations)]
    others = [table[i, j, k] for i in range(count) for j in range(count) for k in range(locations) if i != j]
    zero = torch.zeros((), dtype=torch.float64)
    mean_own = torch.stack(own).mean()
    if name == "jsd":
        return sum(torch.logaddexp(zero, -u) for u in own) / len(own) + sum(
            torch.logaddexp(zero, u) for u in others
        ) / len(others)
    if name == "dv":
        return torch.logsumexp(torch.stack(others), 0) - math.log(len(others)) - mean_own
    if name == "nwj":
        bend = math.exp(NWJ_TANGENT - 1)
        terms = [math.exp(u - 1) if u < NWJ_TANGENT else bend * (1 + float(u) - NWJ_TANGENT) for u in others]
        return sum(terms) / len(terms) - mean_own
    total = zero
    for i in range(count):
        rivals = [table[i, j, k] for j in range(count) for k in range(locations) if i != j]
        for k in range(locations):
            total = total + torch.logsumexp(torch.stack([table[i, i, k], *rivals]), 0) - table[i, i, k]
    return total / len(own)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_loss_matches_the_equations_in_float64(name, scale):
    scores = random_scores(scale=scale)
    assert ESTIMATORS[name].loss(scores).item() == pytest.approx(float(reference(name, scores)), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("own", "other"), [(1e4, -1e4), (-1e4, 1e4), (1e4, 1e4), (-1e4, -1e4)])
def test_loss_and_gradient_of_large_scores_are_finite(loss, own, other):
    mask = torch.eye(4, dtype=torch.bool)[:, :, None].expand(4, 4, 2)
    scores = torch.where(mask, own, other).requires_grad_()
    value = loss(scores)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(scores.grad).all()


def test_nwj_continues_as_its_tangent():
    scores = torch.full((3, 3, 1), NWJ_TANGENT, dtype=torch.float64)
    assert nwj(scores).item() == pytest.approx(math.exp(NWJ_TANGENT - 1) - NWJ_TANGENT)
    for offset in (-1e-6, 1e-6):
        near = (scores + offset).requires_grad_()
        nwj(near).backward()
        assert 6 * near.grad[0, 1].item() == pytest.approx(math.exp(NWJ_TANGENT - 1), rel=1e-5)


def gaussian_log_ratio(y, x, rho):
    """log p(x, y) / p(x) p(y) of a standard Gaussian pair with correlation rho."""
    rest = 1 - rho**2
    return -0.5 * math.log(rest) - (rho**2 * (x**2 + y**2) - 2 * rho * x * y) / (2 * rest)


def gaussian_scores(count=600, locations=20, rho=0.8):
    """The true log ratio for N evenly spread quantiles of y and L draws of x per quantile: (N, N, L)."""
    y = torch.special.ndtri((torch.arange(count) + 0.5) / count)
    x = rho * y[:, None] + math.sqrt(1 - rho**2) * torch.randn(count, locations, generator=seeded())
    return gaussian_log_ratio(y[:, None, None], x[None], rho)


def test_bounds_match_the_information_of_a_gaussian_pair():
    # rho = .8: I = -1/2 log(1 - rho^2) = .510826 nats
    scores = gaussian_scores()
    assert -dv(scores).item() == pytest.approx(0.508, abs=0.01)
    assert -nwj(scores + 1).item() == pytest.approx(0.5108, abs=0.01)
    assert 2 * LOG_TWO - jsd(scores).item() == pytest.approx(0.266, abs=0.005)


def test_infonce_underestimates_with_sixteen_candidates():
    generator = seeded(3)
    bounds = []
    for _ in range(2000):
        y, noise = torch.randn(2, 16, generator=generator)
        x = 0.8 * y + 0.6 * noise
        bounds.append(math.log(16) - nce(gaussian_log_ratio(y[:, None], x[None], 0.8)[:, :, None]))
    assert torch.stack(bounds).mean().item() == pytest.approx(0.466, abs=0.02)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_infonce_is_at_most_the_log_of_its_candidates(scale):
    scores = random_scores(scale=scale) + 100 * torch.eye(5)[:, :, None]
    assert nce(scores).item() >= 0
