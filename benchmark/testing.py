"""Checks that a plugin's author runs in the plugin's own tests: does it keep the contract that the harness relies on?

    from benchmark.testing import check_method
    def test_mine_keeps_the_contract() -> None:
        check_method(MINE)

Each check raises ConformanceError with a sentence that says what is wrong and what would be right. They run on a CPU, on
a few small images, in about a second.
"""

from __future__ import annotations

import dataclasses
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.acceleration import CaptureError, timeless
from benchmark.checkpoints import Spot
from benchmark.contracts import (
    DatasetSpec,
    EncoderSpec,
    Evaluation,
    EvaluatorSpec,
    ImageShape,
    Item,
    Layout,
    MethodSpec,
    Recipe,
    ScoreRequest,
    Setting,
    Tap,
)
from benchmark.encoder import NormalisedEncoder, build_encoder
from benchmark.errors import UnsupportedError
from benchmark.evaluate import LabelledImages, Subject, evaluate
from benchmark.features import FrozenFeatures, frozen, state_checksum
from benchmark.images import to_float
from benchmark.progress import silent
from benchmark.train import Loop, Trained, TrainingData, TrainingTask, train

CLASSES = 4
BATCH = 16
STEPS_PER_EPOCH = 2


class ConformanceError(AssertionError):
    """A plugin that does not keep its contract."""


# --- a small world ----------------------------------------------------------------------------------------------------


class _Small(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU())

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        found = {"conv1": self.conv1(images)}
        if "conv2" in taps:
            found["conv2"] = self.conv2(found["conv1"])
        return found


