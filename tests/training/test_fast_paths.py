"""Every fast way to train gives the losses, gradients and weights of a plain loop that is written out here once more."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import benchmark
from benchmark.api.catalog import load_catalog
from benchmark.api.encoders import EncoderSpec
from benchmark.api.methods import MethodContext, MethodSpec
from benchmark.encoder import NormalizedEncoder, build_encoder
from benchmark.evaluation.features import state_checksum
from benchmark.progress import Event, silent
from benchmark.seeding import derived_seed
from benchmark.testing.miniature import CLASSES, SMALL_ENCODER, small_images
from benchmark.training import acceleration
from benchmark.training import loop as train_room
from benchmark.training.loop import Loop, Trained, TrainingData, TrainingTask, train

SEED = 5
SIDE = 16
COUNT = 40
BATCH = 16
STEPS = 3
"""In an epoch: 16, 16 and 8 images."""
MEAN, STD = [0.4, 0.45, 0.5], [0.3, 0.25, 0.2]
CPU = torch.device("cpu")
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
NO_COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile wants g++ on a CPU")

RECIPE = benchmark.Recipe(epochs=2, batch=BATCH, lr=1e-3, drop_last=False, pad=2)
SGD: dict[str, Any] = {"optimizer": "sgd", "lr": 0.05, "weight_decay": 5e-4}

LOSS = 1e-5
"""Relative tolerance of a step's loss under SGD. float32 has 6e-8; sums of some thousand terms in another order lose a
digit or two of that, and the steps before have moved the weights by as much again."""
GRADIENT = 5e-5
"""Tolerance of each entry of the first step's gradients, as a part of the largest entry of the same tensor: single
entries are differences of many larger terms, so that their own size says nothing."""
WEIGHT = 1e-3
"""Tolerance of each entry of the weights after SGD, as a part of how far the tensor moved most: the gradients' own error,
carried on through `STEPS` x 2 steps of a network with batch norm (kinks are smoothed, see `smooth`)."""
ADAM_LOSS, ADAM_WEIGHT = 1e-4, 0.02
"""The same under Adam; a weight's tolerance is a part of the rate, which is how far one step moves it."""


@pytest.fixture
def smooth(monkeypatch: pytest.MonkeyPatch) -> None:
    """GELU wherever a network says ReLU, in both ways that are compared.

    An activation within rounding of ReLU's kink has a gradient of 0 in one way and of 1 in the other, and each training
    below has some 200,000 of them: over 12 seeds and two threads one in nine left the tolerances, by up to 50 times,
    with losses that agreed. Without kinks 180 trainings (30 seeds of each case) stayed within a ninth of `WEIGHT`.
    """
    monkeypatch.setattr(nn.ReLU, "forward", lambda module, given: F.gelu(given))


# --- the plain loop ---------------------------------------------------------------------------------------------------


