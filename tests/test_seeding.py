"""Derived seeds: fixed for ever, distinct for each seed and name, uniform in 63 bits."""

from __future__ import annotations

import itertools

import pytest

from benchmark.seeding import derived_seed


def test_derived_seed_never_changes() -> None:
    # The first eight bytes of sha256sum of "0/order/3", without the last bit.
    assert derived_seed(0, "order", 3) == 0x4B9958534E8D938F >> 1


def test_each_seed_and_name_gives_another_derived_seed() -> None:
    seeds = {
        derived_seed(seed, name, epoch)
        for seed, name, epoch in itertools.product(range(5), ("order", "draws", "layers"), range(50))
    }
    assert len(seeds) == 5 * 3 * 50


def test_no_seed_counts_as_seed_zero() -> None:
    assert derived_seed(None, "encoder") == derived_seed(0, "encoder")


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**64, 10**30])
def test_derived_seed_fits_every_generator(seed: int) -> None:
    assert all(0 <= derived_seed(seed, "x", epoch) < 2**63 for epoch in range(100))


def test_bits_are_uniform() -> None:
    seeds = [derived_seed(0, "x", number) for number in range(2000)]
    for bit in range(63):
        share = sum(seed >> bit & 1 for seed in seeds) / len(seeds)
        assert abs(share - 0.5) < 0.06  # five standard deviations
