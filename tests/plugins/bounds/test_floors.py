"""The floors `pixels` and `untrained`, and the specs of all reference methods."""

import pytest
import torch
from method_samples import make_batch
from tiny_bounds import DIGIT, ENCODERS, METHODS, build_method, make_encoder, tiny_encoder
from torch import nn

import benchmark
from benchmark.encoder import NormalizedEncoder


def test_only_supervised_trains_and_uses_labels() -> None:
    assert [name for name, spec in METHODS.items() if spec.labels == "all"] == ["supervised"]
    assert [name for name, spec in METHODS.items() if spec.trains] == ["supervised"]


def test_pixels_and_untrained_are_floors() -> None:
    assert [name for name, spec in METHODS.items() if spec.floor] == ["pixels", "untrained"]
    assert [name for name, spec in METHODS.items() if not spec.seeded] == ["pixels", "pretrained"]


@pytest.mark.parametrize("name", ["pixels", "untrained"])
def test_method_without_training_has_no_loss(name: str) -> None:
    with pytest.raises(benchmark.PluginError, match=f"'{name}' has no loss"):
        build_method(name, tiny_encoder()).loss(make_batch(torch.rand(2, 1, 8, 8)))


def test_pixel_features_are_normalized_pixels_in_reading_order() -> None:
    shape = (2, 3, 4)
    spec = METHODS["pixels"].own_encoder
    assert spec is not None
    layout = spec.layout(benchmark.NoParams(), shape)
    network = spec.build(benchmark.EncoderContext(params=benchmark.NoParams(), image_shape=shape))
    encoder = NormalizedEncoder(network, layout, mean=(0.5, 0.25), std=(0.5, 0.125))
    build_method("pixels", encoder)
    images = torch.rand(5, *shape)
    expected = torch.empty(5, 24)
    for index in range(24):
        channel, row, column = index // 12, index // 4 % 3, index % 4
        mean, std = ((0.5, 0.5), (0.25, 0.125))[channel]
        expected[:, index] = (images[:, channel, row, column] - mean) / std
    torch.testing.assert_close(encoder.vector(images), expected)
    assert layout.tap(layout.probe).width("average") == 24


def test_running_statistics_are_weighted_by_batch_size() -> None:
    encoder = tiny_encoder(mean=0.4, std=0.3)
    images = torch.rand(22, 1, 8, 8)
    method = build_method("untrained", encoder)
    method.before_training(iter(torch.split(images, [10, 8, 4])))
    norm, conv = encoder.get_submodule("network.norm"), encoder.get_submodule("network.conv")
    with torch.no_grad():
        maps = conv((images - 0.4) / 0.3)
    torch.testing.assert_close(norm.running_mean, maps.mean(dim=(0, 2, 3)))
    variances = torch.stack([part.var(dim=(0, 2, 3)) for part in torch.split(maps, [10, 8, 4])])
    weights = torch.tensor([10.0, 8.0, 4.0])[:, None] / 22
    torch.testing.assert_close(norm.running_var, (variances * weights).sum(dim=0))


def test_second_pass_replaces_the_statistics_of_the_first() -> None:
    images = torch.rand(12, 1, 8, 8)
    once, twice = tiny_encoder(), tiny_encoder()
    build_method("untrained", once).before_training([images])
    method = build_method("untrained", twice)
    method.before_training([images * 7])
    method.before_training([images])
    torch.testing.assert_close(dict(twice.state_dict()), dict(once.state_dict()))


@pytest.mark.parametrize("name", ENCODERS)
def test_pass_changes_only_running_statistics(name: str) -> None:
    encoder = make_encoder(name)
    method = build_method("untrained", encoder)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    weights = {key for key, _ in encoder.named_parameters()}
    momenta = [layer.momentum for layer in encoder.modules() if isinstance(layer, nn.BatchNorm2d)]
    encoder.network.eval()
    method.before_training(torch.split(torch.rand(20, *DIGIT), 8))
    after = encoder.state_dict()
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed == {key for key in after if key.endswith(("running_mean", "running_var", "num_batches_tracked"))}
    assert not changed & weights
    assert all(parameter.grad is None for parameter in encoder.parameters())
    assert [layer.momentum for layer in encoder.modules() if isinstance(layer, nn.BatchNorm2d)] == momenta
    assert method.training
    assert not encoder.network.training
    assert not any(module.training for module in encoder.network.modules())


def test_features_after_the_pass_have_zero_mean_and_unit_variance() -> None:
    encoder = tiny_encoder()
    images = torch.rand(64, 1, 8, 8) * 9 + 3
    build_method("untrained", encoder).before_training([images])
    with torch.no_grad():
        maps = encoder.eval()(images, ["norm"])["norm"]
    torch.testing.assert_close(maps.mean(dim=(0, 2, 3)), torch.zeros(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(maps.var(dim=(0, 2, 3)), torch.ones(5), atol=1e-3, rtol=0)


def test_last_batch_of_one_image_is_skipped() -> None:
    encoder = make_encoder("resnet18")  # its last map is 1 x 1, where one image has no variance
    build_method("untrained", encoder).before_training(torch.split(torch.rand(9, *DIGIT), 8))
    assert all(value.isfinite().all() for value in encoder.state_dict().values())


def test_encoder_without_batch_normalization_is_not_run() -> None:
    encoder = NormalizedEncoder(nn.Identity(), tiny_encoder().layout, (0.0,), (1.0,))
    # Identity takes no taps: running it would raise.
    build_method("untrained", encoder).before_training([torch.rand(4, *DIGIT)])
