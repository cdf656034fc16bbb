"""What --device means, on machines with and without GPUs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmark.errors import UsageError
from benchmark.execution import devices
from benchmark.execution.devices import cores, expected_devices, resolve_devices


@pytest.mark.parametrize(
    ("text", "gpus", "names"),
    [
        ("cpu", 0, ("cpu",)),
        ("cpu", 2, ("cpu",)),
        ("auto", 0, ("cpu",)),
        ("auto", 2, ("cuda:0", "cuda:1")),
        ("cuda", 2, ("cuda:0", "cuda:1")),
        ("cuda:1", 2, ("cuda:1",)),
        ("cuda:1,0", 2, ("cuda:1", "cuda:0")),
        ("cuda:0, 1", 2, ("cuda:0", "cuda:1")),
    ],
)
def test_a_word_means_these_devices(
    text: str, gpus: int, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_gpus", lambda: gpus)
    assert resolve_devices(text) == names


@pytest.mark.parametrize(
    ("text", "gpus", "message"),
    [
        ("gpu", 1, "there is auto, cpu, cuda and cuda:0,1"),
        ("", 1, "there is auto, cpu, cuda"),
        ("mps", 1, "there is auto, cpu, cuda"),
        ("cuda", 0, "torch sees no GPU here; use --device cpu"),
        ("cuda:0", 0, "there is no GPU '0'; torch sees no GPU. Use --device auto"),
        ("cuda:0,2", 2, "there is no GPU '2'; torch sees GPUs 0 to 1"),
        ("cuda:", 2, "there is no GPU ''"),
        ("cuda:-1", 2, "there is no GPU '-1'"),
        ("cuda:²", 3, "there is no GPU '²'"),
    ],
)
def test_a_device_that_is_not_there_is_told_with_what_is(
    text: str, gpus: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_gpus", lambda: gpus)
    with pytest.raises(UsageError, match=message):
        resolve_devices(text)


def test_the_cpu_is_named_without_looking_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> int:
        raise AssertionError("torch was asked")

    monkeypatch.setattr(devices, "_gpus", look)
    assert resolve_devices("cpu") == ("cpu",)


def test_there_is_at_least_one_core_and_no_more_than_the_machine_has() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("text", "driven", "names"),
    [
        ("cpu", 2, ("cpu",)),
        ("auto", 0, ("cpu",)),
        ("auto", 2, ("cuda:0", "cuda:1")),
        ("cuda", 1, ("cuda:0",)),
        ("cuda:1, 3", 0, ("cuda:1", "cuda:3")),
    ],
)
def test_a_plan_names_the_devices_that_a_run_will_have_without_asking_torch(
    monkeypatch: pytest.MonkeyPatch, text: str, driven: int, names: tuple[str, ...]
) -> None:
    monkeypatch.setattr(devices, "_gpus", lambda: pytest.fail("it has asked torch"))
    monkeypatch.setattr(devices, "_driven", lambda: driven)
    assert expected_devices(text) == names


@pytest.mark.parametrize(("visible", "count"), [(None, 2), ("", 0), ("1", 1), ("0,1,2", 2)])
def test_gpus_that_are_hidden_do_not_count(monkeypatch: pytest.MonkeyPatch, visible: str | None, count: int) -> None:
    paths = [Path("/dev/nvidia0"), Path("/dev/nvidia1"), Path("/dev/nvidia0-caps")]
    monkeypatch.setattr(devices.Path, "glob", lambda self, pattern: iter(paths))
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices._driven() == count
