"""The built-in encoders: published sizes, declared shapes, and no computation beyond the deepest tap."""

from typing import Any

import pytest
import torch
from method_samples import parameter_count
from torch import Tensor, nn

import bench_encoders
import benchmark
from benchmark.encoder import NormalizedEncoder

SPECS = {spec.name: spec for spec in bench_encoders.bench_encoders()}


SHAPES = [(1, 8, 8), (3, 32, 32), (3, 96, 96), (3, 9, 11), (4, 28, 28)]


RGB = (3, 32, 32)


def make_network(name: str, image_shape: tuple[int, int, int] = RGB, **choices: Any) -> nn.Module:
    params = SPECS[name].params(**choices)
    return SPECS[name].build(benchmark.EncoderContext(params=params, image_shape=image_shape))


def make_layout(name: str, image_shape: tuple[int, int, int] = RGB, **choices: Any) -> benchmark.Layout:
    return SPECS[name].layout(SPECS[name].params(**choices), image_shape)


def names(layout: benchmark.Layout) -> list[str]:
    return [tap.name for tap in layout.taps]


@pytest.mark.parametrize(
    ("name", "choices", "published"),
    [
        ("blocknet", {"blocks": 3}, 1_003_712),
        ("blocknet", {"blocks": 4}, 1_410_368),
        ("blocknet", {"blocks": 5}, 1_817_024),
        ("blocknet", {"blocks": 5, "pool_after_block3": True}, 1_817_024),
        ("resnet18", {}, 11_168_832),
        ("resnet18", {"stem": "imagenet"}, 11_181_642 - 5_130),  # torchvision's for ten classes, minus 512 x 10 + 10
        ("dim_conv", {}, 4_921_280),
        ("alexnet", {}, 2_452_416),  # 4,800 + 307,200 + 663,552 + 884,736 + 589,824 + 2 x 1,152 by hand
    ],
)
def test_encoder_has_the_published_size(name: str, choices: dict[str, Any], published: int) -> None:
    assert parameter_count(make_network(name, **choices)) == published


def test_blocks_of_blocknet_have_their_published_sizes() -> None:
    sizes = [parameter_count(block) for block in make_network("blocknet").children()]
    assert sizes == [61_376, 535_680, 406_656, 406_656]


@pytest.mark.parametrize(
    ("name", "choices", "shapes"),
    [
        ("blocknet", {}, [(96, 16, 16), (192, 8, 8), (192, 8, 8), (192, 8, 8)]),
        ("blocknet", {"pool_after_block3": True}, [(96, 16, 16), (192, 8, 8), (192, 4, 4), (192, 4, 4)]),
        ("resnet18", {}, [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]),
        ("resnet18", {"stem": "imagenet"}, [(64, 8, 8), (128, 4, 4), (256, 2, 2), (512, 1, 1)]),
        ("dim_conv", {}, [(64, 16, 16), (128, 8, 8), (256, 4, 4), (1024,), (64,)]),
        ("alexnet", {}, [(64, 16, 16), (192, 8, 8), (384, 8, 8), (256, 8, 8), (256, 4, 4)]),
    ],
)
def test_taps_on_cifar_images_have_the_published_shapes(
    name: str, choices: dict[str, Any], shapes: list[tuple[int, ...]]
) -> None:
    assert [tap.shape for tap in make_layout(name, **choices).taps] == shapes


@pytest.mark.parametrize("image_shape", SHAPES)
@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("blocknet", {}),
        ("blocknet", {"blocks": 3, "init": "default"}),
        ("blocknet", {"blocks": 5, "pool_after_block3": True}),
        ("resnet18", {}),
        ("resnet18", {"stem": "small"}),
        ("resnet18", {"stem": "imagenet"}),
        ("alexnet", {}),
        ("dim_conv", {}),
        ("dim_conv", {"units": 7}),
    ],
)
def test_taps_have_the_shapes_of_the_layout(
    name: str, choices: dict[str, Any], image_shape: tuple[int, int, int]
) -> None:
    layout = make_layout(name, image_shape, **choices)
    # Meta tensors have shapes but no values.
    with torch.device("meta"):
        network = make_network(name, image_shape, **choices).eval()
    features = network(torch.empty(2, *image_shape, device="meta"), names(layout))
    assert {tap: tuple(value.shape[1:]) for tap, value in features.items()} == {
        tap.name: tap.shape for tap in layout.taps
    }


@pytest.mark.parametrize("name", SPECS)
def test_output_is_the_deepest_tap_and_local_an_earlier_map(name: str) -> None:
    layout = make_layout(name)
    assert layout.output == names(layout)[-1]
    assert layout.local is not None
    assert layout.tap(layout.local).kind == "map"
    assert names(layout).index(layout.local) < len(layout.taps) - 1
    assert layout.tap(layout.local).shape[1:] == (8, 8)
    assert layout.probe in names(layout)


@pytest.mark.parametrize("name", SPECS)
def test_encoder_runs_only_up_to_the_deepest_tap(name: str) -> None:
    network = make_network(name, (1, 8, 8)).eval()
    taps = names(make_layout(name, (1, 8, 8)))
    ran: list[str] = []
    for child_name, child in network.named_children():
        child.register_forward_hook(lambda *_, called=child_name: ran.append(called))
    for depth, tap in enumerate(taps):
        ran.clear()
        network(torch.rand(1, 1, 8, 8), [tap])
        assert [called for called in ran if called in taps] == taps[: depth + 1]
    ran.clear()
    assert network(torch.rand(1, 1, 8, 8), []) == {}
    assert ran == []