@dataclass
class Ran:
    """What a training left, step by step."""

    losses: list[float] = field(default_factory=list)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    """Of the first step."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    """And buffers, at the end."""
    start: dict[str, Tensor] = field(default_factory=dict)
    trained: Trained | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """A method with what is needed to train it in either way."""

    method: str
    params: dict[str, Any] = field(default_factory=dict)
    encoder: str = "small"
    side: int = SIDE
    recipe: benchmark.Recipe = RECIPE

    @property
    def spec(self) -> MethodSpec:
        catalog = load_catalog()
        return cast(MethodSpec, catalog.find(catalog.methods, "method", self.method).spec)

    @property
    def encoder_spec(self) -> EncoderSpec:
        catalog = load_catalog()
        known = SMALL_ENCODER if self.encoder == "small" else None
        return known or cast(EncoderSpec, catalog.find(catalog.encoders, "encoder", self.encoder).spec)

    def images(self) -> tuple[Tensor, Tensor]:
        return small_images(COUNT, (3, self.side, self.side), seed=1)

    def fresh_encoder(self) -> NormalizedEncoder:
        spec = self.encoder_spec
        return build_encoder(
            spec, spec.params(), (3, self.side, self.side), num_images=COUNT, seed=SEED, mean=MEAN, std=STD
        )

    def plain_method(self) -> nn.Module:
        """The method with its first weights, its network laid out as torch makes it."""
        spec, encoder = self.spec, self.fresh_encoder()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(SEED, "method"))
            method = spec.build(
                MethodContext(
                    params=spec.params(**self.params),
                    encoder=encoder,
                    layout=encoder.layout,
                    image_shape=(3, self.side, self.side),
                    num_images=COUNT,
                    num_classes=CLASSES if spec.labels == "all" else None,
                    total_steps=self.recipe.epochs * STEPS,
                    mean=tuple(encoder.mean.flatten().tolist()),
                    std=tuple(encoder.std.flatten().tolist()),
                    generator=torch.Generator().manual_seed(derived_seed(SEED, "build")),
                )
            )
        return method.to(memory_format=torch.contiguous_format)

    def plainly(self) -> Ran:
        """Trained by the loop of this file."""
        images, labels = self.images()
        method, found = self.plain_method(), Ran()
        found.start = {name: tensor.clone() for name, tensor in method.state_dict().items()}
        optimizer = plain_optimizer(method, self.recipe)
        step = 0
        for epoch in range(self.recipe.epochs):
            torch.manual_seed(derived_seed(SEED, "layers", epoch))
            order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(derived_seed(SEED, "order", epoch)))
            draws = torch.Generator().manual_seed(derived_seed(SEED, "draws", epoch))
            for start in range(0, COUNT, self.recipe.batch):
                index = order[start : start + self.recipe.batch]
                for group in optimizer.param_groups:
                    group["lr"] = self.recipe.lr * 0.5 * (1 + math.cos(math.pi * step / (self.recipe.epochs * STEPS)))
                batch = shifted_and_mirrored(images[index].numpy(), self.recipe, draws)
                loss = PLAIN_LOSSES[self.method](method, self, torch.from_numpy(batch), labels[index], draws)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                if not found.gradients:
                    found.gradients = gradients_of(method)
                optimizer.step()
                found.losses.append(float(loss.detach()))
                step += 1
        found.weights = {name: tensor.clone() for name, tensor in method.state_dict().items()}
        return found

    def fast(self, monkeypatch: pytest.MonkeyPatch, accelerate: Any = "auto", **data: Any) -> Ran:
        """Trained by `benchmark.train.train`, which is watched."""
        found = Ran()
        reporter = data.pop("reporter", silent)
        encoder = data.pop("encoder", None) or self.fresh_encoder()

        class Watched(Loop):
            def __init__(self, *given: Any) -> None:
                super().__init__(*given)
                found.start = {name: tensor.clone() for name, tensor in self.method.state_dict().items()}

            def descend(self, optimizer: torch.optim.Optimizer, losses: benchmark.Losses) -> None:
                super().descend(optimizer, losses)
                found.losses.append(float(losses.total.detach()))
                if not found.gradients:
                    found.gradients = gradients_of(self.method)

            def _trained(self, first: int) -> Trained:
                found.weights = {name: tensor.clone() for name, tensor in self.method.state_dict().items()}
                return super()._trained(first)

        monkeypatch.setattr(train_room, "Loop", Watched)
        images, labels = self.images()
        spec = self.spec
        task = TrainingTask(
            spec=spec,
            params=spec.params(**self.params),
            recipe=self.recipe,
            seed=SEED,
            title="tried",
            accelerate=accelerate,
        )
        kept = labels if spec.labels == "all" else None
        given = TrainingData(images=images, labels=kept, num_classes=CLASSES, **data)
        found.trained = train(task, given, encoder, reporter)
        return found


def gradients_of(method: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


def plain_optimizer(method: nn.Module, recipe: benchmark.Recipe) -> torch.optim.Optimizer:
    weights = list(method.parameters())
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            weights,
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=False,
            foreach=False,
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    betas = (recipe.beta1, recipe.beta2)
    return kind(weights, lr=recipe.lr, betas=betas, weight_decay=recipe.weight_decay, fused=False, foreach=False)


def shifted_and_mirrored(
    images: NDArray[np.uint8], recipe: benchmark.Recipe, draws: torch.Generator
) -> NDArray[np.float32]:
    """Crop and flip, one image after the other: a window of the padded image, read from the right where it is mirrored."""
    count, channels, height, width = images.shape
    pad = recipe.pad
    tops, lefts, mirrored = [pad] * count, [pad] * count, [False] * count
    if recipe.augment in ("crop", "crop-flip"):
        tops = torch.randint(0, 2 * pad + 1, (count, 1), generator=draws).flatten().tolist()
        lefts = torch.randint(0, 2 * pad + 1, (count, 1), generator=draws).flatten().tolist()
    if recipe.augment in ("flip", "crop-flip"):
        mirrored = (torch.rand((count, 1, 1, 1), generator=draws) < 0.5).flatten().tolist()
    found = np.empty((count, channels, height, width), dtype=np.float32)
    for number, image in enumerate(images):
        black = np.zeros((channels, height + 2 * pad, width + 2 * pad), dtype=np.uint8)
        black[:, pad : pad + height, pad : pad + width] = image
        window = black[:, tops[number] : tops[number] + height, lefts[number] : lefts[number] + width]
        found[number] = (window[:, :, ::-1] if mirrored[number] else window) / np.float32(255)
    return found


def encoded(method: Any, images: Tensor, *taps: str) -> list[Tensor]:
    """The network's taps for contiguous images, without the encoder's own forward."""
    encoder = method.encoder
    normalized = (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    found = encoder.network(normalized.contiguous(), taps)
    return [found[name] for name in taps]


def vectors_of(method: Any, images: Tensor) -> Tensor:
    (output,) = encoded(method, images, method.encoder.layout.output)
    return output.mean(dim=(2, 3)) if output.ndim == 4 else output


# --- the losses, written out ------------------------------------------------------------------------------------------


def supervised_loss(method: Any, case: Case, images: Tensor, labels: Tensor, draws: torch.Generator) -> Tensor:
    scores = method.head(vectors_of(method, images))
    chosen = scores.log_softmax(dim=1)[torch.arange(len(labels)), labels]
    return -chosen.mean()


def rotation_loss(method: Any, case: Case, images: Tensor, labels: Tensor, draws: torch.Generator) -> Tensor:
    turned, turns = [], []
    for turn in range(4):
        for image in images.numpy():
            turned.append(np.rot90(image, turn, axes=(1, 2)).copy())
            turns.append(turn)
    scores = method.head(vectors_of(method, torch.from_numpy(np.stack(turned))))
    return -scores.log_softmax(dim=1)[torch.arange(len(turns)), torch.tensor(turns)].mean()


def uniform(count: int, limit: float, draws: torch.Generator) -> NDArray[np.float64]:
    return np.asarray((2 * torch.rand(count, generator=draws) - 1).double().numpy() * limit)


def sampled(image: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], fill: float) -> Any:
    """(C, H, W) read at (x, y) pixels: bilinear between centers, edges repeated, the fill from outside."""
    _, height, width = image.shape
    column, row = np.clip(x - 0.5, 0, width - 1), np.clip(y - 0.5, 0, height - 1)
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    u, v = column - left, row - top
    upper = image[:, top, left] * (1 - u) + image[:, top, right] * u
    lower = image[:, bottom, left] * (1 - u) + image[:, bottom, right] * u
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return np.where(inside, upper * (1 - v) + lower * v, fill)


def projective_targets(side: int, count: int, draws: torch.Generator) -> tuple[Any, Any]:
    """Coefficients (count, 8) from a linear system for each image, and what the decoder is to say."""
    scales = 1 + uniform(count, 0.2, draws)
    quarters = torch.randint(0, 4, (count, 1), generator=draws).flatten().tolist()
    most = round(0.125 * side)
    shifts = torch.randint(-most, most + 1, (count, 4, 2), generator=draws).numpy()
    center = (side + 1) / 2
    corners = np.array([(0, 0), (side, 0), (side, side), (0, side)], dtype=np.float64)
    found = []
    for scale, quarter, shift in zip(scales, quarters, shifts, strict=True):
        moved = (np.roll(corners, -quarter, axis=0) - center) * scale + center + shift
        rows = []
        for (x, y), (u, v) in zip(moved, corners, strict=True):
            rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        found.append(np.linalg.solve(np.array(rows), corners.flatten()))
    coefficients = np.stack(found)
    middle = np.array([0, 0, side / 2, 0, 0, side / 2, 0, 0])
    spread = np.array([1, 1, 20 * side / 32, 1, 1, 20 * side / 32, 0.015 * 32 / side, 0.015 * 32 / side])
    return coefficients, (coefficients - middle) / spread


def affine_targets(side: int, count: int, draws: torch.Generator) -> tuple[Any, Any]:
    """Coefficients (count, 8) of which the last two are 0, and what the decoder is to say."""
    angles = np.deg2rad(uniform(count, 180, draws))
    right, down = (np.rint(uniform(count, 0.2 * side, draws)) for _ in range(2))
    scales = 1 + uniform(count, 0.3, draws)
    shears = uniform(count, 30, draws)
    lean = np.deg2rad(shears)
    size = scales * np.cos(lean)
    a, b = np.cos(angles + lean) / size, np.sin(angles + lean) / size
    d, e = -np.sin(angles) / size, np.cos(angles) / size
    center = (side + 1) / 2
    c = center - a * (center + right) - b * (center + down)
    f = center - d * (center + right) - e * (center + down)
    reach = 0.2 * side
    targets = [np.cos(angles), np.sin(angles), right / reach, down / reach, (scales - 1) / 0.3, shears / 30]
    return np.stack([a, b, c, d, e, f, 0 * a, 0 * a], axis=1), np.stack(targets, axis=1)


def aet_loss(method: Any, case: Case, images: Tensor, labels: Tensor, draws: torch.Generator) -> Tensor:
    """Image and copy, one forward each, the copies made one by one in float64."""
    family = case.params.get("transform", "projective")
    make = projective_targets if family == "projective" else affine_targets
    coefficients, targets = make(case.side, len(images), draws)
    column, row = np.meshgrid(np.arange(case.side) + 0.5, np.arange(case.side) + 0.5)
    copies = []
    for image, (a, b, c, d, e, f, g, h) in zip(images.double().numpy(), coefficients, strict=True):
        depth = g * column + h * row + 1
        x, y = (a * column + b * row + c) / depth, (d * column + e * row + f) / depth
        copies.append(sampled(image, x, y, 128 / 255))
    before = vectors_of(method, images)
    after = vectors_of(method, torch.from_numpy(np.stack(copies)).float())
    answer = method.decoder(torch.cat([before, after], dim=1))
    answer = answer.tanh() if family == "affine" else answer
    return (answer - torch.from_numpy(targets).float()).square().mean()


def dim_loss(method: Any, case: Case, images: Tensor, labels: Tensor, draws: torch.Generator) -> Tensor:
    """DIM(L) with the Jensen-Shannon estimator, the dot critic and the prior's game."""
    layout = method.encoder.layout
    output, maps = encoded(method, images, layout.output, layout.local)
    vectors = output.mean(dim=(2, 3)) if output.ndim == 4 else output
    critic = method.critics["local"]
    places = maps.permute(0, 2, 3, 1).reshape(len(images), -1, maps.shape[1])
    keys = critic.places(places.reshape(-1, places.shape[2])).view(len(images), places.shape[1], -1)
    scores = torch.einsum("iu,jlu->ijl", critic.vectors(vectors), keys)
    own = torch.eye(len(images), dtype=torch.bool)
    local = F.softplus(-scores[own]).mean() + F.softplus(scores[~own]).mean()
    codes = torch.sigmoid(vectors.detach())
    noise = torch.rand(codes.shape, generator=draws)
    told, untold = noise.requires_grad_(), codes.requires_grad_()
    true, false = method.discriminator(told), method.discriminator(untold)
    slopes = torch.autograd.grad(true.sum() + false.sum(), [told, untold], create_graph=True)
    penalty = torch.cat(slopes).square().sum(dim=1).mean()
    game = -F.logsigmoid(true).mean() - F.logsigmoid(-false).mean() + penalty
    judge = copy.deepcopy(method.discriminator).requires_grad_(False)
    prior = -F.logsigmoid(judge(torch.sigmoid(vectors))).mean()
    return local + 0.1 * prior + game