def _small_layout(params: object, image_shape: ImageShape) -> Layout:
    _, height, width = image_shape
    halves = [(-(-height // 2), -(-width // 2)), (-(-height // 4), -(-width // 4))]
    taps = (
        Tap(name="conv1", kind="map", shape=(8, *halves[0])),
        Tap(name="conv2", kind="map", shape=(12, *halves[1])),
    )
    return Layout(taps=taps, output="conv2", probe="conv2", local="conv1")


SMALL_ENCODER = EncoderSpec(
    name="small",
    summary="two convolutions with batch norm: for tests",
    build=lambda context: _Small(context.image_shape[0]),
    layout=_small_layout,
)
"""Trains in milliseconds and has a map to be local on."""


def small_images(count: int, image_shape: ImageShape = (3, 16, 16), seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) uint8 with a bright stripe whose place tells the class, and their labels (N,) int64."""
    channels, height, width = image_shape
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 128, (count, channels, height, width), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % CLASSES
    for label in range(CLASSES):
        start = label * height // CLASSES
        images[labels == label, :, start : start + height // CLASSES] += 100
    return images, labels


def probe_subject(seed: int = 0, train: int = 80, test: int = 40) -> Subject:
    """A frozen small encoder with train and test images: what evaluators are tried on."""
    encoder = build_encoder(
        SMALL_ENCODER, SMALL_ENCODER.params(), (3, 16, 16), num_images=train, seed=seed, mean=[0.4] * 3, std=[0.3] * 3
    )
    train_images, train_labels = small_images(train, seed=seed + 1)
    test_images, test_labels = small_images(test, seed=seed + 2)
    return Subject(
        source=FrozenFeatures(encoder, train_images, test_images, []),
        train=LabelledImages(images=train_images, labels=train_labels),
        test=LabelledImages(images=test_images, labels=test_labels),
        class_names=tuple(f"stripe {label}" for label in range(CLASSES)),
        fingerprint="small",
    )


# --- methods ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """One short training of a method."""

    spec: MethodSpec
    params: Any
    encoder: EncoderSpec
    encoder_params: Any
    image_shape: ImageShape
    recipe: Recipe

    def fresh_encoder(self) -> NormalisedEncoder:
        channels = self.image_shape[0]
        return build_encoder(
            self.encoder,
            self.encoder_params,
            self.image_shape,
            num_images=BATCH * STEPS_PER_EPOCH,
            seed=0,
            mean=[0.4] * channels,
            std=[0.3] * channels,
        )

    def run(self, labels: Tensor, checkpoint: Path | None = None, steps: int | None = None) -> Trained:
        images, _ = small_images(BATCH * STEPS_PER_EPOCH, self.image_shape)
        task = TrainingTask(
            spec=self.spec,
            params=self.params,
            recipe=self.recipe,
            seed=0,
            title=self.spec.name,
            checkpoint=checkpoint,
            checkpoint_seconds=0.0,
            steps=steps,
        )
        data = TrainingData(images=images, labels=labels, num_classes=CLASSES)
        return train(task, data, self.fresh_encoder(), silent)

    def loop(self, labels: Tensor) -> Loop:
        """The training loop, before its first step."""
        images, _ = small_images(BATCH * STEPS_PER_EPOCH, self.image_shape)
        task = TrainingTask(spec=self.spec, params=self.params, recipe=self.recipe, seed=0, title=self.spec.name)
        data = TrainingData(images=images, labels=labels, num_classes=CLASSES)
        return Loop(task, data, self.fresh_encoder(), silent)


def check_method(
    spec: MethodSpec,
    params: Any = None,
    encoder: EncoderSpec = SMALL_ENCODER,
    image_shape: ImageShape = (3, 16, 16),
) -> None:
    """A method trains, sees no label that it did not declare, resumes exactly and leaves no trace.

    Args:
        spec: the method.
        params: an instance of `spec.params`; default: its defaults.
        encoder: what to train; default: two convolutions with taps `conv1` (local) and `conv2` (output).
        image_shape: of the random images.

    Raises:
        ConformanceError: with what is wrong.
        TrainingError: no gradient reaches the encoder, or the loss is not finite.
    """
    trial = _trial(spec, spec.params() if params is None else params, spec.own_encoder or encoder, image_shape)
    _, labels = small_images(BATCH * STEPS_PER_EPOCH, image_shape)
    with _no_trace(f"method '{spec.name}'"):
        first = trial.run(labels)
    _check_trained(spec, trial, first)
    _require(
        _same(first, trial.run(labels)),
        f"method '{spec.name}': the same seed gave other weights; draw from batch.generator or context.generator",
    )
    if spec.labels == "none":
        _require(
            _same(first, trial.run(labels.flip(0))),
            f"method '{spec.name}': other labels gave other weights, but its spec declares labels='none'",
        )
    if spec.trains:
        _check_resume(spec, trial, labels, first)
        _check_declared(spec, trial.loop(labels))


def _trial(spec: MethodSpec, params: Any, encoder: EncoderSpec, image_shape: ImageShape) -> _Trial:
    encoder_params = encoder.params()
    setting = Setting(
        method_params=params,
        encoder=encoder.name,
        encoder_params=encoder_params,
        layout=encoder.layout(encoder_params, image_shape),
        dataset="small",
        image_shape=image_shape,
        num_images=BATCH * STEPS_PER_EPOCH,
        num_classes=CLASSES,
        budget="quick",
    )
    reason = spec.supports(setting)
    _require(reason is None, f"method '{spec.name}' refuses the images or the encoder of the check: {reason}")
    try:
        recipe = spec.recipe(setting) if spec.trains else Recipe(epochs=0)
    except UnsupportedError as error:
        raise ConformanceError(
            f"method '{spec.name}' has no quick recipe for the encoder of the check: {error}"
        ) from error
    short = dataclasses.replace(recipe, epochs=2 if spec.trains else 0, batch=BATCH, drop_last=True, warmup=0)
    return _Trial(
        spec=spec,
        params=params,
        encoder=encoder,
        encoder_params=encoder_params,
        image_shape=image_shape,
        recipe=short,
    )


def _check_trained(spec: MethodSpec, trial: _Trial, trained: Trained) -> None:
    name = f"method '{spec.name}'"
    images, _ = small_images(8, trial.image_shape)
    layout = trained.encoder.layout
    with torch.no_grad():
        output = trained.encoder(to_float(images), [layout.output])[layout.output]
    _require(bool(torch.isfinite(output).all()), f"{name}: the trained encoder gives features that are not finite")
    if spec.trains:
        changed = state_checksum(trained.encoder) != state_checksum(trial.fresh_encoder())
        _require(changed, f"{name}: four steps left the encoder that is to be scored as it was")
        _require(len(trained.curve) == trial.recipe.epochs, f"{name}: training ended early")


def _check_resume(spec: MethodSpec, trial: _Trial, labels: Tensor, whole: Trained) -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        trial.run(labels, checkpoint, steps=STEPS_PER_EPOCH)
        _require(checkpoint.exists(), f"method '{spec.name}': its state could not be saved")
        resumed = trial.run(labels, checkpoint)
    _require(resumed.resumed_from == Spot(epoch=1), f"method '{spec.name}': the checkpoint was not resumed")
    _require(
        _same(whole, resumed),
        f"method '{spec.name}': two steps, save, load and two steps gave other weights than four steps; everything that "
        "moves must be a parameter or buffer in state_dict()",
    )


def _check_declared(spec: MethodSpec, loop: Loop) -> None:
    """What a method says of its loss: that it comes in two halves, that a step of it may be captured."""
    with torch.random.fork_rng(devices=[]):
        loop.method.train()
        batch = loop.prepared(loop.data.images[:BATCH], torch.arange(BATCH), 0.0)
        if loop.has("views") and loop.has("loss_of"):
            before = loop.draws.get_state()
            torch.manual_seed(0)
            whole = loop.hooks.loss(batch)
            loop.draws.set_state(before)
            torch.manual_seed(0)
            halves = loop.hooks.loss_of(batch, loop.hooks.views(batch))
            totals = [float(losses.total.detach()) for losses in (whole, halves)]
            _require(
                totals[0] == totals[1],
                f"method '{spec.name}': loss(batch) is {totals[0]:g}, but loss_of(batch, views(batch)) is {totals[1]:g}; "
                "let loss be made of these two, or leave them out",
            )
        if spec.capturable and loop.has("loss"):
            try:
                loop.hooks.loss(batch)  # what is made in the first step only may be waited for
                with _NothingReadBack():  # type: ignore[no-untyped-call]  # torch leaves it untyped
                    loop.hooks.loss(timeless(batch))
            except CaptureError as error:
                raise ConformanceError(f"method '{spec.name}' declares capturable=True, but {error}") from error


class _NothingReadBack(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Raises where a tensor's value is read on the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise CaptureError(
                "its loss reads a tensor's value (item, float, bool or an if), which waits for the device"
            )
        return func(*args, **(kwargs or {}))


def _same(a: Trained, b: Trained) -> bool:
    return state_checksum(a.encoder) == state_checksum(b.encoder)


# --- encoders ---------------------------------------------------------------------------------------------------------


def check_encoder(
    spec: EncoderSpec, params: Any = None, image_shapes: Sequence[ImageShape] = ((1, 8, 8), (3, 32, 32))
) -> None:
    """An encoder's taps have the shapes that its layout says, are computed lazily, and carry gradients.

    Args:
        spec: the encoder.
        params: an instance of `spec.params`; default: its defaults.
        image_shapes: (C, H, W) to try; those that it does not take, by `min_side` or UnsupportedError, are left out.

    Raises:
        ConformanceError: with what is wrong, or because it takes none of the shapes.
    """
    params = spec.params() if params is None else params
    refused = []
    for shape in image_shapes:
        if min(shape[1:]) < spec.min_side:
            refused.append(f"{shape}: min_side is {spec.min_side}")
            continue
        with _no_trace(f"encoder '{spec.name}'"):
            try:
                layout = spec.layout(params, shape)
            except UnsupportedError as error:
                refused.append(f"{shape}: {error}")
                continue
            _check_encoder_at(spec, params, shape, layout)
    _require(
        len(refused) < len(image_shapes),
        f"encoder '{spec.name}' takes none of the shapes of the check ({'; '.join(refused)}); give image_shapes",
    )


def _check_encoder_at(spec: EncoderSpec, params: Any, shape: ImageShape, layout: Layout) -> None:
    name = f"encoder '{spec.name}' for images of {shape}"
    _check_layout(name, layout)
    encoder = _fresh(spec, params, shape)
    _require(
        state_checksum(encoder) == state_checksum(_fresh(spec, params, shape)),
        f"{name}: the same seed gave other weights; draw them from torch's global generator, which is seeded",
    )
    images = to_float(small_images(4, shape)[0])
    names = [tap.name for tap in layout.taps]
    given = encoder.network(images, tuple(names))
    for each in names:
        _require(each in given, f"{name}: gives no tap '{each}', which its layout names")
    found = encoder(images, names)
    for tap in layout.taps:
        got = tuple(found[tap.name].shape[1:])
        _require(got == tap.shape, f"{name}: tap '{tap.name}' has the shape {got}, its layout says {tap.shape}")
    if found[layout.output].requires_grad:
        found[layout.output].square().sum().backward()
    reached = any(p.grad is not None and bool((p.grad != 0).any()) for p in encoder.parameters())
    _require(reached or not list(encoder.parameters()), f"{name}: no gradient reaches its parameters from the output")
    _check_lazy(name, encoder, images, names)
    encoder.eval()
    with torch.no_grad():
        alone, together = encoder.vector(images[:2]), encoder.vector(images)[:2]
    _require(
        bool(torch.allclose(alone, together, atol=1e-4, rtol=1e-3)),
        f"{name}: in eval mode an image's features depend on the other images of its batch",
    )


def _fresh(spec: EncoderSpec, params: Any, shape: ImageShape) -> NormalisedEncoder:
    ones = [1.0] * shape[0]
    return build_encoder(spec, params, shape, num_images=4, seed=0, mean=[0.5] * shape[0], std=ones)


def _check_layout(name: str, layout: Layout) -> None:
    names = [tap.name for tap in layout.taps]
    _require(len(names) > 0 and len(set(names)) == len(names), f"{name}: taps must have different names: {names}")
    for role, chosen in (("output", layout.output), ("probe", layout.probe), ("local", layout.local)):
        _require(chosen is None or chosen in names, f"{name}: its {role} '{chosen}' is none of its taps {names}")
    local = None if layout.local is None else layout.tap(layout.local)
    _require(local is None or local.kind == "map", f"{name}: its local tap '{layout.local}' is no map")


def _check_lazy(name: str, encoder: NormalisedEncoder, images: Tensor, names: Sequence[str]) -> None:
    """Asking for one tap must not run modules that only deeper taps need."""
    before: set[str] = set()
    for number, tap in enumerate(names):
        used = _modules_used(encoder, images, tap)
        _require(
            before <= used or number == 0, f"{name}: tap '{tap}' runs less than the tap before it; order taps by depth"
        )
        before = used
    if len(names) > 1 and any(True for module in encoder.network.modules() if not list(module.children())):
        first, last = _modules_used(encoder, images, names[0]), _modules_used(encoder, images, names[-1])
        _require(
            first < last, f"{name}: asking for '{names[0]}' alone runs everything; stop at the deepest tap asked for"
        )


def _modules_used(encoder: NormalisedEncoder, images: Tensor, tap: str) -> set[str]:
    used: set[str] = set()

    def noting(name: str) -> Callable[..., None]:
        return lambda *_: used.add(name)

    leaves = [(name, module) for name, module in encoder.named_modules() if not list(module.children())]
    handles = [module.register_forward_hook(noting(name)) for name, module in leaves]
    try:
        with torch.no_grad():
            encoder(images, [tap])
    finally:
        for handle in handles:
            handle.remove()
    return used


# --- evaluators -------------------------------------------------------------------------------------------------------


def check_evaluator(spec: EvaluatorSpec, params: Any = None) -> Evaluation:
    """An evaluator repeats itself, leaves the encoder frozen, and its predictions do not depend on test labels.

    Args:
        spec: the evaluator.
        params: an instance of `spec.params`; default: its defaults.

    Returns:
        What it found on a small frozen encoder.

    Raises:
        ConformanceError: with what is wrong.
        FrozenError: it changed the encoder.
        PluginError: no measurement, an undeclared metric, a value that is not finite, outcomes of another length.
    """
    params = spec.params() if params is None else params
    subject = probe_subject()
    with _no_trace(f"evaluator '{spec.name}'"):
        first = _evaluated(spec, params, subject)
    again = _evaluated(spec, params, subject)
    _require(
        _same_measurements(first, again),
        f"evaluator '{spec.name}': the same features gave other numbers; draw from probe.generator",
    )
    shuffled = LabelledImages(images=subject.test.images, labels=subject.test.labels.flip(0))
    other = _evaluated(spec, params, dataclasses.replace(subject, test=shuffled))
    for name, prediction in first.predictions.items():
        _require(
            bool(np.array_equal(prediction, other.predictions[name])),
            f"evaluator '{spec.name}': other test labels gave other predictions ('{name}'); test labels may only score",
        )
    if spec.labels == "none":
        learnt = LabelledImages(images=subject.train.images, labels=subject.train.labels.flip(0))
        other = _evaluated(spec, params, dataclasses.replace(subject, train=learnt, test=shuffled))
        _require(
            _same_measurements(first, other),
            f"evaluator '{spec.name}': other labels gave other numbers, but its spec declares labels='none'",
        )
    _check_values(spec, first)
    return first


def _same_measurements(one: Evaluation, other: Evaluation) -> bool:
    """Values and what they are means of: two guesses may well be right equally often, and about other images."""

    def told(found: Evaluation) -> list[tuple[str, float, object]]:
        return [
            (m.metric, m.value, None if m.outcomes is None else np.asarray(m.outcomes).tobytes())
            for m in found.measurements
        ]

    return told(one) == told(other)


def _evaluated(spec: EvaluatorSpec, params: Any, subject: Subject) -> Evaluation:
    request = ScoreRequest(tap="conv2", pool=spec.pools[0], evaluator=Item(name=spec.name), protocol=spec.protocol)
    assert isinstance(subject.source, FrozenFeatures)
    with frozen(subject.source.encoder):
        (found,) = evaluate(subject, [request], lambda _: (spec, params))
    return found[2]


def _check_values(spec: EvaluatorSpec, found: Evaluation) -> None:
    units = {metric.name: metric.unit for metric in spec.metrics}
    for measurement in found.measurements:
        name = f"evaluator '{spec.name}': {measurement.metric}"
        if units[measurement.metric.partition("@")[0]] == "fraction":
            _require(0 <= measurement.value <= 1, f"{name} is {measurement.value}, but its unit is a fraction")
        if measurement.outcomes is not None:
            mean = float(np.nanmean(np.asarray(measurement.outcomes, dtype=np.float64)))
            _require(
                abs(mean - measurement.value) < 1e-5,
                f"{name} is {measurement.value}, but the mean of its outcomes is {mean}",
            )


# --- datasets ---------------------------------------------------------------------------------------------------------


def check_dataset(spec: DatasetSpec, params: Any = None, data_dir: Path | None = None) -> None:
    """A dataset is what it says before it is loaded, and the same each time.

    Args:
        spec: the dataset.
        params: an instance of `spec.params`; default: its defaults.
        data_dir: where it may cache; default: a temporary folder.

    Raises:
        ConformanceError: with what is wrong.
    """
    params = spec.params() if params is None else params
    with tempfile.TemporaryDirectory() as folder:
        _check_dataset_in(spec, params, data_dir or Path(folder))


def _check_dataset_in(spec: DatasetSpec, params: Any, data_dir: Path) -> None:
    name = f"dataset '{spec.name}'"
    info = spec.describe(params, data_dir)
    data = spec.load(params, data_dir)
    _require(spec.describe(params, data_dir) == info, f"{name}: describe gave something else after loading")
    _require(data.class_names == info.class_names, f"{name}: describe and load name other classes")
    for split_name, split, count in (("train", data.train, info.num_train), ("test", data.test, info.num_test)):
        where = f"{name}, {split_name}"
        _require(split.images.dtype == np.uint8, f"{where}: images are {split.images.dtype}, not uint8")
        _require(
            split.images.shape == (count, *info.image_shape),
            f"{where}: images have the shape {split.images.shape}, describe says {(count, *info.image_shape)}",
        )
        _require(split.labels.dtype == np.int64, f"{where}: labels are {split.labels.dtype}, not int64")
        _require(split.labels.shape == (count,), f"{where}: labels have the shape {split.labels.shape}")
        inside = bool((split.labels >= 0).all() and (split.labels < len(info.class_names)).all())
        _require(inside, f"{where}: labels go beyond the {len(info.class_names)} classes")
    extra = data.unlabelled
    if extra is not None:
        _require(extra.dtype == np.uint8, f"{name}, unlabelled: images are {extra.dtype}, not uint8")
        _require(
            extra.shape[1:] == info.image_shape,
            f"{name}, unlabelled: images have the shape {extra.shape}, describe says (N, *{info.image_shape})",
        )
    again = spec.load(params, data_dir)
    pairs = ((again.train, data.train), (again.test, data.test))
    same = all(np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels) for a, b in pairs)
    _require(same, f"{name}: loading twice gave other images or labels")


# --- small things -----------------------------------------------------------------------------------------------------


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ConformanceError(sentence)


class _no_trace:  # noqa: N801  # reads as a word in a with statement
    """Global torch state is afterwards what it was: random stream, default type, gradient mode, thread count."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._before = list(_global_state())

    def __exit__(self, kind: object, *exception: object) -> None:
        if kind is not None:
            return
        for (what, before), (_, after) in zip(self._before, _global_state(), strict=True):
            _require(before == after, f"{self._name} changed global state: {what}")


def _global_state() -> Iterator[tuple[str, object]]:
    # Only what code must not touch: draws during a check run inside fork_rng, so a moved stream is a leak.
    yield "torch's default type", torch.get_default_dtype()
    yield "gradient mode", torch.is_grad_enabled()
    yield "the number of threads", torch.get_num_threads()
    yield "torch's random stream", bytes(torch.random.get_rng_state().numpy().tobytes())
    yield "deterministic algorithms", torch.are_deterministic_algorithms_enabled()
    state: Any = np.random.get_state()
    yield "numpy's random stream", state[1].tobytes()
    yield "python's random stream", random.getstate()


__all__ = [
    "SMALL_ENCODER",
    "ConformanceError",
    "check_dataset",
    "check_encoder",
    "check_evaluator",
    "check_method",
    "probe_subject",
    "small_images",
]
