"""The published heads: sizes, rates, few labels, and what they must not touch."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import bench_heads
import benchmark
from bench_heads import draws, networks, scoring, svm, training
from bench_heads.parameters import AetHeadParams, HeadParams, LabelParams, RotNetHeadParams, SvmParams
from bench_heads.recipes import RECIPES
from benchmark.api.cells import Item, ScoreRequest
from benchmark.api.encoders import Pool
from benchmark.evaluation.evaluate import LabeledImages, Subject, evaluate
from benchmark.testing.evaluators import check_evaluator
from benchmark.testing.miniature import probe_subject

SPECS = {spec.name: spec for spec in bench_heads.bench_evaluators()}
TRAINED = ["fc1", "fc2", "fc3", "conv", "mlp"]
CONV2 = benchmark.Tap(name="conv2", kind="map", shape=(192, 8, 8))
SMALL = benchmark.Tap(name="small", kind="map", shape=(4, 2, 2))
VECTOR = benchmark.Tap(name="fc", kind="vector", shape=(6,))
CPU = torch.device("cpu")
TOKENS = benchmark.Tap(name="tokens", kind="tokens", shape=(3, 4))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Pixels:
    """Where features are the images themselves, in a tap's shape; remembers what was encoded."""

    def __init__(self, tap: benchmark.Tap, train: Tensor, test: Tensor) -> None:
        self.layout = benchmark.Layout(taps=(tap,), output=tap.name, probe=tap.name)
        self.images = {"train": train, "test": test}
        self.encoded: list[Tensor] = []

    def encode(self, images: Tensor, tap: str) -> Tensor:
        self.encoded.append(images)
        return images.reshape(len(images), *self.layout.taps[0].shape).clone()

    def read(self, split: str, tap: str, pool: Pool) -> Tensor:
        features = self.encode(self.images[split].float() / 255, tap)
        return features if pool == "none" else features.flatten(1)


def colored(count: int, shape: tuple[int, ...], classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise in which each class has its own bright value, and the labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 100, (count, *shape), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % classes
    for label in range(classes):
        images[labels == label, label] += 150
    return images, labels


def subject(
    tap: benchmark.Tap = SMALL, train: int = 40, test: int = 20, classes: int = 3, names: int | None = None
) -> Subject:
    shape = tap.shape if tap.kind == "map" else (tap.width("flat"), 1, 1)
    train_images, train_labels = colored(train, shape, classes, seed=1)
    test_images, test_labels = colored(test, shape, classes, seed=2)
    return Subject(
        source=Pixels(tap, train_images, test_images),
        train=LabeledImages(images=train_images, labels=train_labels),
        test=LabeledImages(images=test_images, labels=test_labels),
        class_names=tuple(f"class {label}" for label in range(names or classes)),
        fingerprint="coloured",  # seeds the draws of the heads
    )


def scored(name: str, on: Subject, **params: Any) -> benchmark.Evaluation:
    spec = SPECS[name]
    request = ScoreRequest(
        tap=on.source.layout.probe, pool=spec.pools[0], evaluator=Item(name=name), protocol=spec.protocol
    )
    return evaluate(on, request, spec, spec.params(**params))


def probe_of(on: Subject) -> Any:
    kept: list[Any] = []

    def keep(probe: Any, params: Any) -> benchmark.Evaluation:
        kept.append(probe)
        return benchmark.Evaluation(measurements=(benchmark.Measurement(metric="accuracy", value=0.0, n=1),))

    spec = dataclasses.replace(SPECS["fc1"], evaluate=keep)
    request = ScoreRequest(tap=on.source.layout.probe, pool="none", evaluator=Item(name="fc1"), protocol="fc1@1")
    evaluate(on, request, spec, None)
    return kept[0]


def size(head: nn.Module) -> int:
    return sum(parameter.numel() for parameter in head.parameters())


def test_the_package_imports_no_torch() -> None:
    code = "import sys, bench_heads; list(bench_heads.bench_evaluators()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_head_is_version_1_with_accuracy_as_its_headline() -> None:
    assert list(SPECS) == [*TRAINED, "svm"]
    for name, spec in SPECS.items():
        assert spec.protocol == f"{name}@1"
        assert [metric.headline for metric in spec.metrics if metric.headline] == ["accuracy"]


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters"), [("fc1", 122_890), ("fc2", 2_460_010), ("fc3", 2_500_410), ("conv", 408_586)]
)
def test_heads_on_conv2_are_of_the_published_size(name: str, parameters: int) -> None:
    with torch.random.fork_rng(devices=[]):
        assert size(networks.build_head(name, CONV2, 10)) == parameters


