import dataclasses
import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import bench_dim
import bench_encoders
import benchmark
from bench_dim import DimParams
from bench_dim.coordinates import Coordinates
from bench_dim.critics import (
    Bilinear,
    Concat,
    LocalDot,
    ResidualProjection,
    dot_products,
    map_convolutions,
    map_encoder,
)
from bench_dim.estimators import ESTIMATORS, NWJ_TANGENT, dv, jsd, nce, negatives, nwj, positives
from bench_dim.method import DeepInfoMax, sampled
from bench_dim.occlusion import block_side, hidden, occluded
from bench_dim.prior import Discriminator, discriminator_loss, encoder_loss
from benchmark.api.parameters import as_dict, label
from benchmark.encoder import NormalizedEncoder
from benchmark.testing.methods import check_method

ALL = [pytest.param(estimator.loss, id=name) for name, estimator in ESTIMATORS.items()]
LOG_TWO = math.log(2)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_scores(count=5, places=3, scale=1.0, seed=0):
    return torch.randn(count, count, places, generator=seeded(seed)) * scale


def parameter_count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# --- estimators -------------------------------------------------------------------------------------------------------


def test_losses_of_zero_scores_have_their_closed_forms():
    zeros = torch.zeros(8, 8, 9)
    assert jsd(zeros).item() == pytest.approx(1.386294, abs=1e-6)
    assert dv(zeros).item() == pytest.approx(0, abs=1e-6)
    assert nce(zeros).item() == pytest.approx(4.158883, abs=1e-5)
    assert nwj(zeros).item() == pytest.approx(0.367879, abs=1e-6)
    assert nce(torch.zeros(64, 64, 64)).item() == pytest.approx(8.302266, abs=1e-5)


def test_the_trivial_losses_are_those_of_constant_scores():
    for name, constant in (("jsd", 0.0), ("dv", 7.0), ("nce", -3.0), ("nwj", 1.0)):
        estimator = ESTIMATORS[name]
        assert estimator.loss(torch.full((8, 8, 9), constant)).item() == pytest.approx(estimator.trivial(63), abs=1e-5)


def test_infonce_leaves_the_own_image_out_where_a_mask_of_minus_ten_would_leak():
    scores = torch.full((8, 8, 9), -20.0)
    own = torch.eye(8, dtype=torch.bool)[:, :, None]
    filled = scores.masked_fill(own, -10.0).flatten(1)[:, None]
    leaky = -(F.log_softmax(torch.cat([positives(scores)[..., None], filled.expand(-1, 9, -1)], dim=2), dim=2)[..., 0])
    assert leaky.mean().item() == pytest.approx(12.198, abs=1e-3)
    assert nce(scores).item() == pytest.approx(4.158883, abs=1e-5)


def test_two_images_give_the_numbers_of_the_equations():
    # u = [[1, -2], [0.5, 3]]: positives 1 and 3, the negative of image 0 is -2, that of image 1 is 0.5.
    scores = torch.tensor([[1.0, -2.0], [0.5, 3.0]])[:, :, None]
    e = math.exp
    assert jsd(scores).item() == pytest.approx(
        (math.log(1 + e(-1)) + math.log(1 + e(-3)) + math.log(1 + e(-2)) + math.log(1 + e(0.5))) / 2, abs=1e-6
    )
    assert dv(scores).item() == pytest.approx(math.log((e(-2) + e(0.5)) / 2) - 2, abs=1e-6)
    assert nce(scores).item() == pytest.approx((math.log(1 + e(-3)) + math.log(1 + e(-2.5))) / 2, abs=1e-6)
    assert nwj(scores).item() == pytest.approx((e(-3) + e(-0.5)) / 2 - 2, abs=1e-6)


def test_positives_are_the_own_places_and_negatives_all_others():
    scores = random_scores(4, 3)
    for i in range(4):
        assert torch.equal(positives(scores)[i], scores[i, i])
        expected = torch.cat([scores[i, j] for j in range(4) if j != i])
        assert torch.equal(negatives(scores)[i], expected)


def test_infinities_on_the_diagonal_touch_no_negative_and_get_no_gradient():
    scores = random_scores()
    own = torch.eye(5, dtype=torch.bool)[:, :, None].expand_as(scores)
    scores[own] = math.inf
    scores.requires_grad_()
    torch.logsumexp(negatives(scores), dim=1).sum().backward()
    assert torch.equal(scores.grad == 0, own)
    assert torch.isfinite(scores.grad).all()