PLAIN_LOSSES: dict[str, Callable[..., Tensor]] = {
    "aet": aet_loss,
    "rotation": rotation_loss,
    "dim": dim_loss,
    "supervised": supervised_loss,
}

CASES = {
    "aet projective": Case(method="aet"),
    "aet affine": Case(method="aet", params={"transform": "affine"}),
    "rotation": Case(method="rotation"),
    "dim": Case(method="dim", params={"units": 24}),
    "dim on dim_conv": Case(method="dim", params={"units": 24}, encoder="dim_conv", side=8),
    "supervised": Case(method="supervised"),
}


def with_recipe(case: Case, **change: Any) -> Case:
    return dataclasses.replace(case, recipe=dataclasses.replace(case.recipe, **change))


def assert_close(fast: Ran, plain: Ran, *, loss: float, gradient: float) -> None:
    assert fast.losses == pytest.approx(plain.losses, rel=loss)
    assert fast.gradients.keys() == plain.gradients.keys()
    for name, wanted in plain.gradients.items():
        torch.testing.assert_close(
            fast.gradients[name], wanted, rtol=0, atol=gradient * float(wanted.abs().max()), msg=f"gradient of {name}"
        )


@pytest.mark.usefixtures("smooth")
@pytest.mark.parametrize("name", CASES)
def test_losses_gradients_and_weights_are_those_of_the_plain_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = with_recipe(CASES[name], **SGD)
    plain, fast = case.plainly(), case.fast(monkeypatch)
    assert len(plain.losses) == 2 * STEPS
    assert_close(fast, plain, loss=LOSS, gradient=GRADIENT)
    assert fast.weights.keys() == plain.weights.keys()
    seen = fast.weights.pop("largest_batch", None)  # DIM's, which the losses of this file do not count
    assert seen is None or int(seen) == BATCH
    for key in fast.weights:
        wanted = plain.weights[key]
        moved = float((wanted.double() - plain.start[key].double()).abs().max())
        assert torch.equal(fast.start[key], plain.start[key]), key
        torch.testing.assert_close(
            fast.weights[key], wanted, rtol=0, atol=WEIGHT * moved + 1e-7, msg=f"{key} after {2 * STEPS} steps"
        )