@pytest.mark.parametrize("name", SPECS)
def test_tap_does_not_depend_on_the_other_taps(name: str) -> None:
    # Detects in-place activations that overwrite an earlier tap.
    network = make_network(name, (1, 8, 8)).eval()
    taps = names(make_layout(name, (1, 8, 8)))
    images = torch.rand(3, 1, 8, 8)
    together = network(images, taps[::-1])
    assert list(together) == taps[::-1]
    for tap in taps:
        torch.testing.assert_close(network(images, [tap])[tap], together[tap], rtol=0, atol=0)


def test_unknown_tap_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="conv9"):
        make_network("alexnet", (1, 8, 8)).eval()(torch.rand(1, 1, 8, 8), ["conv9"])


@pytest.mark.parametrize("image_shape", [(1, 8, 8), (3, 9, 11)])
@pytest.mark.parametrize("name", SPECS)
def test_gradient_reaches_every_parameter(name: str, image_shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    network = make_network(name, image_shape).train()
    output = make_layout(name, image_shape).output
    features = network(torch.randn(16, *image_shape), [output])[output]
    # Weighted, because batch normalization makes a plain sum constant.
    (features * torch.randn_like(features)).sum().backward()
    without_gradient = [key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert without_gradient == []


@pytest.mark.parametrize("name", SPECS)
def test_vector_is_finite_and_has_the_width_of_the_output(name: str) -> None:
    layout = make_layout(name, (1, 8, 8))
    encoder = NormalizedEncoder(make_network(name, (1, 8, 8)), layout, mean=(0.3,), std=(0.4,))
    vectors = encoder.vector(torch.rand(4, 1, 8, 8))
    assert vectors.shape == (4, layout.tap(layout.output).width("average"))
    assert vectors.isfinite().all()


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("image_shape", [(3, 7, 32), (3, 32, 7), (0, 32, 32)])
def test_images_below_eight_pixels_are_an_error(name: str, image_shape: tuple[int, int, int]) -> None:
    with pytest.raises(benchmark.UnsupportedError, match=f"{name}.*at least 8 x 8"):
        make_layout(name, image_shape)


def convolutions(network: nn.Module) -> list[Tensor]:
    return [layer.weight.detach() for layer in network.modules() if isinstance(layer, nn.Conv2d)]


def test_init_aet_has_the_deviation_of_the_authors_code() -> None:
    torch.manual_seed(0)
    for weight in convolutions(make_network("blocknet")):
        channels_out, _, kernel, _ = weight.shape
        assert float(weight.std()) == pytest.approx((2 / (kernel**2 * channels_out)) ** 0.5, rel=0.03)


def test_init_default_has_the_bound_of_pytorch() -> None:
    torch.manual_seed(0)
    for weight in convolutions(make_network("blocknet", init="default")):
        bound = weight[0].numel() ** -0.5
        assert 0.99 * bound < float(weight.abs().max()) <= bound


def test_weights_are_determined_by_the_seed() -> None:
    for name in SPECS:
        torch.manual_seed(3)
        first = make_network(name, (1, 8, 8)).state_dict()
        torch.manual_seed(3)
        second = make_network(name, (1, 8, 8)).state_dict()
        assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("image_shape", "kernel"), [((3, 64, 64), 3), ((3, 64, 200), 3), ((3, 65, 65), 7), ((1, 96, 96), 7)]
)
def test_stem_of_resnet_depends_on_the_shorter_side(image_shape: tuple[int, int, int], kernel: int) -> None:
    stem = make_network("resnet18", image_shape).get_parameter("conv1.weight")
    assert stem.shape == (64, image_shape[0], kernel, kernel)


def test_resnet_with_torchvisions_weights_gives_its_outputs() -> None:
    from torchvision.models import resnet18

    theirs, ours = resnet18(weights=None).eval(), make_network("resnet18", stem="imagenet").eval()
    state = {key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")}
    ours.load_state_dict(state)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        classes = theirs.fc(ours(images, ["layer4"])["layer4"].mean(dim=(2, 3)))
        torch.testing.assert_close(classes, theirs(images))


def test_average_pooling_of_blocknet_includes_the_zero_padding() -> None:
    pooling = list(make_network("blocknet").get_submodule("conv2").children())[-1]
    # A corner window covers 4 of 9 pixels.
    assert float(pooling(torch.ones(1, 1, 8, 8))[0, 0, 0, 0]) == pytest.approx(4 / 9)


def test_parameter_out_of_range_is_an_error() -> None:
    with pytest.raises(ValueError, match="blocks=4"):
        SPECS["blocknet"].params(blocks=3, pool_after_block3=True)
    with pytest.raises(ValueError, match="units=0"):
        SPECS["dim_conv"].params(units=0)


@pytest.mark.parametrize("name", SPECS)
def test_spec_names_its_paper(name: str) -> None:
    assert SPECS[name].paper.rstrip()[-4:].isdigit()
    assert SPECS[name].min_side == 8
