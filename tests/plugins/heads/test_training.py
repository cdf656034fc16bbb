"""Learning rates, batches and features of a head's training: `bench_heads.recipes`, `bench_heads.training`."""

from __future__ import annotations

import dataclasses
import warnings

import pytest
import torch
from head_samples import CPU, SMALL, SPECS, TRAINED, Pixels, evaluate_head, probe_of, subject
from host_reads import Watcher
from torch import nn

import benchmark
from bench_heads import networks, training
from bench_heads.recipes import RECIPES


@pytest.mark.parametrize(
    ("name", "epochs", "table"),
    [
        ("fc1", 200, {0: 0.1, 99: 0.1, 100: 0.01, 149: 0.01, 150: 0.001, 199: 0.001}),
        ("fc3", 100, {0: 0.1, 19: 0.1, 20: 0.02, 39: 0.02, 40: 0.004, 44: 0.004, 45: 0.0008, 99: 0.0008}),
        ("conv", 100, {0: 0.1, 34: 0.1, 35: 0.02, 69: 0.02, 70: 0.004, 84: 0.004, 85: 0.0008, 99: 0.0008}),
        ("mlp", 1000, {0: 1e-4, 49: 1e-4, 50: 1e-5, 99: 1e-5, 100: 1e-6, 999: 1e-6}),
    ],
)
def test_rates_are_published_rates(name: str, epochs: int, table: dict[int, float]) -> None:
    assert SPECS[name].params().epochs == epochs
    assert {epoch: RECIPES[name].rate(epoch, epochs) for epoch in table} == table


def test_rates_scale_with_the_number_of_epochs() -> None:
    twenty = [RECIPES["fc3"].rate(epoch, 20) for epoch in range(20)]
    assert twenty == [0.1] * 4 + [0.02] * 4 + [0.004] + [0.0008] * 11
    assert [RECIPES["fc2"].rate(epoch, 4) for epoch in range(4)] == [0.1, 0.1, 0.01, 0.001]
    assert RECIPES["conv"].rate(0, 1) == 0.1


def test_rates_of_mlp_do_not_scale() -> None:
    assert [RECIPES["mlp"].rate(epoch, 150) for epoch in (49, 50, 100, 149)] == [1e-4, 1e-5, 1e-6, 1e-6]


@pytest.mark.parametrize(("name", "kind"), [("fc1", torch.optim.SGD), ("mlp", torch.optim.Adam)])
def test_optimizer_is_the_published_one(name: str, kind: type) -> None:
    optimizer = training.build_optimizer(nn.Linear(2, 2), RECIPES[name])
    assert type(optimizer) is kind
    expected: dict[str, object] = {"lr": 1e-4, "betas": (0.5, 0.999), "weight_decay": 0}
    if name == "fc1":
        expected = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    assert {key: optimizer.defaults[key] for key in expected} == expected


def test_optimizer_uses_the_rate_of_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def step(self: torch.optim.SGD, *_: object) -> None:
        seen.append(self.param_groups[0]["lr"])

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    evaluate_head("fc1", subject(), epochs=4, augment=False)
    assert seen == [0.1, 0.1, 0.01, 0.001]


def test_epoch_has_every_image_equally_often() -> None:
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
def test_batch_that_is_too_small_is_left_out(name: str, length: int, sizes: list[int]) -> None:
    evaluation = training.batches(length, length, RECIPES[name], torch.Generator().manual_seed(0), CPU)
    assert [len(index) for index in evaluation] == sizes


def test_epoch_with_few_labels_is_as_long_as_one_of_all_images_up_to_50000() -> None:
    assert training.epoch_length(1000, 1000, None) == 1000
    assert training.epoch_length(1000, 40, 10) == 1000
    assert training.epoch_length(1_000_000, 200, 20) == 50_000
    assert training.epoch_length(1_000_000, 80_000, 8_000) == 80_000


def test_augmentation_encodes_new_views_of_train_only() -> None:
    data = subject(benchmark.Tap(name="map", kind="map", shape=(4, 8, 8)))
    evaluate_head("fc1", data, epochs=3)
    assert isinstance(data.source, Pixels)
    assert [len(images) for images in data.source.encoded] == [40, 40, 40, 20]
    sums = [images.sum(dim=(1, 2, 3)).sort().values for images in data.source.encoded[:3]]
    assert not torch.equal(sums[0], sums[1])
    assert torch.equal(data.source.encoded[-1], data.test.images.float() / 255)


@pytest.mark.parametrize("name", ["fc1", "fc2", "fc3", "conv", "mlp"])
def test_heads_use_the_whole_map(name: str) -> None:
    assert SPECS[name].pools == ("none",)


def test_svm_uses_a_flattened_map_by_default() -> None:
    assert SPECS["svm"].pools == ("flat", "average")


def test_train_is_encoded_once_without_augmentation() -> None:
    data = subject()
    evaluate_head("fc1", data, epochs=3, augment=False)
    assert isinstance(data.source, Pixels)
    assert [len(images) for images in data.source.encoded] == [40, 20]


def test_features_that_are_not_kept_give_the_same_head(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = evaluate_head("fc2", subject(), epochs=3, augment=False)
    monkeypatch.setattr(training, "MAX_FEATURE_BYTES", 0)
    data = subject()
    repeated = evaluate_head("fc2", data, epochs=3, augment=False)
    assert isinstance(data.source, Pixels)
    assert [len(images) for images in data.source.encoded] == [40, 40, 40, 20]
    assert kept.details == repeated.details


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("name", TRAINED)
def test_training_reads_one_number_per_epoch_from_the_device(
    name: str, augment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Adam counts its steps in host tensors, for which a GPU does not wait.
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: None)
    recipe = dataclasses.replace(RECIPES[name], batch=8)
    task = training.LabeledTask(
        probe=probe_of(subject()), positions=torch.arange(40), length=40, augmented=augment and name != "mlp"
    )
    with torch.random.fork_rng(devices=[]):
        head = networks.build_head(name, SMALL, 3)
        with Watcher() as watcher:
            _, steps = training.train_head(head, task, recipe, 3, torch.Generator().manual_seed(0))
    assert steps == 15
    # One for the loss of each epoch, one for the seed of crops and flips.
    assert len(watcher.reads) == 3 + task.augmented


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", TRAINED)
def test_training_synchronizes_the_gpu_independently_of_epoch_length(name: str) -> None:
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