@pytest.mark.parametrize("name", CASES)
def test_a_first_step_with_its_kinks_has_the_plain_loops_loss(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    assert case.fast(monkeypatch).losses[0] == pytest.approx(case.plainly().losses[0], rel=LOSS)


@pytest.mark.usefixtures("smooth")
@pytest.mark.parametrize("name", CASES)
def test_adam_goes_the_plain_loops_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adam divides by the gradient's own size: entries whose gradient is rounding noise may go either way.

    So the losses are compared, and weights where the first gradient stands clear of the noise.
    """
    case = CASES[name]
    plain, fast = case.plainly(), case.fast(monkeypatch)
    assert_close(fast, plain, loss=ADAM_LOSS, gradient=GRADIENT)
    for key, gradient in plain.gradients.items():
        clear = gradient.abs() > 0.05 * gradient.abs().max()
        apart = (fast.weights[key] - plain.weights[key])[clear].abs().max()
        assert float(apart) < ADAM_WEIGHT * case.recipe.lr, key


def test_the_mean_loss_of_an_epoch_is_that_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES["rotation"]
    plain, fast = case.plainly(), case.fast(monkeypatch)
    assert fast.trained is not None
    for epoch, row in enumerate(fast.trained.curve):
        mean = sum(plain.losses[epoch * STEPS : (epoch + 1) * STEPS]) / STEPS
        assert row.losses["total"] == pytest.approx(mean, rel=ADAM_LOSS)


@pytest.mark.usefixtures("smooth")
@pytest.mark.parametrize("augment", ["none", "crop", "flip"])
def test_each_augmentation_is_the_plain_one(augment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    case = with_recipe(CASES["supervised"], augment=augment, pad=3, **SGD)
    assert_close(case.fast(monkeypatch), case.plainly(), loss=LOSS, gradient=GRADIENT)


@pytest.mark.usefixtures("smooth")
def test_the_tolerances_tell_one_pixel_of_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above would see the smallest mistake that an augmentation can make."""
    case = with_recipe(CASES["supervised"], **SGD)
    plain = case.plainly()
    real = Case.images

    def spoilt(self: Case) -> tuple[Tensor, Tensor]:
        images, labels = real(self)
        images[7, 1, 8, 8] ^= 8
        return images, labels

    monkeypatch.setattr(Case, "images", spoilt)
    with pytest.raises(AssertionError):
        assert_close(case.fast(monkeypatch), plain, loss=LOSS, gradient=GRADIENT)


# --- what may not change a bit ----------------------------------------------------------------------------------------


def assert_same_bits(one: Ran, other: Ran) -> None:
    assert one.losses == other.losses
    for mine, theirs in ((one.gradients, other.gradients), (one.weights, other.weights)):
        assert mine.keys() == theirs.keys()
        assert [name for name, tensor in mine.items() if not torch.equal(tensor, theirs[name])] == []


@pytest.mark.parametrize("name", CASES)
def test_streamed_images_train_to_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    assert_same_bits(case.fast(monkeypatch, streamed=True), case.fast(monkeypatch))


@pytest.mark.parametrize("name", CASES)
def test_memory_that_is_kept_trains_to_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    kept, plain = case.fast(monkeypatch, "auto"), case.fast(monkeypatch, "off")
    assert_same_bits(kept, plain)
    assert plain.trained is not None
    assert plain.trained.acceleration["memory"] == "as the allocator does by itself"


# --- compilation ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("smooth")
@pytest.mark.slow
@NO_COMPILER
@pytest.mark.filterwarnings("default")  # what the compiler says about this torch is not ours
@pytest.mark.parametrize("name", ["aet projective", "dim"])
def test_a_compiled_network_gives_the_plain_numbers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # setuptools, which the compiler asks, refuses to come after the standard library's distutils, which other tests load.
    monkeypatch.setenv("SETUPTOOLS_USE_DISTUTILS", "stdlib")
    case = with_recipe(CASES[name], **SGD)
    encoder = case.fresh_encoder()
    names = list(encoder.state_dict())
    fast = case.fast(monkeypatch, "compile", encoder=encoder)
    assert fast.trained is not None
    assert fast.trained.acceleration["compile"] == "compiled"
    assert_close(fast, case.plainly(), loss=2 * LOSS, gradient=2 * GRADIENT)
    assert list(encoder.state_dict()) == names
    assert encoder.network._compiled_call_impl is None


def break_compilation(network: nn.Module, error: Exception, *, after: int = 0, backward: bool = False) -> list[int]:
    """From now on what `network.compile` makes raises, after so many calls that work; counts the calls."""
    calls: list[int] = []

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, value: Tensor) -> Tensor:
            return value.clone()

        @staticmethod
        def backward(context: Any, *slopes: Any) -> Any:
            raise error

    def compiled(*given: Any, **named: Any) -> Any:
        calls.append(len(calls))
        if backward:
            found = network._call_impl(*given, **named)
            return {name: Broken.apply(tensor) for name, tensor in found.items()}
        if len(calls) > after:
            raise error
        return network._call_impl(*given, **named)

    def compile_it(**named: Any) -> None:
        network._compiled_call_impl = compiled

    network.compile = compile_it  # type: ignore[method-assign,assignment]
    return calls