@pytest.mark.parametrize("loss", ALL)
def test_the_order_of_images_and_of_places_plays_no_part(loss):
    scores = random_scores()
    images = torch.randperm(5, generator=seeded())
    assert loss(scores[images][:, images]).item() == pytest.approx(loss(scores).item(), abs=1e-5)
    assert loss(scores[:, :, torch.tensor([2, 0, 1])]).item() == pytest.approx(loss(scores).item(), abs=1e-5)


@pytest.mark.parametrize("loss", [pytest.param(dv, id="dv"), pytest.param(nce, id="nce")])
@pytest.mark.parametrize("shift", [-1000.0, -20.0, 50.0])
def test_a_constant_added_to_all_scores_changes_nothing(loss, shift):
    scores = random_scores().double()
    assert loss(scores + shift).item() == pytest.approx(loss(scores).item(), abs=1e-9)


def test_infonce_does_not_see_a_constant_of_the_vector():
    scores = random_scores().double()
    assert nce(scores + torch.randn(5, 1, 1, generator=seeded())).item() == pytest.approx(nce(scores).item(), abs=1e-9)


def reference(name, scores):
    """The equations in float64, term by term."""
    table = scores.double()
    count, _, places = table.shape
    own = [table[i, i, k] for i in range(count) for k in range(places)]
    others = [table[i, j, k] for i in range(count) for j in range(count) for k in range(places) if i != j]
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
        rivals = [table[i, j, k] for j in range(count) for k in range(places) if i != j]
        for k in range(places):
            total = total + torch.logsumexp(torch.stack([table[i, i, k], *rivals]), 0) - table[i, i, k]
    return total / len(own)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_float32_agrees_with_the_equations_in_float64(name, scale):
    scores = random_scores(scale=scale)
    assert ESTIMATORS[name].loss(scores).item() == pytest.approx(float(reference(name, scores)), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize(("own", "other"), [(1e4, -1e4), (-1e4, 1e4), (1e4, 1e4), (-1e4, -1e4)])
def test_scores_of_ten_thousand_overflow_neither_loss_nor_gradient(loss, own, other):
    mask = torch.eye(4, dtype=torch.bool)[:, :, None].expand(4, 4, 2)
    scores = torch.where(mask, own, other).requires_grad_()
    value = loss(scores)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(scores.grad).all()


def test_nwj_goes_on_as_a_tangent_with_the_same_slope():
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


def gaussian_scores(count=600, places=20, rho=0.8):
    """The true log ratio for N evenly spread quantiles of y and L draws of x for each: (N, N, L)."""
    y = torch.special.ndtri((torch.arange(count) + 0.5) / count)
    x = rho * y[:, None] + math.sqrt(1 - rho**2) * torch.randn(count, places, generator=seeded())
    return gaussian_log_ratio(y[:, None, None], x[None], rho)


def test_the_bounds_are_right_for_a_gaussian_pair_of_known_information():
    # rho = .8: I = -1/2 log(1 - rho^2) = .510826 nats
    scores = gaussian_scores()
    assert -dv(scores).item() == pytest.approx(0.508, abs=0.01)
    assert -nwj(scores + 1).item() == pytest.approx(0.5108, abs=0.01)
    assert 2 * LOG_TWO - jsd(scores).item() == pytest.approx(0.266, abs=0.005)


def test_infonce_with_sixteen_candidates_falls_short_of_the_true_information():
    generator = seeded(3)
    bounds = []
    for _ in range(2000):
        y, noise = torch.randn(2, 16, generator=generator)
        x = 0.8 * y + 0.6 * noise
        bounds.append(math.log(16) - nce(gaussian_log_ratio(y[:, None], x[None], 0.8)[:, :, None]))
    assert torch.stack(bounds).mean().item() == pytest.approx(0.466, abs=0.02)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_infonce_never_claims_more_than_the_log_of_its_candidates(scale):
    scores = random_scores(scale=scale) + 100 * torch.eye(5)[:, :, None]
    assert nce(scores).item() >= 0


# --- critics ----------------------------------------------------------------------------------------------------------


def test_parameter_counts_are_the_published_networks():
    critic = LocalDot(64, 128, 2048)
    assert parameter_count(critic.places) == 4_728_832
    assert parameter_count(critic.vectors) == 4_466_688
    assert parameter_count(Concat(64, 128, (512, 512))) == 361_985
    assert parameter_count(Discriminator(64)) == 265_401


def test_the_papers_encoder_gets_critic_and_discriminator_of_the_published_size():
    spec = next(spec for spec in bench_encoders.bench_encoders() if spec.name == "dim_conv")
    shape = (3, 32, 32)
    layout = spec.layout(spec.params(), shape)
    network = spec.build(benchmark.EncoderContext(params=spec.params(), image_shape=shape))
    method = DeepInfoMax(context(NormalizedEncoder(network, layout, (0.5,) * 3, (0.5,) * 3), DimParams()))
    assert parameter_count(method.encoder) == 4_921_280
    assert parameter_count(method) == 4_921_280 + 4_728_832 + 4_466_688 + 265_401


def test_the_shortcut_starts_near_the_identity():
    weight = ResidualProjection(8, 32).shortcut.weight
    assert torch.equal(weight[:8].diagonal(), torch.ones(8))
    rest = weight[~torch.eye(32, 8, dtype=torch.bool)].abs()
    assert 0.008 < rest.max() <= 0.01


def test_dot_products_are_those_of_vector_i_with_place_l_of_image_j():
    queries, keys = torch.randn(4, 6, generator=seeded(1)), torch.randn(4, 3, 6, generator=seeded(2))
    assert torch.allclose(dot_products(queries, keys), torch.einsum("iu,jlu->ijl", queries, keys), atol=1e-6)


@pytest.mark.parametrize("hidden", [(), (7, 5)])
def test_the_concat_critic_is_its_network_on_every_concatenated_pair(hidden):
    torch.manual_seed(0)
    critic = Concat(6, 4, hidden)
    vectors, places = torch.randn(3, 6), torch.randn(3, 2, 4)
    whole = nn.Sequential(critic.first, *critic.rest)
    scores = critic(vectors, places)
    assert scores.shape == (3, 3, 2)
    for i in range(3):
        for j in range(3):
            pairs = torch.cat([places[j], vectors[i].expand(2, -1)], dim=1)
            assert torch.allclose(scores[i, j], whole(pairs)[:, 0], atol=1e-6)


@pytest.mark.parametrize("critic", [LocalDot(6, 4, 16), Concat(6, 4, (8, 8)), Concat(6, 4, ()), Bilinear(6, 4)])
def test_row_i_belongs_to_vector_i_and_column_j_to_the_places_of_image_j(critic):
    torch.manual_seed(0)
    critic.eval()
    vectors, places = torch.randn(3, 6), torch.randn(3, 2, 4)
    before = critic(vectors, places)
    moved_vectors, moved_places = vectors.clone(), places.clone()
    moved_vectors[1] += 1
    moved_places[2, 1] += 1
    rows = (critic(moved_vectors, places) - before).abs() > 1e-6
    columns = (critic(vectors, moved_places) - before).abs() > 1e-6
    assert rows[1].all()
    assert not rows[[0, 2]].any()
    assert columns[:, 2, 1].all()
    assert not columns[:, :2].any()
    assert not columns[:, 2, 0].any()


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_one_linear_layer_on_the_concatenation_never_beats_the_trivial_loss(name, scale):
    # f(x) + g(y): the mean over own pairs is the mean over all pairs, whatever the features are.
    torch.manual_seed(1)
    critic = Concat(6, 4, ())
    vectors = torch.randn(8, 6) * scale
    places = vectors[:, None, :4] + 0.1 * torch.randn(8, 3, 4)
    scores = critic(vectors, places).double()
    assert positives(scores).mean().item() == pytest.approx(negatives(scores).mean().item(), abs=1e-5)
    assert ESTIMATORS[name].loss(scores).item() >= ESTIMATORS[name].trivial(21) - 1e-5


@pytest.mark.parametrize("side", [1, 2, 3, 4, 8, 13, 24])
def test_global_bodies_take_maps_of_any_size(side):
    maps = torch.randn(2, 5, side, side)
    assert map_encoder((5, side, side), 16)(maps).shape == (2, 16)
    body, length = map_convolutions((5, side, side))
    assert body(maps).shape == (2, length)


def test_the_global_body_halves_an_eight_by_eight_map_twice():
    shapes = []
    body = map_encoder((128, 8, 8), 2048)
    for layer in body:
        layer.register_forward_hook(lambda layer, inputs, output: shapes.append(tuple(output.shape[1:])))
    body(torch.randn(2, 128, 8, 8))
    assert [shapes[0], shapes[3], shapes[6], shapes[7], shapes[-1]] == [
        (128, 4, 4),
        (256, 2, 2),
        (1024,),
        (1024,),
        (2048,),
    ]


# --- prior ------------------------------------------------------------------------------------------------------------


class FirstCoordinate(nn.Module):
    """Logit = slope times the code's first coordinate."""

    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(float(slope)))
        self.seen = []

    def forward(self, codes):
        self.seen.append(codes.detach())
        return self.slope * codes[:, :1]


