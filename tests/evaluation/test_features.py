"""Frozen features: pooled, flattened or as they are, each read in one pass and kept."""

from __future__ import annotations

import pytest
import torch

from benchmark.api.encoders import Pool
from benchmark.evaluation.features import FrozenFeatures
from benchmark.testing.miniature import probe_subject


@pytest.fixture
def source() -> FrozenFeatures:
    found = probe_subject().source
    assert isinstance(found, FrozenFeatures)
    return found


def passes(source: FrozenFeatures) -> list[tuple[str, ...]]:
    """The taps of every forward from here on."""
    seen: list[tuple[str, ...]] = []
    source.encoder.register_forward_pre_hook(lambda module, given: seen.append(tuple(given[1])))
    return seen


def test_features_without_pooling_have_the_taps_shape_and_are_the_flat_ones(source: FrozenFeatures) -> None:
    tap = source.layout.tap("conv2")
    whole = source.read("test", "conv2", "none")
    assert whole.shape[1:] == tap.shape
    assert torch.equal(whole.flatten(1), source.read("test", "conv2", "flat"))
    assert torch.allclose(whole.mean(dim=(2, 3)), source.read("test", "conv2", "average"), atol=1e-6)
    assert tap.width("none") == tap.width("flat") == whole[0].numel()


def test_what_is_asked_for_again_is_not_read_again(source: FrozenFeatures) -> None:
    seen = passes(source)
    pools: tuple[Pool, ...] = ("none", "flat")
    for pool in pools:
        assert source.read("train", "conv2", pool) is source.read("train", "conv2", pool)
    assert seen == [("conv2",)] * 2


def test_all_that_is_wanted_is_read_in_one_pass_but_for_maps_as_they_are() -> None:
    subject = probe_subject()
    assert isinstance(subject.source, FrozenFeatures)
    wanted: list[tuple[str, Pool]] = [("conv1", "average"), ("conv2", "flat"), ("conv2", "none")]
    source = FrozenFeatures(subject.source.encoder, subject.train.images, subject.test.images, wanted)
    seen = passes(source)
    source.read("test", "conv1", "average")
    source.read("test", "conv2", "flat")
    assert seen == [("conv1", "conv2")]
    source.read("test", "conv2", "none")
    assert seen == [("conv1", "conv2"), ("conv2",)]


def test_maps_as_they_are_are_kept_for_one_tap_at_a_time(source: FrozenFeatures) -> None:
    source.read("train", "conv1", "none")
    flat = source.read("train", "conv1", "flat")
    source.read("train", "conv2", "none")
    seen = passes(source)
    source.read("train", "conv2", "none")
    assert source.read("train", "conv1", "flat") is flat
    assert seen == []
    source.read("train", "conv1", "none")
    assert seen == [("conv1",)]