class Cannot(torch._dynamo.exc.TorchDynamoException):
    """As torch says that it cannot compile."""


FAILURES: dict[str, dict[str, Any]] = {
    "dynamo": {"error": Cannot("this cannot be traced")},
    "no compiler": {"error": RuntimeError("no g++")},
    "no disk": {"error": OSError(28, "No space left on device")},
    "in the second branch": {"error": RuntimeError("no g++"), "after": 1},
    "in the backward": {"error": RuntimeError("no g++"), "backward": True},
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_network_that_cannot_be_compiled_trains_as_if_nobody_had_tried(
    failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES["aet projective"]
    plain = case.fast(monkeypatch, "off")
    encoder, events = case.fresh_encoder(), cast(list[Event], [])
    calls = break_compilation(encoder.network, **FAILURES[failure])
    fast = case.fast(monkeypatch, "compile", encoder=encoder, reporter=events.append)
    assert calls
    assert_same_bits(fast, plain)
    assert fast.trained is not None
    assert plain.trained is not None
    assert fast.trained.curve == plain.trained.curve
    assert encoder.network._compiled_call_impl is None
    reason = fast.trained.acceleration["compile"]
    assert reason.startswith("not compiled: ")
    assert str(FAILURES[failure]["error"]) in reason
    notes = [event.text for event in events if event.kind == "note"]
    assert len(notes) == 1
    assert "could not be compiled" in notes[0]
    assert str(FAILURES[failure]["error"]) in notes[0]


def test_a_torch_that_refuses_to_compile_at_once_trains_as_if_nobody_had_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile raises where it is called on a Python that it does not know yet."""
    case = CASES["rotation"]
    plain, encoder = case.fast(monkeypatch, "off"), case.fresh_encoder()

    def refuse(**named: Any) -> None:
        raise RuntimeError("torch.compile is not supported on Python 3.99")

    encoder.network.compile = refuse  # type: ignore[method-assign,assignment]
    assert_same_bits(case.fast(monkeypatch, "compile", encoder=encoder), plain)


class TwoSteps(nn.Module):
    """A method with a step of its own, which moves its head before the encoder is asked."""

    def __init__(self, context: MethodContext) -> None:
        super().__init__()
        self.encoder = context.encoder
        self.head = nn.Linear(12, 3)

    def step(self, batch: benchmark.Batch, optimizer: torch.optim.Optimizer) -> benchmark.Losses:
        optimizer.zero_grad()
        self.head.weight.square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        loss = (self.head(self.encoder.vector(batch.images)) - batch.images.mean(dim=(2, 3))).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return benchmark.Losses(total=loss)


def test_a_step_that_had_half_been_made_when_compilation_failed_leaves_nothing() -> None:
    case = CASES["rotation"]
    images, _ = case.images()
    sums = []
    for accelerate in ("off", "compile"):
        encoder = case.fresh_encoder()
        if accelerate == "compile":
            break_compilation(encoder.network, RuntimeError("no g++"))
        spec = benchmark.MethodSpec(name="tried", summary="", build=TwoSteps)
        task = TrainingTask(
            spec=spec,
            params=None,
            recipe=case.recipe,
            seed=SEED,
            title="tried",
            accelerate=accelerate,  # type: ignore[arg-type]
        )
        data = TrainingData(images=images, labels=None, num_classes=CLASSES)
        sums.append(state_checksum(train(task, data, encoder, silent).encoder))
    assert sums[0] == sums[1]


# --- nothing is waited for --------------------------------------------------------------------------------------------

READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique")
"""Operations whose result the host waits for: what `.item()`, `float()`, `bool()`, `if` and masks come down to."""


class Reads(TorchDispatchMode):
    """Counts what would make the host wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        if func._schema.name.partition("::")[2] in READS:
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))