def test_a_discriminator_that_cannot_tell_loses_two_log_two():
    vectors = torch.randn(6, 4)
    assert discriminator_loss(FirstCoordinate(0), vectors, 1.0, seeded()).item() == pytest.approx(1.386294, abs=1e-6)
    assert encoder_loss(FirstCoordinate(0), vectors).item() == pytest.approx(LOG_TWO, abs=1e-6)


def test_the_penalty_is_the_squared_slope_of_the_logit():
    vectors = torch.randn(6, 4)
    without = discriminator_loss(FirstCoordinate(3), vectors, 0.0, seeded())
    with_penalty = discriminator_loss(FirstCoordinate(3), vectors, 0.5, seeded())
    assert (with_penalty - without).item() == pytest.approx(0.5 * 9, abs=1e-5)


def test_the_penaltys_gradient_reaches_the_discriminator():
    gradients = []
    for penalty in (0.0, 1.0):
        discriminator = FirstCoordinate(3)
        discriminator_loss(discriminator, torch.randn(6, 4, generator=seeded()), penalty, seeded(1)).backward()
        gradients.append(discriminator.slope.grad.item())
    assert gradients[1] - gradients[0] == pytest.approx(6, abs=1e-4)  # d slope^2 / d slope


def test_the_discriminator_compares_uniform_draws_with_squashed_codes():
    discriminator = FirstCoordinate(1)
    vectors = torch.full((4000, 8), 100.0)
    discriminator_loss(discriminator, vectors, 0.0, seeded())
    draws, codes = discriminator.seen[0].split(4000)
    assert torch.equal(codes, torch.ones_like(codes))
    assert draws.mean().item() == pytest.approx(0.5, abs=0.01)
    assert draws.var().item() == pytest.approx(1 / 12, abs=0.002)


