"""Counts of floating point operations and memory traffic: `benchmark.speed.operation_counts`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmark.speed.operation_counts import OperationCounts, count_operations


def test_matrix_product_has_two_flops_per_multiplied_pair() -> None:
    one, other = torch.ones(3, 5), torch.ones(5, 7)
    assert count_operations(lambda: one @ other) == OperationCounts(flops=2 * 3 * 5 * 7, bytes=4 * (15 + 35 + 21))


def test_convolution_has_two_flops_per_weight_and_position() -> None:
    images, weights = torch.ones(2, 3, 8, 8), torch.ones(6, 3, 3, 3)
    actual = count_operations(lambda: torch.nn.functional.conv2d(images, weights, stride=2, padding=1))
    assert actual.flops == 2 * (2 * 4 * 4) * 6 * (3 * 3 * 3)


def test_backward_adds_the_flops_of_each_gradient() -> None:
    one, other = torch.ones(3, 5, requires_grad=True), torch.ones(5, 7, requires_grad=True)
    assert count_operations(lambda: (one @ other).sum().backward()).flops == 3 * 2 * 3 * 5 * 7  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda x: x.relu(), 2 * 400),
        (lambda x: x + x, 3 * 400),
        (lambda x: x.double(), 400 + 800),
        (lambda x: x.t()[:5].unsqueeze(0), 0),
        (lambda x: x.view(100)[:50], 0),
        (lambda x: x.add_(1), 2 * 400),
        (lambda x: x.sum(), 400 + 4),
        (lambda x: (x * 2).relu(), 4 * 400),
    ],
    ids=[
        "one in, one out",
        "two in, one out",
        "another type",
        "views",
        "another shape",
        "in place",
        "a sum",
        "two operations",
    ],
)
def test_bytes_are_those_of_inputs_and_outputs(call: Callable[[torch.Tensor], object], expected: int) -> None:
    x = torch.ones(10, 10)
    assert count_operations(lambda: call(x)) == OperationCounts(flops=0, bytes=expected)


def test_fused_optimizer_writes_weights_and_momentum() -> None:
    """SGD with momentum reads weight, gradient and momentum, and writes weight and momentum."""
    weight = torch.nn.Parameter(torch.ones(1000))
    weight.grad = torch.ones(1000)
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, fused=True)
    optimizer.step()
    assert count_operations(optimizer.step).bytes == 5 * 4000
