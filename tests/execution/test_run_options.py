"""Run options resolved on a machine: slots, memory, checkpoints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.api.catalog import load_catalog
from benchmark.execution.devices import cores
from benchmark.execution.run_options import RunConfig, RunOptions, resolve


def resolved(**changes: Any) -> RunConfig:
    return resolve(RunOptions(out=Path("runs"), data_dir=Path("data"), **{"device": "cpu", **changes}), load_catalog())


def test_each_core_takes_a_cell_and_no_cell_times_out_by_default() -> None:
    config = resolved()
    assert (config.slots, config.timeout, config.checkpoint_seconds, config.checkpoint_epochs) == (
        cores(),
        None,
        60.0,
        None,
    )
    assert resolved(threads=cores()).slots == 1


def test_numbers_replace_the_defaults() -> None:
    config = resolved(per_device="3", timeout=90.0, checkpoint_minutes=0.5, checkpoint_epochs=7)
    assert (config.slots, config.timeout, config.checkpoint_seconds, config.checkpoint_epochs) == (3, 90.0, 30.0, 7)


def test_cells_on_the_host_share_nine_tenths_of_its_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.training.memory.free_memory", lambda device: 1000)
    assert dict(resolved().memory) == {"cpu": 900}


def test_gpu_takes_one_cell_and_nine_tenths_of_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr(
        "torch.cuda.get_device_properties", lambda name: SimpleNamespace(total_memory=2000 + 1000 * int(name[-1]))
    )
    both, second = resolved(device="cuda"), resolved(device="cuda:1", per_device="2")
    assert (both.devices, both.slots, dict(both.memory)) == (("cuda:0", "cuda:1"), 1, {"cuda:0": 1800, "cuda:1": 2700})
    assert (second.devices, second.slots, dict(second.memory)) == (("cuda:1",), 2, {"cuda:1": 2700})
