"""Independent streams from one seed."""

from __future__ import annotations

import itertools

import pytest

from benchmark.seeding import derived_seed


def test_a_stream_is_the_same_for_ever() -> None:
    # The first eight bytes of sha256sum of "0/order/3", without their last bit.
    assert derived_seed(0, "order", 3) == 0x4B9958534E8D938F >> 1
    assert derived_seed(0, "order", 3) == derived_seed(0, "order", 3)


def test_every_seed_name_and_number_has_its_own_stream() -> None:
    seeds = {
        derived_seed(seed, name, epoch)
        for seed, name, epoch in itertools.product(range(5), ("order", "draws", "layers"), range(50))
    }
    assert len(seeds) == 5 * 3 * 50


def test_a_cell_without_a_seed_draws_as_seed_zero() -> None:
    assert derived_seed(None, "encoder") == derived_seed(0, "encoder")


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**64, 10**30])
def test_a_derived_seed_fits_every_generator(seed: int) -> None:
    for epoch in range(100):
        assert 0 <= derived_seed(seed, "x", epoch) < 2**63


def test_bits_are_evenly_spread() -> None:
    seeds = [derived_seed(0, "x", number) for number in range(2000)]
    for bit in range(63):
        share = sum(seed >> bit & 1 for seed in seeds) / len(seeds)
        assert abs(share - 0.5) < 0.06  # five standard deviations
