"""Options of a run resolved to its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark.api.catalog import Catalog, load_catalog
from benchmark.errors import UsageError
from benchmark.execution.devices import cores
from benchmark.execution.run_options import RunOptions, resolve, slots_per_device


@pytest.fixture
def catalog() -> Catalog:
    return load_catalog("executors")


def options(**changes: Any) -> RunOptions:
    return RunOptions(**{"out": Path("runs"), "data_dir": Path("data"), "device": "cpu", **changes})


def test_resolve_binds_the_executors_parameters_and_converts_minutes(catalog: Catalog) -> None:
    config = resolve(options(executor="local[patience=2]", checkpoint_minutes=0.5, per_device="3"), catalog)
    assert (config.executor.name, config.executor.params) == ("local", {"patience": 2.0, "grace": 10.0})
    assert (config.devices, config.slots, config.checkpoint_seconds) == (("cpu",), 3, 30.0)
    assert config.memory["cpu"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"executor": "local,inline"}, "name exactly one executor"),
        ({"executor": "loca"}, "no executor called 'loca'.*did you mean 'local'"),
        ({"executor": "local[patience=-1]"}, "patience=-1.0 is not possible"),
        ({"per_device": "0"}, "--per-device 0: write the number of cells at once"),
        ({"per_device": "1025"}, "--per-device 1025: .* 1 to 1024"),
        ({"per_device": "9" * 5000}, "--per-device 9+ "),
        ({"per_device": "many"}, "--per-device many"),
    ],
)
def test_resolve_rejects_impossible_values(catalog: Catalog, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(options(**changes), catalog)


def test_slots_are_cores_over_threads_on_the_cpu_and_one_on_a_gpu() -> None:
    assert slots_per_device(options(threads=1), ("cpu",)) == cores()
    assert slots_per_device(options(threads=10**6), ("cpu",)) == 1
    assert slots_per_device(options(), ("cuda:0", "cuda:1")) == 1
    assert slots_per_device(options(per_device=" 4 "), ("cuda:0",)) == 4