@pytest.mark.parametrize(
    ("kind", "shape", "parameters"),
    [("map", (256, 4, 4), 821_810), ("vector", (1024,), 207_410), ("vector", (64,), 15_410)],
)
def test_dims_probes_are_of_the_published_size(kind: Any, shape: tuple[int, ...], parameters: int) -> None:
    tap = benchmark.Tap(name="tap", kind=kind, shape=shape)
    with torch.random.fork_rng(devices=[]):
        assert size(networks.build_head("mlp", tap, 10)) == parameters


def test_dims_probe_drops_units_before_it_normalizes_them() -> None:
    with torch.random.fork_rng(devices=[]):
        layers = [type(layer).__name__ for layer in networks.build_head("mlp", VECTOR, 10)]
    assert layers == ["Flatten", "Linear", "Dropout", "BatchNorm1d", "ReLU", "Linear"]


@pytest.mark.parametrize(("classes", "units"), [(10, 200), (100, 2000), (200, 2048)])
def test_hidden_layers_have_20_units_a_class_up_to_2048(classes: int, units: int) -> None:
    with torch.random.fork_rng(devices=[]):
        hidden = networks.build_head("fc2", SMALL, classes)[1]
    assert isinstance(hidden, nn.Linear)
    assert hidden.out_features == units


def test_linear_weights_start_with_variance_2_over_outputs_and_no_bias() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        linear = networks.build_head("fc1", CONV2, 10)[-1]
        convolution = networks.build_head("conv", CONV2, 10)[0]
    assert isinstance(linear, nn.Linear)
    assert isinstance(convolution, nn.Conv2d)
    assert float(linear.weight.detach().var()) == pytest.approx(2 / 10, rel=0.02)
    assert not linear.bias.any()
    assert float(convolution.weight.detach().var()) == pytest.approx(2 / (9 * 192), rel=0.02)


@pytest.mark.parametrize(
    ("name", "tap"),
    [(name, tap) for name in TRAINED for tap in (SMALL, VECTOR, TOKENS) if name != "conv" or tap.kind == "map"],
    ids=lambda given: given if isinstance(given, str) else given.kind,
)
def test_heads_give_a_logit_for_each_class_of_any_tap_that_they_take(name: str, tap: benchmark.Tap) -> None:
    with torch.random.fork_rng(devices=[]):
        head = networks.build_head(name, tap, 3)
        assert head(torch.rand(5, *tap.shape)).shape == (5, 3)


@pytest.mark.parametrize("tap", [VECTOR, TOKENS], ids=lambda tap: tap.kind)
def test_conv_refuses_what_is_no_map(tap: benchmark.Tap) -> None:
    with pytest.raises(benchmark.UnsupportedError, match=f"'{tap.name}' is a {tap.kind}"):
        scored("conv", subject(tap), epochs=1)


# --- rates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "epochs", "table"),
    [
        ("fc1", 200, {0: 0.1, 99: 0.1, 100: 0.01, 149: 0.01, 150: 0.001, 199: 0.001}),
        ("fc3", 100, {0: 0.1, 19: 0.1, 20: 0.02, 39: 0.02, 40: 0.004, 44: 0.004, 45: 0.0008, 99: 0.0008}),
        ("conv", 100, {0: 0.1, 34: 0.1, 35: 0.02, 69: 0.02, 70: 0.004, 84: 0.004, 85: 0.0008, 99: 0.0008}),
        ("mlp", 1000, {0: 1e-4, 49: 1e-4, 50: 1e-5, 99: 1e-5, 100: 1e-6, 999: 1e-6}),
    ],
)
def test_rates_are_the_published_ones(name: str, epochs: int, table: dict[int, float]) -> None:
    assert SPECS[name].params().epochs == epochs
    assert {epoch: RECIPES[name].rate(epoch, epochs) for epoch in table} == table