def test_each_side_of_the_game_gets_its_own_gradient_alone():
    torch.manual_seed(0)
    discriminator, vectors = Discriminator(4), torch.randn(6, 4, requires_grad=True)
    discriminator_loss(discriminator, vectors, 1.0, seeded()).backward()
    assert vectors.grad is None
    assert all(weight.grad is not None for weight in discriminator.parameters() if weight.dim() == 2)
    discriminator.zero_grad(set_to_none=True)
    encoder_loss(discriminator, vectors).backward()
    assert vectors.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in discriminator.parameters())


def test_encoder_and_discriminator_pull_in_opposite_directions():
    discriminator, vectors = FirstCoordinate(2), torch.zeros(5, 3, requires_grad=True)
    encoder_loss(discriminator, vectors).backward()
    assert (vectors.grad[:, 0] < 0).all()  # codes move to where logits are higher, "uniform"
    assert (vectors.grad[:, 1:] == 0).all()


# --- method -----------------------------------------------------------------------------------------------------------


class Tiny(nn.Module):
    """A map of 2 x 2 or 4 x 4 places, and an output of the asked kind."""

    def __init__(self, kind="vector"):
        super().__init__()
        self.kind = kind
        self.calls = 0
        self.local = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Sequential(nn.Flatten(), nn.Linear(128, 16)) if kind == "vector" else nn.Conv2d(8, 16, 2, 2)

    def forward(self, images, taps):
        self.calls += 1
        local = self.local(images)
        output = self.deep(local)
        return {"local": local, "out": output.flatten(2).mT if self.kind == "tokens" else output}


def tiny_encoder(kind="vector"):
    shape = {"vector": (16,), "map": (16, 2, 2), "tokens": (4, 16)}[kind]
    taps = (
        benchmark.Tap(name="local", kind="map", shape=(8, 4, 4)),
        benchmark.Tap(name="out", kind=kind, shape=shape),
    )
    layout = benchmark.Layout(taps=taps, output="out", probe="local", local="local")
    return NormalizedEncoder(Tiny(kind), layout, (0.5,), (0.5,))


def context(encoder, params):
    return benchmark.MethodContext(
        params=params,
        encoder=encoder,
        layout=encoder.layout,
        image_shape=(1, 8, 8),
        num_images=100,
        num_classes=None,
        total_steps=10,
        mean=(0.5,),
        std=(0.5,),
        generator=seeded(),
    )


def tiny_method(kind="vector", seed=0, **params):
    torch.manual_seed(seed)
    return DeepInfoMax(context(tiny_encoder(kind), DimParams(**{"units": 32, **params})))


def batch(count=8, seed=0):
    images = torch.rand(count, 1, 8, 8, generator=seeded(seed))
    return benchmark.Batch(
        images=images,
        raw=(images * 255).to(torch.uint8),
        index=torch.arange(count),
        progress=0.0,
        generator=seeded(seed + 1),
    )


