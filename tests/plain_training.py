"""A plain training loop, written out as a reference for the harness."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from method_samples import make_context
from plain_losses import MEAN, PLAIN_LOSSES, STD, shifted_and_mirrored
from torch import Tensor, nn

import benchmark
from benchmark.api.catalog import load_catalog
from benchmark.api.encoders import EncoderSpec
from benchmark.api.methods import MethodContext, MethodSpec
from benchmark.encoder import NormalizedEncoder, build_encoder
from benchmark.progress import Reporter, silent
from benchmark.seeding import derived_seed
from benchmark.testing.miniature import CLASSES, SMALL_ENCODER, small_images
from benchmark.training.loop import train
from benchmark.training.task import Trained, TrainingData, TrainingTask

SEED = 5
SIDE = 16
COUNT = 40
BATCH = 16
STEPS = 3
"""Steps per epoch: 16, 16 and 8 images."""

RECIPE = benchmark.Recipe(epochs=2, batch=BATCH, lr=1e-3, drop_last=False, pad=2)
SGD: dict[str, Any] = {"optimizer": "sgd", "lr": 0.05, "weight_decay": 5e-4}


@dataclass
class Run:
    """What a training left, step by step."""

    losses: list[float] = field(default_factory=list)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    """Of the first step."""
    start: dict[str, Tensor] = field(default_factory=dict)
    """Weights and buffers before the first step."""
    weights: dict[str, Tensor] = field(default_factory=dict)
    """Weights and buffers at the end."""


@dataclass
class HarnessRun(Run):
    """The same, of a training by the harness."""

    trained: Trained = field(init=False)
    """Its result."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A method with everything that is needed to train it, by the plain loop and by the harness."""

    method: str
    params: dict[str, Any] = field(default_factory=dict)
    encoder: str = "small"
    side: int = SIDE
    recipe: benchmark.Recipe = RECIPE
    changed_pixel: tuple[int, int, int, int] | None = None
    """(image, channel, row, column) of a pixel that is changed by 8 gray values."""

    def with_recipe(self, **changes: Any) -> Case:
        """The same with another recipe."""
        return dataclasses.replace(self, recipe=dataclasses.replace(self.recipe, **changes))

    @property
    def spec(self) -> MethodSpec:
        """The method."""
        catalog = load_catalog()
        return cast(MethodSpec, catalog.find(catalog.methods, "method", self.method).spec)

    def images(self) -> tuple[Tensor, Tensor]:
        """The training images and their labels."""
        images, labels = small_images(COUNT, (3, self.side, self.side), seed=1)
        if self.changed_pixel is not None:
            images[self.changed_pixel] ^= 8
        return images, labels

    def fresh_encoder(self) -> NormalizedEncoder:
        """The untrained encoder."""
        catalog, spec = load_catalog(), SMALL_ENCODER
        if self.encoder != "small":
            spec = cast(EncoderSpec, catalog.find(catalog.encoders, "encoder", self.encoder).spec)
        return build_encoder(
            spec, spec.params(), (3, self.side, self.side), num_images=COUNT, seed=SEED, mean=MEAN, std=STD
        )

    def plain(self) -> Run:
        """Trained by the loop of this file."""
        images, labels = self.images()
        method, run = self._plain_method(), Run()
        run.start = copy_of(method)
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
                loss = PLAIN_LOSSES[self.method](method, self.params, torch.from_numpy(batch), labels[index], draws)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                run.gradients = run.gradients or gradients_of(method)
                optimizer.step()
                run.losses.append(float(loss.detach()))
                step += 1
        run.weights = copy_of(method)
        return run

    def _plain_method(self) -> nn.Module:
        """The method with its first weights, its network in torch's default memory format."""
        spec, encoder = self.spec, self.fresh_encoder()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(SEED, "method"))
            method = spec.build(
                make_context(
                    encoder,
                    spec.params(**self.params),
                    image_shape=(3, self.side, self.side),
                    num_images=COUNT,
                    num_classes=CLASSES if spec.labels == "all" else None,
                    total_steps=self.recipe.epochs * STEPS,
                    generator=torch.Generator().manual_seed(derived_seed(SEED, "build")),
                )
            )
        return method.to(memory_format=torch.contiguous_format)

    def task(self, accelerate: Any = "auto", build: Any = None, *, capturable: bool = True) -> TrainingTask:
        """The training task; of another method with `build`."""
        spec = self.spec
        params: Any = spec.params(**self.params)
        if build is not None:
            spec = benchmark.MethodSpec(name="tried", summary="", build=build, capturable=capturable)
            params = None
        return TrainingTask(
            spec=spec, params=params, recipe=self.recipe, seed=SEED, title="tried", accelerate=accelerate
        )

    def data(self, device: torch.device | None = None, **options: Any) -> TrainingData:
        """The training data on a device."""
        images, labels = (tensor.to(device or "cpu") for tensor in self.images())
        return TrainingData(images=images, labels=labels, num_classes=CLASSES, **options)

    def harness(
        self,
        accelerate: Any = "auto",
        *,
        encoder: NormalizedEncoder | None = None,
        reporter: Reporter = silent,
        **data: Any,
    ) -> HarnessRun:
        """Trained by the harness, on the CPU."""
        run, methods = HarnessRun(), []

        def build(context: MethodContext) -> nn.Module:
            method = spec.build(context)
            run.start = copy_of(method)
            observe(method, run)
            methods.append(method)
            return method

        task = self.task(accelerate)
        spec = task.spec
        observed = dataclasses.replace(task, spec=dataclasses.replace(spec, build=build))
        run.trained = train(observed, self.data(**data), encoder or self.fresh_encoder(), reporter)
        run.weights = copy_of(methods[0])
        return run


def observe(method: Any, run: Run) -> None:
    """Records the loss of each step and the gradients of the first."""
    loss, after_step = method.loss, getattr(method, "after_step", None)
    last: list[Tensor] = []

    def observed_loss(batch: benchmark.Batch) -> benchmark.Losses:
        losses: benchmark.Losses = loss(batch)
        last[:] = [losses.total.detach()]
        return losses

    def observed_after_step(progress: float) -> None:
        run.losses.append(float(last[0]))
        run.gradients = run.gradients or gradients_of(method)
        if after_step is not None:
            after_step(progress)

    method.loss, method.after_step = observed_loss, observed_after_step


def copy_of(method: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in method.state_dict().items()}


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


CASES = {
    "aet projective": Case(method="aet"),
    "aet affine": Case(method="aet", params={"transform": "affine"}),
    "rotation": Case(method="rotation"),
    "dim": Case(method="dim", params={"units": 24}),
    "dim on dim_conv": Case(method="dim", params={"units": 24}, encoder="dim_conv", side=8),
    "supervised": Case(method="supervised"),
}


def assert_equal_bits(one: Run, other: Run) -> None:
    """Two runs have the same losses, first gradients and final weights to the last bit."""
    assert one.losses == other.losses
    for first, second in ((one.gradients, other.gradients), (one.weights, other.weights)):
        assert first.keys() == second.keys()
        assert [name for name, tensor in first.items() if not torch.equal(tensor, second[name])] == []
