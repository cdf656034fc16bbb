"""The losses of AET: `bench_aet.method`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from method_samples import WIDTH, make_batch, make_context, parameter_count, random_images
from tiny_aet import GRAY, draw_parameters, make_method, smooth_images
from torch import nn

import benchmark
from bench_aet import AETParams, build
from bench_aet.transforms import FAMILIES
from bench_encoders import bench_encoders
from benchmark.encoder import NormalizedEncoder


def test_constant_prediction_has_the_constant_loss() -> None:
    method = make_method(transform="affine")
    nn.init.zeros_(method.decoder.weight)
    losses = [method.loss(make_batch(random_images(500), seed=seed)).total.item() for seed in range(10)]
    variance_and_mean = method.trivial_losses()["total"]
    assert np.mean(losses) == pytest.approx(variance_and_mean, abs=0.01)


def test_prediction_is_bounded_except_for_projective() -> None:
    for transform, bounded in (("affine", True), ("similarity", True), ("projective", False)):
        method = make_method(transform=transform)
        nn.init.constant_(method.decoder.bias, 7.0)
        prediction = method.predict(random_images(), random_images())
        assert bool((prediction.abs() <= 1).all()) is bounded


def test_decoder_bias_is_initialized_to_zero() -> None:
    assert torch.all(make_method().decoder.bias == 0)


@pytest.mark.parametrize("statistics", ["separate", "joint"])
def test_both_branches_give_the_encoder_a_gradient(statistics: str) -> None:
    for branch in range(2):
        method = make_method(statistics=statistics)
        images = [random_images().requires_grad_(), random_images().flip(-1).requires_grad_()]
        with torch.no_grad():
            method.decoder.weight[:, branch * WIDTH : (branch + 1) * WIDTH] = 0  # ignore this branch
        method.predict(*images).square().sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in method.encoder.parameters())
        gradient = images[1 - branch].grad
        assert gradient is not None
        assert gradient.abs().sum() > 0


def test_separate_statistics_are_updated_twice_and_joint_once() -> None:
    for statistics, times in (("separate", 2), ("joint", 1)):
        method = make_method(statistics=statistics)
        method.loss(make_batch(random_images()))
        assert method.encoder.network.layers[1].num_batches_tracked.item() == times


def test_separate_statistics_normalize_each_branch_by_its_batch() -> None:
    bright, dark = random_images(), random_images() * 0.1
    separate, joint = make_method(statistics="separate"), make_method(statistics="joint")
    joint.load_state_dict(separate.state_dict())
    assert not torch.allclose(separate.predict(bright, dark), joint.predict(bright, dark))
    separate.eval()
    joint.eval()
    joint.load_state_dict(separate.state_dict())
    torch.testing.assert_close(separate.predict(bright, dark), joint.predict(bright, dark))


def test_fill_is_gray_or_black() -> None:
    assert make_method().fill == pytest.approx(128 / 255)
    assert make_method(fill="black").fill == 0.0


@pytest.mark.parametrize("transform", ["affine", "projective"])
def test_short_training_beats_the_constant_loss(transform: str) -> None:
    method = make_method(transform=transform)
    ramp = torch.linspace(0, 1, 8)
    images = (0.7 * ramp[:, None] + 0.3 * ramp.square()).expand(64, 1, 8, 8)
    optimizer = torch.optim.Adam(method.parameters(), 5e-3)
    losses = []
    for step in range(120):
        total = method.loss(make_batch(images, seed=step)).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert np.median(losses[-30:]) < 0.75 * method.trivial_losses()["total"]


def test_state_dict_restores_the_method() -> None:
    first, second = make_method(), make_method()
    nn.init.normal_(second.decoder.weight)
    second.load_state_dict(first.state_dict())
    batch = random_images()
    assert torch.equal(first.loss(make_batch(batch)).total, second.loss(make_batch(batch)).total)


@pytest.mark.parametrize(("transform", "parameters"), [("affine", 1_412_678), ("projective", 1_413_448)])
def test_method_on_blocknet_has_the_published_size(transform: str, parameters: int) -> None:
    spec = next(spec for spec in bench_encoders() if spec.name == "blocknet")
    shape, defaults = (3, 32, 32), spec.params()
    network = spec.build(benchmark.EncoderContext(params=defaults, image_shape=shape))
    layout = spec.layout(defaults, shape)
    encoder = NormalizedEncoder(network, layout, (0.5,) * 3, (0.5,) * 3)
    method = build(make_context(encoder, AETParams(transform=transform), layout=layout, image_shape=shape))
    assert parameter_count(method) == parameters


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_image_loss_is_zero_for_the_true_transformation(name: str) -> None:
    method = make_method(transform=name, loss="image")
    images, family = smooth_images(64), FAMILIES[name](8)
    parameters = draw_parameters(family, 64)
    copies, truth = family.warp(images, parameters, GRAY), family.target(parameters)
    exact = method.image_loss(images, copies, truth).total.item()
    constant = method.image_loss(images, copies, truth.mean(0).expand_as(truth)).total.item()
    assert exact < 1e-5
    assert constant > 0.01


def test_image_loss_of_the_identity_is_the_unmoved_loss() -> None:
    method = make_method(transform="affine", loss="image")
    images = smooth_images()
    identity = torch.tensor([[1.0, 0, 0, 0, 0, 0]]).expand(4, 6)
    losses = method.image_loss(images, images.flip(-1), identity)
    assert losses.total.item() == pytest.approx(losses.parts["unmoved"].item(), rel=1e-4)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_image_loss_gradient_decreases_the_loss(name: str) -> None:
    family, images = FAMILIES[name](8), smooth_images(1)
    method = make_method(transform=name, loss="image")
    parameters = draw_parameters(family, 1)
    copies, truth = family.warp(images, parameters, GRAY), family.target(parameters)
    prediction = (truth + 0.02).clamp(-0.99, 0.99) if family.bounded else truth + 0.02
    prediction.requires_grad_()
    before = method.image_loss(images, copies, prediction).total
    (gradient,) = torch.autograd.grad(before, prediction)
    assert torch.isfinite(gradient).all()
    after = method.image_loss(images, copies, prediction - 1e-4 * gradient / gradient.norm()).total
    assert after < before


def test_image_loss_trains_decoder_and_encoder() -> None:
    method = make_method(loss="image")
    losses = method.loss(make_batch(smooth_images(8)))
    losses.total.backward()
    for parameter in method.parameters():
        assert torch.isfinite(parameter.grad).all()
    assert method.decoder.weight.grad.abs().sum() > 0
    assert method.encoder.network.layers[0].weight.grad.abs().sum() > 0
    assert method.trivial_losses() == {}