@pytest.mark.parametrize("critic", ["dot", "concat", "linear", "bilinear"])
@pytest.mark.parametrize("scope", ["local", "global", "both"])
def test_every_critic_and_scope_gives_a_finite_loss_and_trains_the_encoder(critic, scope):
    method = tiny_method(critic=critic, scope=scope)
    losses = method.loss(batch())
    losses.total.backward()
    parts = {"local", "global"} if scope == "both" else {scope}
    assert set(losses.parts) == parts | {f"{part}_bound" for part in parts} | {"prior", "discriminator"}
    assert losses.total.dtype == torch.float32
    assert torch.isfinite(losses.total)
    for parameter in method.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
    assert sum(float(weight.grad.abs().sum()) for weight in method.encoder.parameters()) > 0


@pytest.mark.parametrize("kind", ["vector", "map", "tokens"])
def test_every_kind_of_output_becomes_one_vector_an_image(kind):
    method = tiny_method(kind)
    vectors, maps = method._encoded(batch().images)
    assert vectors.shape == (8, 16)
    assert maps.shape == (8, 8, 4, 4)
    method.eval()
    assert torch.allclose(method._encoded(batch().images)[0], method.encoder.vector(batch().images), atol=1e-6)


def test_critics_see_the_output_without_a_sigmoid_from_one_forward():
    method = tiny_method(critic="bilinear")
    seen = []
    method.critics["local"].register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    method.loss(batch())
    assert method.encoder.network.calls == 1
    method.encoder.network.calls = 0
    (vectors, places), expected = seen[0], method.encoder(batch().images, ["local", "out"])
    assert torch.allclose(vectors, expected["out"], atol=1e-6)
    assert vectors.min() < 0
    assert torch.allclose(places[3, 5], expected["local"][3, :, 1, 1], atol=1e-6)  # place 5 of a 4 x 4 map


def test_the_total_is_the_papers_weighted_sum():
    method = tiny_method(scope="both", alpha=0.5, beta=0.1, gamma=0.3)
    losses = method.loss(batch())
    parts = losses.parts
    expected = 0.5 * parts["global"] + 0.1 * parts["local"] + 0.3 * parts["prior"] + parts["discriminator"]
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-6)


def test_bounds_are_the_trivial_loss_minus_the_loss():
    parts = tiny_method(scope="both", estimator="nce").loss(batch()).parts
    assert (parts["local"] + parts["local_bound"]).item() == pytest.approx(math.log(1 + 7 * 16), abs=1e-4)
    assert (parts["global"] + parts["global_bound"]).item() == pytest.approx(math.log(8), abs=1e-4)


def gradients(module):
    return [None if weight.grad is None else weight.grad.clone() for weight in module.parameters()]


def test_one_backward_gives_the_discriminator_the_gradient_of_its_own_game_whatever_gamma_is():
    seen = []
    for gamma in (0.1, 50.0):
        method = tiny_method(gamma=gamma)
        method.loss(batch()).total.backward()
        seen.append(gradients(method.discriminator))
    for small, large in zip(*seen, strict=True):
        assert torch.equal(small, large)


def test_the_discriminators_term_gives_the_encoder_no_gradient():
    method = tiny_method()
    method.loss(batch()).parts["discriminator"].backward()
    assert gradients(method.encoder) == [None] * len(list(method.encoder.parameters()))
    method.loss(batch()).parts["prior"].backward()
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in method.encoder.parameters())


def test_without_a_prior_there_is_no_discriminator():
    method = tiny_method(gamma=0.0)
    losses = method.loss(batch())
    assert method.discriminator is None
    assert set(losses.parts) == {"local", "local_bound"}
    assert torch.equal(losses.total, losses.parts["local"])


def test_trivial_losses_know_the_largest_batch_and_the_sampled_places():
    method = tiny_method(estimator="nce", scope="both", local_samples=3)
    assert method.trivial_losses() == {}
    method.loss(batch(8))
    method.loss(batch(4))
    assert method.trivial_losses() == pytest.approx({"local": math.log(1 + 7 * 3), "global": math.log(8)})
    jensen = tiny_method()
    jensen.loss(batch())
    assert jensen.trivial_losses() == pytest.approx({"local": 2 * LOG_TWO})


def test_the_whole_state_survives_a_round_trip():
    method, other = tiny_method(estimator="nce", scope="both"), tiny_method(estimator="nce", scope="both", seed=5)
    method.loss(batch())
    other.load_state_dict(method.state_dict())
    assert other.trivial_losses() == method.trivial_losses()
    assert torch.equal(other.loss(batch(seed=3)).total, method.loss(batch(seed=3)).total)


def test_all_chance_of_a_step_comes_from_the_batch():
    method = tiny_method(local_samples=2)
    assert torch.equal(method.loss(batch()).total, method.loss(batch()).total)
    other = dataclasses.replace(batch(), generator=seeded(99))
    assert not torch.equal(method.loss(other).total, method.loss(batch()).total)