def test_the_rates_steps_stretch_with_the_number_of_epochs() -> None:
    twenty = [RECIPES["fc3"].rate(epoch, 20) for epoch in range(20)]
    assert twenty == [0.1] * 4 + [0.02] * 4 + [0.004] + [0.0008] * 11
    assert [RECIPES["fc2"].rate(epoch, 4) for epoch in range(4)] == [0.1, 0.1, 0.01, 0.001]
    assert RECIPES["conv"].rate(0, 1) == 0.1


def test_deep_infomaxs_rates_do_not_stretch() -> None:
    assert [RECIPES["mlp"].rate(epoch, 150) for epoch in (49, 50, 100, 149)] == [1e-4, 1e-5, 1e-6, 1e-6]


@pytest.mark.parametrize(("name", "kind"), [("fc1", torch.optim.SGD), ("mlp", torch.optim.Adam)])
def test_optimizers_are_the_published_ones(name: str, kind: type) -> None:
    optimizer = training._optimizer(nn.Linear(2, 2), RECIPES[name])
    assert type(optimizer) is kind
    wanted: dict[str, object] = {"lr": 1e-4, "betas": (0.5, 0.999), "weight_decay": 0}
    if name == "fc1":
        wanted = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    assert {key: optimizer.defaults[key] for key in wanted} == wanted


def test_the_optimizer_is_given_each_epochs_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def step(self: torch.optim.SGD, *_: object) -> None:
        seen.append(self.param_groups[0]["lr"])

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    scored("fc1", subject(), epochs=4, augment=False)
    assert seen == [0.1, 0.1, 0.01, 0.001]


# --- batches and views ------------------------------------------------------------------------------------------------


def test_an_epoch_shows_every_image_once_and_a_long_one_equally_often() -> None:
    generator = torch.Generator().manual_seed(0)
    once = torch.cat(list(training.batches(300, 300, RECIPES["fc1"], generator, CPU)))
    assert torch.equal(once.sort().values, torch.arange(300))
    assert not torch.equal(once, torch.arange(300))
    repeated = torch.cat(list(training.batches(3, 10, RECIPES["fc1"], generator, CPU)))
    assert torch.bincount(repeated).tolist() == [4, 3, 3]


@pytest.mark.parametrize(
    ("name", "length", "sizes"),
    [("fc1", 300, [128, 128, 44]), ("fc1", 129, [128]), ("fc1", 1, [1]), ("mlp", 150, [64, 64]), ("mlp", 20, [20])],
)
def test_a_batch_too_small_is_left_out(name: str, length: int, sizes: list[int]) -> None:
    found = training.batches(length, length, RECIPES[name], torch.Generator().manual_seed(0), CPU)
    assert [len(places) for places in found] == sizes


def test_epochs_of_few_labels_are_as_long_as_one_of_all_but_not_longer_than_cifars() -> None:
    assert training.epoch_length(1000, 1000, None) == 1000
    assert training.epoch_length(1000, 40, 10) == 1000
    assert training.epoch_length(1_000_000, 200, 20) == 50_000
    assert training.epoch_length(1_000_000, 80_000, 8_000) == 80_000


def test_augmentation_encodes_other_views_of_train_at_every_step_and_test_as_it_is() -> None:
    on = subject(benchmark.Tap(name="map", kind="map", shape=(4, 8, 8)))
    scored("fc1", on, epochs=3)
    assert isinstance(on.source, Pixels)
    assert [len(images) for images in on.source.encoded] == [40, 40, 40, 20]
    sums = [images.sum(dim=(1, 2, 3)).sort().values for images in on.source.encoded[:3]]
    assert not torch.equal(sums[0], sums[1])
    assert torch.equal(on.source.encoded[-1], on.test.images.float() / 255)


@pytest.mark.parametrize("name", ["fc1", "fc2", "fc3", "conv", "mlp"])
def test_heads_take_a_tap_as_it_is(name: str) -> None:
    assert SPECS[name].pools == ("none",)


def test_the_svm_takes_a_flattened_map_unless_told_otherwise() -> None:
    assert SPECS["svm"].pools == ("flat", "average")


def test_without_augmentation_train_is_encoded_once() -> None:
    on = subject()
    scored("fc1", on, epochs=3, augment=False)
    assert isinstance(on.source, Pixels)
    assert [len(images) for images in on.source.encoded] == [40, 20]


