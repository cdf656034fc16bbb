"""Coordinate prediction: `bench_dim.coordinates`."""

import math

import pytest
import torch
from generators import seeded
from tiny_dim import LOG_TWO
from torch import nn

from bench_dim.coordinates import Coordinates


def test_trivial_losses_are_the_entropies():
    trivial = Coordinates(16, (8, 4, 2)).trivial_losses()
    assert trivial["absolute"] == pytest.approx(math.log(8))
    # Differences of two draws of 0 or 1: -1, 0, 1 with probabilities 1/4, 1/2, 1/4.
    of_four = -sum(n / 16 * math.log(n / 16) for n in (1, 2, 3, 4, 3, 2, 1))
    assert trivial["relative"] == pytest.approx(1.5 * LOG_TWO + of_four)


def test_uniform_prediction_has_the_log_of_the_number_of_classes():
    torch.manual_seed(0)
    task = Coordinates(16, (8, 4, 2))
    for network in (task.absolute, task.relative):
        nn.init.zeros_(network[-1].weight)
        nn.init.zeros_(network[-1].bias)
    errors = task(torch.randn(3, 16), torch.randn(3, 8, 4, 2), None, seeded())
    assert errors["absolute"].item() == pytest.approx(math.log(4) + math.log(2), abs=1e-5)
    assert errors["relative"].item() == pytest.approx(math.log(7) + math.log(3), abs=1e-5)


@pytest.mark.parametrize("max_locations", [None, 5])
def test_both_tasks_learn_coordinates_from_informative_features(max_locations):
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(3.0), torch.arange(3.0), indexing="ij")
    maps = torch.stack([rows, columns]).expand(32, 2, 3, 3)
    task, generator = Coordinates(1, (2, 3, 3)), seeded()
    optimizer = torch.optim.Adam(task.parameters(), 3e-3)
    for _ in range(40):
        errors = task(torch.zeros(32, 1), maps, max_locations, generator)
        optimizer.zero_grad()
        (errors["absolute"] + errors["relative"]).backward()
        optimizer.step()
    trivial = task.trivial_losses()
    assert all(errors[part].item() < 0.3 * trivial[part] for part in trivial)