def test_sampled_places_are_distinct_and_of_the_own_image():
    places = torch.arange(4 * 9).view(4, 9, 1)
    chosen = sampled(places, 5, seeded())
    assert chosen.shape == (4, 5, 1)
    for image, values in enumerate(chosen[:, :, 0].tolist()):
        assert len(set(values)) == 5
        assert {value // 9 for value in values} == {image}
    assert len({tuple(value % 9 for value in values) for values in chosen[:, :, 0].tolist()}) > 1
    assert sampled(places, 9, seeded()) is places
    assert sampled(places, None, seeded()) is places


def test_a_batch_of_one_is_refused_with_what_to_do():
    with pytest.raises(benchmark.TrainingError, match="drop_last"):
        tiny_method().loss(batch(1))


def trained_loss(method, steps, rate):
    optimizer = torch.optim.Adam(method.parameters(), lr=rate, betas=(0.5, 0.999))
    step_batch = batch(12)
    for _ in range(steps):
        losses = method.loss(step_batch)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    return {name: value.item() for name, value in method.loss(step_batch).parts.items()}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_thirty_steps_bring_the_loss_below_the_trivial_one(estimator):
    method = tiny_method(estimator=estimator, critic="bilinear")
    assert trained_loss(method, 30, 0.01)["local"] < method.trivial_losses()["local"] - 0.1


@pytest.mark.parametrize(
    ("critic", "scope", "rate"), [("dot", "local", 0.01), ("dot", "global", 0.003), ("concat", "local", 0.003)]
)
def test_other_critics_learn_too(critic, scope, rate):
    method = tiny_method(critic=critic, scope=scope, units=16, local_samples=4)
    assert trained_loss(method, 30, rate)[scope] < 2 * LOG_TWO - 0.05


def test_the_linear_critic_learns_nothing():
    method = tiny_method(critic="linear")
    assert trained_loss(method, 30, 0.01)["local"] >= 2 * LOG_TWO - 1e-5


# --- spec, parameters and recipes -------------------------------------------------------------------------------------


def setting(encoder="tiny", dataset="digits", layout=None, images=1000, budget="quick", shape=(1, 8, 8), **params):
    return benchmark.Setting(
        method_params=DimParams(**params),
        encoder=encoder,
        encoder_params=None,
        layout=layout or tiny_encoder().layout,
        dataset=dataset,
        image_shape=shape,
        num_images=images,
        num_classes=10,
        budget=budget,
    )


def layout_of(shape, kind="map", local=True):
    taps = (
        benchmark.Tap(name="inner", kind=kind, shape=shape),
        benchmark.Tap(name="out", kind="vector", shape=(4,)),
    )
    return benchmark.Layout(taps=taps, output="out", probe="out", local="inner" if local else None)


def test_the_plugin_yields_one_method_without_importing_torch():
    code = (
        "import bench_dim, sys; spec, = bench_dim.bench_methods(); "
        "assert spec.name == 'dim' and spec.params() and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "params",
    [
        DimParams(units=16, local_samples=4),
        DimParams(scope="both", estimator="nce", critic="bilinear"),
        DimParams(scope="global", units=16, gamma=0.0),
    ],
)
def test_the_method_keeps_the_contract(params):
    (spec,) = bench_dim.bench_methods()
    check_method(spec, params)


def test_the_spec_builds_the_method():
    (spec,) = bench_dim.bench_methods()
    assert isinstance(spec.build(context(tiny_encoder(), spec.params(units=8))), benchmark.Method)
    assert spec.labels == "none"


@pytest.mark.parametrize(("scope", "gamma"), [("local", 0.1), ("global", 1.0), ("both", 0.1)])
def test_gamma_is_the_papers_unless_it_is_given(scope, gamma):
    assert DimParams(scope=scope) == DimParams(scope=scope, gamma=gamma)
    assert DimParams(scope=scope, gamma=0.0).prior_weight == 0


def test_weights_are_the_papers():
    assert DimParams().weights == {"local": 1.0}
    assert DimParams(scope="global").weights == {"global": 1.0}
    assert DimParams(scope="both").weights == {"local": 0.1, "global": 0.5}


@pytest.mark.parametrize(
    "wrong", [{"units": 0}, {"gamma": -0.1}, {"alpha": math.nan}, {"penalty": math.inf}, {"local_samples": 0}]
)
def test_values_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DimParams(**wrong)


def test_encoders_without_places_are_skipped_with_a_reason():
    assert bench_dim.supports(setting()) is None
    assert "no local map" in bench_dim.supports(setting(layout=layout_of((8, 2, 2), local=False), scope="global"))
    assert "2 x 2" in bench_dim.supports(setting(layout=layout_of((8, 1, 1))))
    assert "2 x 2" in bench_dim.supports(setting(layout=layout_of((8, 1, 4)), scope="both"))
    assert bench_dim.supports(setting(layout=layout_of((8, 1, 1)), scope="global")) is None
    assert "vector" in bench_dim.supports(setting(layout=layout_of((8,), kind="vector")))
    assert "two" in bench_dim.supports(setting(images=1))


def test_the_paper_recipe_is_the_authors():
    (spec,) = bench_dim.bench_methods()
    recipe = spec.recipe(setting(encoder="dim_conv", dataset="cifar10", budget="paper", shape=(3, 32, 32)))
    assert (recipe.optimizer, recipe.lr, recipe.beta1, recipe.beta2) == ("adam", 1e-4, 0.5, 0.999)
    assert (recipe.batch, recipe.epochs, recipe.schedule, recipe.augment) == (64, 1000, "constant", "none")
    assert recipe.mean == recipe.std == (0.5, 0.5, 0.5)
    assert recipe.drop_last
    assert recipe.weight_decay == 0


@pytest.mark.parametrize(
    ("encoder", "dataset"), [("resnet18", "cifar10"), ("dim_conv", "digits"), ("dim_conv", "stl10")]
)
def test_the_paper_has_no_recipe_for_what_it_did_not_train(encoder, dataset):
    with pytest.raises(benchmark.UnsupportedError, match=f"{encoder} on {dataset}"):
        bench_dim.recipes.recipe(setting(encoder=encoder, dataset=dataset, budget="paper"))


def test_quick_is_a_fixed_number_of_epochs_by_the_size_of_the_data():
    (spec,) = bench_dim.bench_methods()
    assert spec.recipe(setting(images=1400)).epochs == 6
    assert spec.recipe(setting(images=50_000)).epochs == 20
    assert spec.recipe(setting(estimator="nwj")).clip == 1.0
    assert spec.recipe(setting()).clip is None


@pytest.mark.parametrize(
    ("encoder", "images", "estimator", "rate"),
    [
        ("dim_conv", 50_000, "jsd", 1e-3),
        ("dim_conv", 5_000, "jsd", 3e-4),
        ("alexnet", 50_000, "nce", 3e-4),
        ("alexnet", 1_400, "dv", 1e-3),
    ],
)
def test_the_papers_encoder_with_many_images_takes_the_larger_rate(encoder, images, estimator, rate):
    (spec,) = bench_dim.bench_methods()
    assert spec.recipe(setting(encoder=encoder, images=images, estimator=estimator)).lr == rate


# --- occlusion and coordinates ----------------------------------------------------------------------------------------


def spec():
    (found,) = bench_dim.bench_methods()
    return found


def test_the_defaults_are_the_cells_that_they_were_before_the_two_tasks():
    assert spec().identity(DimParams()) == {
        "scope": "local",
        "estimator": "jsd",
        "critic": "dot",
        "units": 2048,
        "alpha": 0.5,
        "beta": 0.1,
        "gamma": 0.1,
        "penalty": 1.0,
        "local_samples": None,
    }
    assert spec().version == 1


def test_only_a_task_that_takes_part_is_in_identity_and_label():
    found = spec()
    identity = found.identity(DimParams(occlude=0.5))
    assert identity["occlude"] == 0.5
    assert "coordinates" not in identity
    defaults = as_dict(found.params())
    assert label("dim", found.identity(DimParams()), defaults) == "dim"
    both = found.identity(DimParams(occlude=1.0, coordinates=1.0))
    assert label("dim", both, defaults) == "dim[coordinates=1.0,occlude=1.0]"


def test_without_the_tasks_there_is_nothing_of_them():
    method = tiny_method()
    assert method.coordinates is None
    assert not [name for name in method.state_dict() if "coordinates" in name or "color" in name]


@pytest.mark.parametrize("wrong", [{"occlude": 1.1}, {"occlude": -0.1}, {"coordinates": -1.0}])
def test_shares_and_weights_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DimParams(**wrong)


@pytest.mark.parametrize(("height", "width", "block"), [(32, 32, 10), (8, 8, 2), (96, 96, 30), (8, 12, 2)])
def test_a_whole_block_is_hidden_and_a_whole_block_is_left(height, width, block):
    assert block_side(height, width) == block
    mask = hidden(300, height, width, 1.0, seeded(), torch.device("cpu")).float()
    least = -F.max_pool2d(-mask, block, stride=1)
    assert (least.amax(dim=(1, 2, 3)) == 1).all()
    assert (F.max_pool2d(mask, block, stride=1).amin(dim=(1, 2, 3)) == 0).all()


def test_what_is_hidden_is_one_rectangle_somewhere_else_in_each_image():
    mask = hidden(200, 8, 8, 1.0, seeded(), torch.device("cpu"))[:, 0]
    rows, columns = mask.any(dim=2), mask.any(dim=1)
    assert torch.equal(mask, rows[:, :, None] & columns[:, None])
    assert len({tuple(image.flatten().tolist()) for image in mask}) > 100
    assert set(rows.sum(dim=1).tolist()) == set(columns.sum(dim=1).tolist()) == {2, 3, 4, 5, 6}


def test_a_share_of_the_images_is_occluded_and_the_rest_left_alone():
    images = torch.rand(1000, 1, 8, 8, generator=seeded())
    half = occluded(images, torch.full((1, 1, 1, 1), 2.0), 0.5, seeded())
    touched = (half == 2).any(dim=3).any(dim=2).any(dim=1)
    assert touched.float().mean().item() == pytest.approx(0.5, abs=0.06)
    assert torch.equal(half[~touched], images[~touched])
    assert torch.equal(torch.where(half == 2, images, half), images)


def test_the_output_sees_the_occluded_image_and_places_see_the_whole_one():
    method = tiny_method(occlude=1.0)
    seen = []
    method.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    given = batch()
    method.eval()
    vectors, maps = method._features(given)
    (whole, whole_taps), (partly, _) = seen
    assert torch.equal(whole, given.images)
    assert whole_taps == ["local"]
    covered = partly != given.images
    assert covered.flatten(1).any(dim=1).all()
    assert torch.equal(partly[covered], torch.full_like(partly[covered], 0.5))  # the normalization's mean
    assert torch.equal(maps, method.encoder(given.images, ["local"])["local"])
    assert torch.equal(vectors, method.encoder.vector(partly))


def test_coordinates_without_information_cost_their_entropies():
    trivial = Coordinates(16, (8, 4, 2)).trivial_losses()
    assert trivial["absolute"] == pytest.approx(math.log(8))
    # Differences of two draws of 0 or 1: -1, 0, 1 with chances 1/4, 1/2, 1/4.
    of_four = -sum(n / 16 * math.log(n / 16) for n in (1, 2, 3, 4, 3, 2, 1))
    assert trivial["relative"] == pytest.approx(1.5 * LOG_TWO + of_four)


def test_an_answer_that_says_nothing_costs_the_log_of_the_number_of_answers():
    torch.manual_seed(0)
    task = Coordinates(16, (8, 4, 2))
    for network in (task.absolute, task.relative):
        nn.init.zeros_(network[-1].weight)
        nn.init.zeros_(network[-1].bias)
    errors = task(torch.randn(3, 16), torch.randn(3, 8, 4, 2), None, seeded())
    assert errors["absolute"].item() == pytest.approx(math.log(4) + math.log(2), abs=1e-5)
    assert errors["relative"].item() == pytest.approx(math.log(7) + math.log(3), abs=1e-5)


@pytest.mark.parametrize("most", [None, 5])
def test_places_that_say_where_they_are_are_found_by_both_tasks(most):
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing="ij")
    maps = torch.stack([rows, columns]).expand(32, 2, 3, 3)
    task, generator = Coordinates(1, (2, 3, 3)), seeded()
    optimizer = torch.optim.Adam(task.parameters(), 3e-3)
    for _ in range(40):
        errors = task(torch.zeros(32, 1), maps, most, generator)
        optimizer.zero_grad()
        (errors["absolute"] + errors["relative"]).backward()
        optimizer.step()
    trivial = task.trivial_losses()
    assert all(errors[part].item() < 0.3 * trivial[part] for part in trivial)


def test_both_tasks_join_the_total_and_train_the_encoder():
    method = tiny_method(occlude=0.5, coordinates=2.0, gamma=0.0, local_samples=4)
    losses = method.loss(batch())
    assert set(losses.parts) == {"local", "local_bound", "absolute", "relative"}
    expected = losses.parts["local"] + 2 * (losses.parts["absolute"] + losses.parts["relative"])
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert set(method.trivial_losses()) == {"local", "absolute", "relative"}
    (losses.parts["absolute"] + losses.parts["relative"]).backward()
    assert all(weight.grad.abs().sum() > 0 for weight in method.encoder.network.local[0].parameters())
    assert all(weight.grad.abs().sum() > 0 for weight in method.encoder.network.deep.parameters())


def test_dim_with_both_tasks_keeps_the_contract():
    check_method(spec(), DimParams(estimator="nce", occlude=1.0, coordinates=1.0, units=32))