def test_features_too_large_to_keep_give_the_same_head(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = scored("fc2", subject(), epochs=3, augment=False)
    monkeypatch.setattr(training, "LARGEST_KEPT", 0)
    on = subject()
    again = scored("fc2", on, epochs=3, augment=False)
    assert isinstance(on.source, Pixels)
    assert [len(images) for images in on.source.encoded] == [40, 40, 40, 20]
    assert kept.details == again.details


# --- what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fc1", "fc2", "fc3", "conv"])
def test_heads_learn_what_can_be_learned(name: str) -> None:
    found = scored(name, subject(), epochs=12, augment=False)
    assert found.measurements[0].value == 1.0
    assert found.predictions[name].tolist() == [index % 3 for index in range(20)]


@pytest.mark.parametrize("tap", [VECTOR, TOKENS], ids=lambda tap: tap.kind)
def test_vectors_and_tokens_can_be_learned_from(tap: benchmark.Tap) -> None:
    assert scored("fc1", subject(tap), epochs=60, augment=False).measurements[0].value == 1.0


def test_deep_infomaxs_probe_learns_slowly_what_can_be_learned() -> None:
    assert scored("mlp", subject(train=400), epochs=50).measurements[0].value >= 0.95


def test_an_svm_learns_what_can_be_learned() -> None:
    found = scored("svm", subject())
    assert found.measurements[0].value == 1.0
    assert found.details["converged"] is True


def test_an_svm_that_needs_more_iterations_says_so() -> None:
    assert scored("svm", subject(), c=1000.0, iterations=1).details["converged"] is False


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("fc1", AetHeadParams(epochs=2)),
        ("fc2", AetHeadParams(epochs=1, augment=False)),
        ("fc3", RotNetHeadParams(epochs=1, augment=False)),
        ("conv", RotNetHeadParams(epochs=1, per_class=2)),
        ("mlp", HeadParams(epochs=1)),
        ("svm", SvmParams(per_class=5, draws=2)),
    ],
)
def test_every_head_keeps_the_contract(name: str, params: object) -> None:
    found = check_evaluator(SPECS[name], params)
    assert {"labeled_images", "draw_accuracies"} <= set(found.details)
    if name != "svm":
        assert {"epochs", "optimizer", "last_training_loss", "input"} <= set(found.details)


def test_one_draw_gives_yes_or_no_for_each_image_and_several_give_shares() -> None:
    one = scored("fc1", subject(), epochs=1).measurements[0].outcomes
    assert one is not None
    assert one.dtype == np.bool_
    found = scored("fc1", subject(), epochs=1, draws=2)
    several = found.measurements[0].outcomes
    assert several is not None
    assert several.dtype == np.float32
    assert set(np.unique(several)) <= {0.0, 0.5, 1.0}
    assert found.measurements[0].value == pytest.approx(several.mean())
    assert list(found.predictions) == ["fc1@draw=1", "fc1@draw=2"]


def test_more_draws_change_nothing_about_the_first() -> None:
    one, two = (scored("fc1", subject(), epochs=1, draws=number, per_class=3) for number in (1, 2))
    assert np.array_equal(one.predictions["fc1"], two.predictions["fc1@draw=1"])


def test_details_tell_how_the_head_was_trained() -> None:
    details = scored("fc3", subject(), epochs=5, per_class=4, augment=False).details
    assert details["rates"] == {"0": 0.1, "1": 0.02, "2": 0.004, "3": 0.0008}
    assert details["optimizer"] == "SGD, momentum 0.9, Nesterov, weight decay 0.0005"
    assert details["input"] == [4, 2, 2]
    assert details["labeled_images"] == 12
    assert details["steps"] == 5


# --- few labels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_class", [1, 5, 13])
def test_few_labels_are_exactly_so_many_of_each_class(per_class: int) -> None:
    on = subject()
    chosen = draws.labeled(probe_of(on), per_class, torch.Generator().manual_seed(0))
    assert torch.bincount(on.train.labels[chosen]).tolist() == [per_class] * 3
    assert chosen.tolist() == sorted(set(chosen.tolist()))


def test_draws_of_few_labels_differ_and_larger_ones_hold_the_smaller() -> None:
    probe = probe_of(subject())
    first, second = (draws.labeled(probe, 5, generator) for generator in draws.generators(probe, 2))
    assert not torch.equal(first, second)
    small, large = (draws.labeled(probe, count, torch.Generator().manual_seed(7)) for count in (3, 9))
    assert set(small.tolist()) < set(large.tolist())


