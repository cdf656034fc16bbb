"""Values of --device on machines with and without GPUs, and the threads of a cell."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch

from benchmark.errors import UsageError
from benchmark.execution.devices import cores, expected_devices, resolve_devices, threads


def set_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A machine on which torch finds so many GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


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
def test_resolve_devices_gives_the_devices_of_the_machine(
    text: str, gpus: int, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_gpus(monkeypatch, gpus)
    assert resolve_devices(text) == names


@pytest.mark.parametrize(
    ("text", "gpus", "message"),
    [
        ("gpu", 1, "write auto, cpu, cuda or cuda:0,1"),
        ("", 1, "write auto, cpu, cuda"),
        ("mps", 1, "write auto, cpu, cuda"),
        ("cuda", 0, "torch finds no GPU on this machine; use --device cpu"),
        ("cuda:0", 0, "no GPU '0'; torch finds no GPU. Use --device auto"),
        ("cuda:0,2", 2, "no GPU '2'; torch finds GPUs 0 to 1"),
        ("cuda:", 2, "no GPU ''"),
        ("cuda:-1", 2, "no GPU '-1'"),
        ("cuda:²", 3, "no GPU '²'"),
    ],
)
def test_resolve_devices_rejects_a_missing_device_and_names_the_available_ones(
    text: str, gpus: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_gpus(monkeypatch, gpus)
    with pytest.raises(UsageError, match=message):
        resolve_devices(text)


def test_resolve_devices_of_cpu_does_not_ask_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("torch was asked"))
    assert resolve_devices("cpu") == ("cpu",)


def test_cores_are_between_one_and_all_of_the_machine() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("text", "driven", "names"),
    [
        ("cpu", 2, ("cpu",)),
        ("auto", 0, ("cpu",)),
        ("auto", 2, ("cuda:0", "cuda:1")),
    ],
)
def test_expected_devices_are_known_without_torch(
    monkeypatch: pytest.MonkeyPatch, text: str, driven: int, names: tuple[str, ...]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("torch was asked"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [Path(f"/dev/nvidia{n}") for n in range(driven)])
    assert expected_devices(text) == names


@pytest.mark.parametrize("text", ["gpu", "cuda", "cuda:9", "cuda:"])
def test_expected_devices_refuse_what_resolve_devices_refuses(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    set_gpus(monkeypatch, 0)
    with pytest.raises(UsageError) as expected:
        resolve_devices(text)
    with pytest.raises(UsageError, match=re.escape(str(expected.value))):
        expected_devices(text)


@pytest.mark.parametrize(
    ("visible", "names"),
    [(None, ("cuda:0", "cuda:1")), ("", ("cpu",)), ("1", ("cuda:0",)), ("0,1,2", ("cuda:0", "cuda:1"))],
)
def test_expected_devices_leave_out_hidden_gpus(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, names: tuple[str, ...]
) -> None:
    paths = [Path("/dev/nvidia0"), Path("/dev/nvidia1"), Path("/dev/nvidia0-caps")]
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(paths))
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert expected_devices("auto") == names


def test_threads_are_set_inside_the_block_and_restored() -> None:
    before = torch.get_num_threads()
    with threads(before + 2):
        assert torch.get_num_threads() == before + 2
    assert torch.get_num_threads() == before
