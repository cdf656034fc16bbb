"""Floors and ceiling: untouched weights, true statistics, labels for one method only, and weights that must fit."""

import hashlib
import math
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import bench_bounds
import bench_encoders
import benchmark
from bench_bounds.parameters import PretrainedParams
from benchmark.encoder import NormalizedEncoder

METHODS = {spec.name: spec for spec in bench_bounds.bench_methods()}
ENCODERS = {spec.name: spec for spec in bench_encoders.bench_encoders()}
DIGIT = (1, 8, 8)


class Tiny(nn.Module):
    """A convolution, dropout and batch normalization, small enough to check by hand."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 5, 3, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        return {"norm": self.norm(self.dropout(self.conv(images)))}


def tiny_encoder(mean: float = 0.0, std: float = 1.0) -> NormalizedEncoder:
    torch.manual_seed(0)
    tap = benchmark.Tap(name="norm", kind="map", shape=(5, 8, 8))
    layout = benchmark.Layout(taps=(tap,), output="norm", probe="norm")
    return NormalizedEncoder(Tiny(), layout, (mean,), (std,))


def encoder_called(name: str, shape: tuple[int, int, int] = DIGIT, **choices: Any) -> NormalizedEncoder:
    torch.manual_seed(0)
    spec = ENCODERS[name]
    params = spec.params(**choices)
    network = spec.build(benchmark.EncoderContext(params=params, image_shape=shape))
    return NormalizedEncoder(network, spec.layout(params, shape), (0.3,) * shape[0], (0.4,) * shape[0])


def built(method: str, encoder: NormalizedEncoder, params: Any = None, num_classes: int | None = None) -> Any:
    context = benchmark.MethodContext(
        params=params or benchmark.NoParams(),
        encoder=encoder,
        layout=encoder.layout,
        image_shape=DIGIT,
        num_images=64,
        num_classes=num_classes,
        total_steps=10,
        mean=(0.3,),
        std=(0.4,),
        generator=torch.Generator().manual_seed(0),
    )
    return METHODS[method].build(context)


def batch_of(images: Tensor, labels: Tensor | None = None) -> benchmark.Batch:
    return benchmark.Batch(
        images=images,
        raw=(images * 255).byte(),
        index=torch.arange(len(images)),
        progress=0.0,
        generator=torch.Generator().manual_seed(0),
        labels=labels,
    )


def setting_of(encoder: str = "alexnet", dataset: str = "cifar10", **changes: Any) -> benchmark.Setting:
    shape = changes.pop("image_shape", (3, 32, 32))
    fields: dict[str, Any] = {
        "method_params": benchmark.NoParams(),
        "encoder": encoder,
        "encoder_params": ENCODERS[encoder].params(),
        "layout": ENCODERS[encoder].layout(ENCODERS[encoder].params(), shape),
        "dataset": dataset,
        "image_shape": shape,
        "num_images": 50_000,
        "num_classes": 10,
        "budget": "quick",
    }
    return benchmark.Setting(**{**fields, **changes})


# --- specs ------------------------------------------------------------------------------------------------------------


def test_listing_imports_no_torch() -> None:
    code = "import sys, bench_bounds; list(bench_bounds.bench_methods()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_only_supervised_asks_for_labels_or_steps() -> None:
    assert [name for name, spec in METHODS.items() if spec.labels == "all"] == ["supervised"]
    assert [name for name, spec in METHODS.items() if spec.trains] == ["supervised"]


def test_pixels_and_untrained_are_the_floors_and_chance_plays_a_part_in_one() -> None:
    assert [name for name, spec in METHODS.items() if spec.floor] == ["pixels", "untrained"]
    assert [name for name, spec in METHODS.items() if not spec.seeded] == ["pixels", "pretrained"]


@pytest.mark.parametrize("name", ["pixels", "untrained"])
def test_a_method_without_training_refuses_to_give_a_loss(name: str) -> None:
    with pytest.raises(benchmark.PluginError, match=f"'{name}' is not trained"):
        built(name, tiny_encoder()).loss(batch_of(torch.rand(2, 1, 8, 8)))


# --- pixels -----------------------------------------------------------------------------------------------------------


def test_pixel_features_are_the_normalized_pixels_in_reading_order() -> None:
    shape = (2, 3, 4)
    spec = METHODS["pixels"].own_encoder
    assert spec is not None
    assert not METHODS["pixels"].uses_encoder
    layout = spec.layout(benchmark.NoParams(), shape)
    network = spec.build(benchmark.EncoderContext(params=benchmark.NoParams(), image_shape=shape))
    encoder = NormalizedEncoder(network, layout, mean=(0.5, 0.25), std=(0.5, 0.125))
    built("pixels", encoder)
    images = torch.rand(5, *shape)
    expected = torch.empty(5, 24)
    for place in range(24):
        channel, row, column = place // 12, place // 4 % 3, place % 4
        mean, std = ((0.5, 0.5), (0.25, 0.125))[channel]
        expected[:, place] = (images[:, channel, row, column] - mean) / std
    torch.testing.assert_close(encoder.vector(images), expected)
    assert layout.tap(layout.probe).width("average") == 24


# --- untrained --------------------------------------------------------------------------------------------------------


def test_running_statistics_are_those_of_all_images_however_unequal_the_batches() -> None:
    encoder = tiny_encoder(mean=0.4, std=0.3)
    images = torch.rand(22, 1, 8, 8)
    method = built("untrained", encoder)
    method.before_training(iter(torch.split(images, [10, 8, 4])))
    norm, conv = encoder.get_submodule("network.norm"), encoder.get_submodule("network.conv")
    with torch.no_grad():
        maps = conv((images - 0.4) / 0.3)
    torch.testing.assert_close(norm.running_mean, maps.mean(dim=(0, 2, 3)))
    variances = torch.stack([part.var(dim=(0, 2, 3)) for part in torch.split(maps, [10, 8, 4])])
    weights = torch.tensor([10.0, 8.0, 4.0])[:, None] / 22
    torch.testing.assert_close(norm.running_var, (variances * weights).sum(dim=0))


def test_what_an_earlier_pass_left_is_forgotten() -> None:
    images = torch.rand(12, 1, 8, 8)
    once, twice = tiny_encoder(), tiny_encoder()
    built("untrained", once).before_training([images])
    method = built("untrained", twice)
    method.before_training([images * 7])
    method.before_training([images])
    torch.testing.assert_close(dict(twice.state_dict()), dict(once.state_dict()))


@pytest.mark.parametrize("name", ENCODERS)
def test_the_pass_changes_statistics_and_neither_weights_nor_modes(name: str) -> None:
    encoder = encoder_called(name)
    method = built("untrained", encoder)
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


def test_after_the_pass_eval_features_are_centerd_and_of_unit_variance() -> None:
    encoder = tiny_encoder()
    images = torch.rand(64, 1, 8, 8) * 9 + 3
    built("untrained", encoder).before_training([images])
    with torch.no_grad():
        maps = encoder.eval()(images, ["norm"])["norm"]
    torch.testing.assert_close(maps.mean(dim=(0, 2, 3)), torch.zeros(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(maps.var(dim=(0, 2, 3)), torch.ones(5), atol=1e-3, rtol=0)


def test_a_lone_image_at_the_end_does_no_harm() -> None:
    encoder = encoder_called("resnet18")  # 8 x 8 ends in a map of 1 x 1, which one image gives no variance
    built("untrained", encoder).before_training(torch.split(torch.rand(9, *DIGIT), 8))
    assert all(value.isfinite().all() for value in encoder.state_dict().values())


def test_an_encoder_without_batch_normalization_is_not_even_run() -> None:
    encoder = NormalizedEncoder(nn.Identity(), tiny_encoder().layout, (0.0,), (1.0,))
    # Identity takes no taps: running it would raise.
    built("untrained", encoder).before_training([torch.rand(4, *DIGIT)])


# --- supervised -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENCODERS)
def test_supervised_starts_near_log_of_the_number_of_classes(name: str) -> None:
    method = built("supervised", encoder_called(name), num_classes=10)
    losses = method.loss(batch_of(torch.rand(40, *DIGIT), torch.arange(40) % 10))
    # Random logits of unit variance would cost half a nat more than equal ones.
    assert float(losses.total.detach()) == pytest.approx(math.log(10), abs=0.6)
    assert method.trivial_losses() == {"total": pytest.approx(2.302585)}
    assert 0 <= float(losses.parts["accuracy"]) <= 1


def test_a_zero_head_gives_exactly_the_trivial_loss() -> None:
    method = built("supervised", tiny_encoder(), num_classes=7)
    nn.init.zeros_(method.head.weight)
    nn.init.zeros_(method.head.bias)
    losses = method.loss(batch_of(torch.rand(6, *DIGIT), torch.arange(6)))
    assert float(losses.total.detach()) == pytest.approx(method.trivial_losses()["total"], abs=1e-6)


def test_supervised_learns_thirty_two_images_by_heart() -> None:
    method = built("supervised", encoder_called("dim_conv"), num_classes=10).train()
    batch = batch_of(torch.rand(32, *DIGIT), torch.arange(32) % 10)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)
    for _ in range(30):
        losses = method.loss(batch)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    assert float(losses.parts["accuracy"]) == 1.0
    assert float(losses.total.detach()) < 0.2


@pytest.mark.parametrize("name", ENCODERS)
def test_the_supervised_gradient_reaches_every_parameter(name: str) -> None:
    method = built("supervised", encoder_called(name), num_classes=10).train()
    method.loss(batch_of(torch.rand(16, *DIGIT), torch.arange(16) % 10)).total.backward()
    silent = [key for key, value in method.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_the_published_supervised_network_has_its_published_size() -> None:
    encoder = encoder_called("blocknet", (3, 32, 32), blocks=3)
    method = built("supervised", encoder, num_classes=10)
    assert sum(parameter.numel() for parameter in method.parameters()) == 1_005_642


def test_supervised_without_labels_says_whose_fault_it_is() -> None:
    with pytest.raises(benchmark.PluginError, match="num_classes"):
        built("supervised", tiny_encoder())
    with pytest.raises(benchmark.PluginError, match="no labels"):
        built("supervised", tiny_encoder(), num_classes=3).loss(batch_of(torch.rand(2, *DIGIT)))


def test_the_paper_recipe_is_rotnets_supervised_bound() -> None:
    published = ENCODERS["blocknet"].params(blocks=3, init="default")
    recipe = METHODS["supervised"].recipe(setting_of("blocknet", budget="paper", encoder_params=published))
    assert (recipe.optimizer, recipe.lr, recipe.momentum, recipe.nesterov) == ("sgd", 0.1, 0.9, True)
    assert (recipe.weight_decay, recipe.batch, recipe.epochs, recipe.drop_last) == (5e-4, 128, 200, False)
    assert (recipe.schedule, recipe.milestones, recipe.factor) == ("milestones", (60, 120, 160), 0.2)
    assert (recipe.augment, recipe.pad) == ("crop-flip", 4)
    assert recipe.mean == pytest.approx((0.491, 0.482, 0.447), abs=5e-4)
    assert recipe.std == pytest.approx((0.247, 0.244, 0.262), abs=5e-4)


@pytest.mark.parametrize(
    ("encoder", "dataset"), [("resnet18", "cifar10"), ("blocknet", "digits"), ("blocknet", "cifar10")]
)
def test_a_paper_recipe_is_refused_where_no_paper_gives_one(encoder: str, dataset: str) -> None:
    with pytest.raises(benchmark.UnsupportedError, match=f"this {encoder} on {dataset}"):
        METHODS["supervised"].recipe(setting_of(encoder, dataset, budget="paper"))


def test_digits_are_shifted_by_a_pixel_and_never_mirrored() -> None:
    recipe = METHODS["supervised"].recipe(setting_of(dataset="digits", image_shape=DIGIT))
    assert (recipe.augment, recipe.pad, recipe.epochs) == ("crop", 1, 6)
    recipe = METHODS["supervised"].recipe(setting_of(dataset="cifar10"))
    assert (recipe.augment, recipe.pad) == ("crop-flip", 4)


def test_one_class_is_nothing_to_learn() -> None:
    assert "two classes" in str(METHODS["supervised"].supports(setting_of(num_classes=1)))
    assert METHODS["supervised"].supports(setting_of()) is None


# --- pretrained -------------------------------------------------------------------------------------------------------


def fresh_and_trained() -> tuple[NormalizedEncoder, dict[str, Tensor]]:
    """An encoder, and weights that are not its own."""
    state = {key: torch.rand_like(value.float()) for key, value in tiny_encoder().network.state_dict().items()}
    state["norm.num_batches_tracked"] = torch.tensor(5)
    return tiny_encoder(), state


def check_loaded(encoder: NormalizedEncoder, state: dict[str, Tensor], params: PretrainedParams) -> None:
    built("pretrained", encoder, params)
    torch.testing.assert_close(dict(encoder.network.state_dict()), state)


def test_weights_make_the_round_trip_through_safetensors(tmp_path: Path) -> None:
    encoder, state = fresh_and_trained()
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    check_loaded(encoder, state, PretrainedParams(path=str(path)))
    assert (encoder.mean.item(), encoder.std.item()) == (0.0, 1.0)


@pytest.mark.parametrize("suffix", ["pt", "pth"])
@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
def test_weights_make_the_round_trip_through_torch_files(tmp_path: Path, suffix: str, nest: str | None) -> None:
    encoder, state = fresh_and_trained()
    path = tmp_path / f"weights.{suffix}"
    torch.save({nest: state, "epoch": 3} if nest else state, path)
    check_loaded(encoder, state, PretrainedParams(path=str(path)))


def test_a_prefix_is_stripped_and_other_modules_and_heads_are_left_aside(tmp_path: Path) -> None:
    encoder, state = fresh_and_trained()
    others = {"queue": torch.rand(3), "module.fc.weight": torch.rand(2, 2), "module.head.bias": torch.rand(2)}
    path = tmp_path / "weights.pt"
    torch.save({**{f"module.{key}": value for key, value in state.items()}, **others}, path)
    check_loaded(encoder, state, PretrainedParams(path=str(path), prefix="module.", drop=("fc.", "head.")))


def test_old_files_without_a_batch_counter_and_in_half_precision_fit(tmp_path: Path) -> None:
    encoder, state = fresh_and_trained()
    del state["norm.num_batches_tracked"]
    halves = {key: value.half() for key, value in state.items()}
    path = tmp_path / "weights.safetensors"
    save_file(halves, path)
    built("pretrained", encoder, PretrainedParams(path=str(path)))
    loaded = encoder.network.state_dict()
    assert all(torch.equal(loaded[key], value.float()) for key, value in halves.items())
    assert loaded["conv.weight"].dtype == torch.float32


def test_torchvisions_resnet_fits_ours_once_its_classifier_is_dropped(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    theirs = resnet18(weights=None).state_dict()
    path = tmp_path / "resnet18.pth"
    torch.save(theirs, path)
    encoder = encoder_called("resnet18", (3, 32, 32), stem="imagenet")
    built("pretrained", encoder, PretrainedParams(path=str(path), drop=("fc.",)))
    assert torch.equal(encoder.network.get_parameter("layer4.1.conv2.weight"), theirs["layer4.1.conv2.weight"])


def test_a_misfit_names_the_keys_and_changes_nothing(tmp_path: Path) -> None:
    encoder, state = fresh_and_trained()
    before = {key: value.clone() for key, value in encoder.network.state_dict().items()}
    del state["norm.bias"]
    state["fc.weight"] = torch.rand(2, 2)
    state["conv.weight"] = torch.rand(5, 3, 3, 3)
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    with pytest.raises(benchmark.UsageError) as caught:
        built("pretrained", encoder, PretrainedParams(path=str(path)))
    message = str(caught.value)
    assert "missing: norm.bias;" in message
    assert "unexpected: fc.weight;" in message
    assert "of the wrong shape: conv.weight (5, 3, 3, 3) in place of (5, 1, 3, 3)" in message
    assert "drop=fc." in message
    torch.testing.assert_close(dict(encoder.network.state_dict()), before)


def test_a_message_names_ten_keys_and_counts_the_rest(tmp_path: Path) -> None:
    encoder, state = fresh_and_trained()
    state.update({f"extra{number:02}": torch.zeros(1) for number in range(13)})
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    with pytest.raises(benchmark.UsageError, match="extra09 and 3 more"):
        built("pretrained", encoder, PretrainedParams(path=str(path)))


class Touch:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    "save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))]
)
def test_a_pickle_that_holds_more_than_weights_is_refused_and_not_run(tmp_path: Path, save: Any) -> None:
    path, trace = tmp_path / "weights.pt", tmp_path / "trace"
    save({"conv.weight": torch.rand(2), "extra": Touch(trace)}, path)
    with pytest.raises(benchmark.UsageError, match="refused"):
        built("pretrained", tiny_encoder(), PretrainedParams(path=str(path)))
    assert not trace.exists()


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
def test_a_damaged_file_is_a_usage_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    _, state = fresh_and_trained()
    (save_file if name.endswith("safetensors") else torch.save)(state, path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(benchmark.UsageError, match="weights"):
        built("pretrained", tiny_encoder(), PretrainedParams(path=str(path)))


def test_a_file_without_tensors_and_a_prefix_that_nothing_has_are_refused(tmp_path: Path) -> None:
    empty, full = tmp_path / "empty.pt", tmp_path / "full.pt"
    torch.save({"epoch": 3}, empty)
    torch.save(fresh_and_trained()[1], full)
    with pytest.raises(benchmark.UsageError, match="no tensors"):
        built("pretrained", tiny_encoder(), PretrainedParams(path=str(empty)))
    with pytest.raises(benchmark.UsageError, match=r"its keys are .*conv\.weight"):
        built("pretrained", tiny_encoder(), PretrainedParams(path=str(full), prefix="module."))


@pytest.mark.parametrize(("path", "words"), [("", "given no weights"), ("no.pt", "no file"), ("a.onnx", ".onnx")])
def test_a_file_that_cannot_be_had_is_a_usage_error_when_planning(path: str, words: str) -> None:
    identity = METHODS["pretrained"].identity
    assert identity is not None
    with pytest.raises(benchmark.UsageError, match=words):
        identity(PretrainedParams(path=path))


def test_identity_is_the_content_and_not_the_place(tmp_path: Path) -> None:
    identity = METHODS["pretrained"].identity
    assert identity is not None
    found = []
    for name in ("here.pt", "there.pt"):
        (tmp_path / name).write_bytes(b"same bytes")
        found.append(identity(PretrainedParams(path=str(tmp_path / name), drop=("head.", "fc."))))
    assert found[0] == found[1]
    assert found[0] == {
        "sha256": hashlib.sha256(b"same bytes").hexdigest(),
        "prefix": "",
        "drop": ("fc.", "head."),
    }