class Around:
    """A feed: what the loop does between the second batch of each epoch and its end happens inside of `inside`."""

    def __init__(self, feed: Any, inside: Callable[[], Any]) -> None:
        self.feed, self.inside, self.steps = feed, inside, 0

    def batches(self, order: Tensor, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        found = self.feed.batches(order, size, steps)
        yield next(found)
        with self.inside():
            for each in found:
                self.steps += 1
                yield each


def around(case: Case, inside: Callable[[], Any], build: Any = None, **data: Any) -> tuple[Loop, Around]:
    """A loop whose steps after an epoch's first run inside of `inside`."""
    images, labels = case.images()
    device = data.get("device", CPU)
    spec = case.spec if build is None else benchmark.MethodSpec(name="tried", summary="", build=build, capturable=True)
    task = TrainingTask(
        spec=spec,
        params=None if build else spec.params(**case.params),
        recipe=case.recipe,
        seed=SEED,
        title="tried",
    )
    kept = labels.to(device) if spec.labels == "all" else None
    given = TrainingData(images=images.to(device), labels=kept, num_classes=CLASSES, **data)
    loop = Loop(task, given, case.fresh_encoder().to(device), silent)
    watched = Around(loop.feed, inside)
    loop.feed = watched
    return loop, watched


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adamw"])
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_read_back_between_the_first_step_of_an_epoch_and_its_end(name: str, optimizer: Any) -> None:
    reads = Reads()
    with torch.random.fork_rng(devices=[]):
        loop, watched = around(with_recipe(CASES[name], optimizer=optimizer, clip=1.0), lambda: reads)
        loop.run()
    assert watched.steps == 2 * (STEPS - 1)
    assert reads.calls > 10 * watched.steps
    assert reads.names == []


class Reader(nn.Module):
    """A method that reads its loss on the host."""

    def __init__(self, context: MethodContext) -> None:
        super().__init__()
        self.encoder = context.encoder
        self.seen = 0.0

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        total = self.encoder.vector(batch.images).square().mean()
        self.seen = total.item()
        return benchmark.Losses(total=total)


def test_a_loss_that_is_read_would_be_seen() -> None:
    reads = Reads()
    with torch.random.fork_rng(devices=[]):
        around(CASES["rotation"], lambda: reads, Reader)[0].run()
    assert len(reads.names) == 2 * (STEPS - 1)


# --- on a GPU ---------------------------------------------------------------------------------------------------------

GPU = torch.device("cuda:0")
EPOCHS = 30
"""One step each, so that the curve holds every step's loss; 11 of them come before the capture."""
GENTLE: dict[str, Any] = {**SGD, "lr": 0.01}
ON_GPU = 5e-3
"""Relative tolerance of 30 steps' losses on a GPU in float32, whose kernels add in an order of their own each time. DIM's
game makes a difference of 3e-4 in the first weights one of 2.6e-2 by then (measured on a CPU), so 1e-6 may become 1e-4."""


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Full float32 and one choice of kernels: what is left between two ways is the way."""
    monkeypatch.setattr(acceleration, "training_kernels", lambda device: contextlib.nullcontext())
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
    cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = False, True, False
    yield
    cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before


def on_gpu(case: Case, accelerate: Any, build: Any = None, *, low: bool = False, capturable: bool = True) -> Trained:
    images, labels = case.images()
    spec = case.spec
    params: Any = spec.params(**case.params)
    if build is not None:
        spec = benchmark.MethodSpec(name="tried", summary="", build=build, capturable=capturable)
        params = None
    task = TrainingTask(spec=spec, params=params, recipe=case.recipe, seed=SEED, title="tried", accelerate=accelerate)
    kept = labels.to(GPU) if spec.labels == "all" else None
    encoder = case.fresh_encoder().to(GPU)
    encoder.low_precision = low
    return train(task, TrainingData(images=images.to(GPU), labels=kept, num_classes=CLASSES), encoder, silent)


def totals(trained: Trained) -> list[float]:
    return [row.losses["total"] for row in trained.curve]


def assert_same_way(one: Trained, other: Trained) -> None:
    assert totals(one) == pytest.approx(totals(other), rel=ON_GPU)
    for name, weights in one.encoder.state_dict().items():
        wanted = other.encoder.state_dict()[name]
        torch.testing.assert_close(weights, wanted, rtol=0.02, atol=0.02 * float(wanted.abs().max()), msg=name)


@NO_GPU
@pytest.mark.usefixtures("exact", "smooth")
@pytest.mark.parametrize("name", CASES)
def test_a_captured_step_is_the_plain_step(name: str) -> None:
    case = with_recipe(CASES[name], epochs=EPOCHS, batch=COUNT, **GENTLE)
    captured, plain = on_gpu(case, "auto"), on_gpu(case, "off")
    if case.spec.capturable:
        assert captured.acceleration["graph"] == "captured"
    assert plain.acceleration["graph"] == "switched off"
    assert_same_way(captured, plain)


@NO_GPU
@pytest.mark.usefixtures("exact", "smooth")
def test_a_captured_step_follows_the_rate_and_counts_adams_steps() -> None:
    case = with_recipe(CASES["rotation"], epochs=EPOCHS, batch=COUNT)
    captured, plain = on_gpu(case, "auto"), on_gpu(case, "off")
    assert captured.acceleration["graph"] == "captured"
    assert totals(captured) == pytest.approx(totals(plain), rel=10 * ON_GPU)


@NO_GPU
@pytest.mark.usefixtures("exact", "smooth")
def test_a_smaller_last_batch_is_a_plain_step_among_captured_ones() -> None:
    case = with_recipe(CASES["aet projective"], epochs=12, **GENTLE)
    captured, plain = on_gpu(case, "auto"), on_gpu(case, "off")
    assert captured.acceleration["graph"] == "captured"
    assert captured.images_seen == plain.images_seen == 12 * COUNT
    assert_same_way(captured, plain)


class Timed(nn.Module):
    """A method whose loss grows with progress."""

    def __init__(self, context: MethodContext) -> None:
        super().__init__()
        self.encoder = context.encoder
        self.head = nn.Linear(12, 3)

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        error = (self.head(self.encoder.vector(batch.images)) - batch.images.mean(dim=(2, 3))).square().mean()
        return benchmark.Losses(total=error * (1 + batch.progress))


@NO_GPU
@pytest.mark.usefixtures("exact", "smooth")
@pytest.mark.parametrize(("build", "reason"), [(Timed, "batch.progress"), (Reader, "")])
def test_a_step_that_cannot_be_captured_says_why_and_trains_as_ever(build: Any, reason: str) -> None:
    case = with_recipe(CASES["rotation"], epochs=EPOCHS, batch=COUNT, **GENTLE)
    tried, plain = on_gpu(case, "auto", build), on_gpu(case, "off", build)
    assert tried.acceleration["graph"].startswith("not captured: ")
    assert reason in tried.acceleration["graph"]
    assert_same_way(tried, plain)


@NO_GPU
def test_a_method_that_does_not_declare_it_is_not_captured() -> None:
    case = with_recipe(CASES["rotation"], epochs=EPOCHS, batch=COUNT)
    found = on_gpu(case, "auto", Timed, capturable=False)
    assert found.acceleration["graph"] == "the method does not declare that its step may be captured"


@NO_GPU
@pytest.mark.parametrize("name", CASES)
def test_tf32_stays_close_to_float32(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TF32 keeps 10 bits of what is multiplied: .05 % an operation."""
    case = with_recipe(CASES[name], epochs=6, batch=COUNT, **GENTLE)
    quick = on_gpu(case, "off")
    monkeypatch.setattr(acceleration, "training_kernels", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert totals(quick) == pytest.approx(totals(on_gpu(case, "off")), rel=0.01)


@NO_GPU
@pytest.mark.parametrize("name", CASES)
def test_half_precision_stays_close_to_float32(name: str) -> None:
    """bfloat16 has 8 bits: .4 % an operation, averaged over images and places."""
    case = with_recipe(CASES[name], epochs=6, batch=COUNT, **GENTLE)
    low, full = on_gpu(case, "auto", low=True), on_gpu(case, "off")
    assert totals(low) == pytest.approx(totals(full), rel=0.05)


@NO_GPU
@pytest.mark.parametrize("name", CASES)
def test_a_gpu_is_not_waited_for_between_the_first_step_of_an_epoch_and_its_end(name: str) -> None:
    @contextlib.contextmanager
    def no_waiting() -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the debug mode does not see all
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    with torch.random.fork_rng(devices=[GPU]):
        case = with_recipe(CASES[name], epochs=2)
        loop, watched = around(case, no_waiting, device=GPU)
        loop.run()
    assert watched.steps == 2 * (STEPS - 1)
