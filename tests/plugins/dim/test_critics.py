"""Deep InfoMax's critics: `bench_dim.critics`."""

import pytest
import torch
from generators import seeded
from torch import nn

from bench_dim.critics import (
    Bilinear,
    Concat,
    LocalDot,
    ResidualProjection,
    dot_products,
    map_convolutions,
    map_encoder,
)
from bench_dim.estimators import ESTIMATORS, negatives, positives


def test_shortcut_is_initialized_near_the_identity():
    weight = ResidualProjection(8, 32).shortcut.weight
    assert torch.equal(weight[:8].diagonal(), torch.ones(8))
    rest = weight[~torch.eye(32, 8, dtype=torch.bool)].abs()
    assert 0.008 < rest.max() <= 0.01


def test_dot_products_pair_every_vector_with_every_location():
    queries, keys = torch.randn(4, 6, generator=seeded(1)), torch.randn(4, 3, 6, generator=seeded(2))
    assert torch.allclose(dot_products(queries, keys), torch.einsum("iu,jlu->ijl", queries, keys), atol=1e-6)


@pytest.mark.parametrize("hidden", [(), (7, 5)])
def test_concat_applies_its_network_to_every_pair(hidden):
    torch.manual_seed(0)
    critic = Concat(6, 4, hidden)
    vectors, locations = torch.randn(3, 6), torch.randn(3, 2, 4)
    whole = nn.Sequential(critic.first, *critic.rest)
    scores = critic(vectors, locations)
    assert scores.shape == (3, 3, 2)
    for i in range(3):
        for j in range(3):
            pairs = torch.cat([locations[j], vectors[i].expand(2, -1)], dim=1)
            assert torch.allclose(scores[i, j], whole(pairs)[:, 0], atol=1e-6)


@pytest.mark.parametrize("critic", [LocalDot(6, 4, 16), Concat(6, 4, (8, 8)), Concat(6, 4, ()), Bilinear(6, 4)])
def test_scores_have_vectors_as_rows_and_images_as_columns(critic):
    torch.manual_seed(0)
    critic.eval()
    vectors, locations = torch.randn(3, 6), torch.randn(3, 2, 4)
    before = critic(vectors, locations)
    moved_vectors, moved_locations = vectors.clone(), locations.clone()
    moved_vectors[1] += 1
    moved_locations[2, 1] += 1
    rows = (critic(moved_vectors, locations) - before).abs() > 1e-6
    columns = (critic(vectors, moved_locations) - before).abs() > 1e-6
    assert rows[1].all()
    assert not rows[[0, 2]].any()
    assert columns[:, 2, 1].all()
    assert not columns[:, :2].any()
    assert not columns[:, 2, 0].any()


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_linear_critic_never_beats_the_trivial_loss(name, scale):
    # f(x) + g(y): positives and negatives have the same mean for any features.
    torch.manual_seed(1)
    critic = Concat(6, 4, ())
    vectors = torch.randn(8, 6) * scale
    locations = vectors[:, None, :4] + 0.1 * torch.randn(8, 3, 4)
    scores = critic(vectors, locations).double()
    assert positives(scores).mean().item() == pytest.approx(negatives(scores).mean().item(), abs=1e-5)
    assert ESTIMATORS[name].loss(scores).item() >= ESTIMATORS[name].trivial(21) - 1e-5


@pytest.mark.parametrize("side", [1, 2, 3, 4, 8, 13, 24])
def test_global_bodies_accept_maps_of_any_size(side):
    maps = torch.randn(2, 5, side, side)
    assert map_encoder((5, side, side), 16)(maps).shape == (2, 16)
    body, length = map_convolutions((5, side, side))
    assert body(maps).shape == (2, length)


def test_map_encoder_halves_the_map_twice():
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