def test_without_a_number_of_labels_all_of_train_is_used() -> None:
    assert torch.equal(draws.labeled(probe_of(subject()), None, torch.Generator()), torch.arange(40))


@pytest.mark.parametrize("name", ["fc1", "svm"])
def test_a_class_with_too_few_images_is_named(name: str) -> None:
    with pytest.raises(benchmark.UnsupportedError, match="'class 1' has 13 training images"):
        scored(name, subject(), per_class=14)
    with pytest.raises(benchmark.UnsupportedError, match="'class 3' has 0 training images"):
        scored(name, subject(names=4), per_class=1)


@pytest.mark.parametrize("name", ["fc1", "svm"])
def test_a_single_class_cannot_be_told_apart(name: str) -> None:
    with pytest.raises(benchmark.UnsupportedError, match="all training images are of one class"):
        scored(name, subject(classes=1, names=2))


@pytest.mark.parametrize("name", ["fc1", "svm"])
def test_labels_that_are_not_given_play_no_part(name: str) -> None:
    on = subject()
    short: dict[str, Any] = {"epochs": 1, "augment": False} if name == "fc1" else {}
    seen: list[Tensor] = []

    def labeled(*given: Any) -> Tensor:
        seen.append(draws.labeled(*given))
        return seen[-1] if len(seen) == 1 else seen[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring if name == "fc1" else svm, "labeled", labeled)
        once = scored(name, on, per_class=4, **short)
        others = torch.ones(40, dtype=torch.bool)
        others[seen[0]] = False
        wrong = torch.where(others, (on.train.labels + 1) % 3, on.train.labels)
        mislabeled = dataclasses.replace(on, train=LabeledImages(images=on.train.images, labels=wrong))
        again = scored(name, mislabeled, per_class=4, **short)
    assert np.array_equal(once.predictions[name], again.predictions[name])


# --- what a GPU would wait for ----------------------------------------------------------------------------------------


