"""Features of a frozen encoder: pooled or not, read in one pass, kept, and checked to be frozen."""

from __future__ import annotations

import pytest
import torch

from benchmark.api.encoders import Pool
from benchmark.errors import FrozenError
from benchmark.evaluation.features import FrozenFeatures, frozen_features, state_checksum
from benchmark.testing.miniature import probe_subject


@pytest.fixture
def source() -> FrozenFeatures:
    features = probe_subject().source
    assert isinstance(features, FrozenFeatures)
    return features


def passes(source: FrozenFeatures) -> list[tuple[str, ...]]:
    """The taps of each later forward."""
    seen: list[tuple[str, ...]] = []
    source.encoder.register_forward_pre_hook(lambda module, arguments: seen.append(tuple(arguments[1])))
    return seen


def test_features_without_pooling_have_the_shape_of_the_tap(source: FrozenFeatures) -> None:
    tap = source.layout.tap("conv2")
    whole = source.read("test", "conv2", "none")
    assert whole.shape[1:] == tap.shape
    assert torch.equal(whole.flatten(1), source.read("test", "conv2", "flat"))
    assert torch.allclose(whole.mean(dim=(2, 3)), source.read("test", "conv2", "average"), atol=1e-6)
    assert tap.width("none") == tap.width("flat") == whole[0].numel()


def test_features_are_read_once(source: FrozenFeatures) -> None:
    seen = passes(source)
    pools: tuple[Pool, ...] = ("none", "flat")
    for pool in pools:
        assert source.read("train", "conv2", pool) is source.read("train", "conv2", pool)
    assert seen == [("conv2",)] * 2


def test_requests_with_pooling_are_read_in_one_pass() -> None:
    subject = probe_subject()
    assert isinstance(subject.source, FrozenFeatures)
    requests: list[tuple[str, Pool]] = [("conv1", "average"), ("conv2", "flat"), ("conv2", "none")]
    source = FrozenFeatures(subject.source.encoder, subject.train.images, subject.test.images, requests)
    seen = passes(source)
    source.read("test", "conv1", "average")
    source.read("test", "conv2", "flat")
    assert seen == [("conv1", "conv2")]
    source.read("test", "conv2", "none")
    assert seen == [("conv1", "conv2"), ("conv2",)]


def test_features_without_pooling_are_kept_for_one_tap(source: FrozenFeatures) -> None:
    source.read("train", "conv1", "none")
    flat = source.read("train", "conv1", "flat")
    source.read("train", "conv2", "none")
    seen = passes(source)
    source.read("train", "conv2", "none")
    assert source.read("train", "conv1", "flat") is flat
    assert seen == []
    source.read("train", "conv1", "none")
    assert seen == [("conv1",)]


# --- frozen -----------------------------------------------------------------------------------------------------------


def test_encoded_images_have_the_shape_of_the_tap_and_no_graph(source: FrozenFeatures) -> None:
    assert not source.encoded
    features = source.encode(torch.rand(2, 3, 16, 16, requires_grad=True), "conv2")
    assert features.shape == (2, *source.layout.tap("conv2").shape)
    assert not features.requires_grad
    assert source.encoded


def test_checksum_depends_on_each_weight_and_buffer(source: FrozenFeatures) -> None:
    checksums = {state_checksum(source.encoder)}
    for tensor in source.encoder.state_dict().values():
        tensor += 1
        checksums.add(state_checksum(source.encoder))
    assert len(checksums) == 1 + len(source.encoder.state_dict())


def test_frozen_features_yields_the_checksum(source: FrozenFeatures) -> None:
    with frozen_features(source.encoder) as checksum:
        source.read("train", "conv2", "flat")
    assert checksum == state_checksum(source.encoder)


@pytest.mark.parametrize("change", ["weight", "running statistics"])
def test_changed_encoder_is_an_error(source: FrozenFeatures, change: str) -> None:
    def evaluate() -> None:
        with frozen_features(source.encoder):
            if change == "weight":
                next(source.encoder.parameters()).data += 1
            else:
                source.encoder.train()(torch.rand(4, 3, 16, 16), ["conv2"])

    with pytest.raises(FrozenError, match="weights or running statistics changed while it was scored"):
        evaluate()