class Reads(TorchDispatchMode):
    """Counts numbers that the host reads from a tensor: on a GPU each is a wait for all that was launched before."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = str(func)
        self.count += named.startswith(("aten._local_scalar_dense", "aten.is_nonzero", "aten.nonzero", "aten.equal"))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("name", TRAINED)
def test_the_host_reads_one_number_an_epoch_however_many_steps_it_has(
    name: str, augment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Adam counts its steps in tensors that lie on the host; that is not ours, and a GPU does not wait for it.
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: None)
    recipe = dataclasses.replace(RECIPES[name], batch=8)
    task = training.LabeledTask(
        probe=probe_of(subject()), positions=torch.arange(40), length=40, augmented=augment and name != "mlp"
    )
    with torch.random.fork_rng(devices=[]):
        head = networks.build_head(name, SMALL, 3)
        with Reads() as reads:
            _, steps = training.train_head(head, task, recipe, 3, torch.Generator().manual_seed(0))
    assert steps == 15
    # One for the loss of each epoch, one for the seed of crops and flips.
    assert reads.count == 3 + task.augmented


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: nothing waits for one here")
@pytest.mark.parametrize("name", TRAINED)
def test_a_gpu_is_waited_for_as_often_whether_an_epoch_is_short_or_long(name: str) -> None:
    device = torch.device("cuda")
    waits = []
    for length in (16, 128):
        probe = probe_of(subject())
        images, labels = probe.train.images.to(device), probe.train.labels.to(device)
        probe.source.images["train"] = images
        probe = dataclasses.replace(
            probe, train=dataclasses.replace(probe.train, images=images, labels=labels), device=device
        )
        task = training.LabeledTask(probe=probe, positions=torch.arange(40), length=length, augmented=name != "mlp")
        head = networks.build_head(name, SMALL, 3).to(device)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                recipe = dataclasses.replace(RECIPES[name], batch=8)
                training.train_head(head, task, recipe, 2, torch.Generator().manual_seed(0))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        waits.append(sum("synchroniz" in str(warning.message) for warning in caught))
    assert waits[0] == waits[1] > 0


# --- what must not be touched -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TRAINED, "svm"])
def test_permuted_test_labels_leave_predictions_alone(name: str) -> None:
    on = subject()
    params: dict[str, Any] = {} if name == "svm" else {"epochs": 1}
    flipped = LabeledImages(images=on.test.images, labels=on.test.labels.flip(0))
    once, again = scored(name, on, **params), scored(name, dataclasses.replace(on, test=flipped), **params)
    assert np.array_equal(once.predictions[name], again.predictions[name])


def test_a_head_sees_test_only_after_its_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    class Spy(nn.Sequential):
        steps = 0
        asked: list[int] = []  # noqa: RUF012  # one spy, one list

        def forward(self, features: Tensor) -> Tensor:
            Spy.steps += self.training
            if not self.training:
                Spy.asked.append(Spy.steps)
            logits: Tensor = super().forward(features)  # type: ignore[no-untyped-call]  # torch leaves it so
            return logits

    monkeypatch.setattr(scoring, "build_head", lambda *_: Spy(nn.Flatten(), nn.Linear(16, 3)))
    scored("fc1", subject(), epochs=5, augment=False)
    assert (Spy.steps, Spy.asked) == (5, [5])


def test_the_last_epoch_is_scored_though_the_one_before_was_better(monkeypatch: pytest.MonkeyPatch) -> None:
    good = scored("fc1", subject(), epochs=12, augment=False)
    assert good.measurements[0].value == 1.0
    uphill = dataclasses.replace(RECIPES["fc1"], rates=((12, 0.1), (13, -1e5)), published_epochs=13)
    monkeypatch.setitem(RECIPES, "fc1", uphill)
    assert scored("fc1", subject(), epochs=13, augment=False).measurements[0].value < 0.2


@pytest.mark.parametrize("name", [*TRAINED, "svm"])
def test_no_global_generator_moves_and_none_is_read(name: str) -> None:
    params: dict[str, Any] = {} if name == "svm" else {"epochs": 1}
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]  # a tuple
    once = scored(name, subject(), **params)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numbers  # type: ignore[index]  # a tuple
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        again = scored(name, subject(), **params)
    assert once.details == again.details


def test_the_encoder_gets_no_gradient() -> None:
    on = probe_subject()
    scored("conv", on, epochs=1)
    encoder = on.source.encoder  # type: ignore[attr-defined]  # the harness's own
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_features_that_are_not_finite_end_in_a_sentence() -> None:
    on = subject()

    def nothing(images: Tensor, tap: str) -> Tensor:
        return torch.full((len(images), 4, 2, 2), torch.nan)

    on.source.encode = nothing  # type: ignore[method-assign]  # a fake
    with pytest.raises(benchmark.TrainingError, match="its loss is nan in epoch 0 of 2"):
        scored("fc2", on, epochs=2, augment=False)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (LabelParams, {"per_class": 0}),
        (LabelParams, {"draws": 0}),
        (HeadParams, {"epochs": 0}),
        (AetHeadParams, {"epochs": -1}),
        (RotNetHeadParams, {"per_class": -2}),
        (SvmParams, {"c": 0.0}),
        (SvmParams, {"c": float("nan")}),
        (SvmParams, {"iterations": 0}),
    ],
)
def test_numbers_that_make_no_sense_are_refused(kind: type, given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(ValueError, match=f"{name}=.* cannot be"):
        kind(**given)


@pytest.mark.parametrize("name", ["fc2", "mlp"])
def test_the_best_epoch_is_given_beside_the_last_which_stays_what_it_was(name: str) -> None:
    plain = scored(name, subject(), epochs=4)
    found = scored(name, subject(), epochs=4, best=True)
    accuracy, best = found.measurements
    assert accuracy.value == plain.measurements[0].value
    assert np.array_equal(found.predictions[name], plain.predictions[name])
    (by_epoch,) = found.details["epoch_accuracies"]  # type: ignore[misc]  # a list of one draw
    assert len(by_epoch) == 4
    assert by_epoch[-1] == accuracy.value
    assert (best.metric, best.value, best.outcomes) == ("best_epoch_accuracy", max(by_epoch), None)
    assert [measurement.metric for measurement in plain.measurements] == ["accuracy"]


def test_the_best_epoch_of_several_draws_is_the_mean_of_each_draws_best() -> None:
    found = scored("mlp", subject(), epochs=3, draws=2, best=True)
    first, second = found.details["epoch_accuracies"]  # type: ignore[misc]  # two draws
    assert found.measurements[1].value == pytest.approx((max(first) + max(second)) / 2)
