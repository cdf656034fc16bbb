"""Free memory of a device, and which datasets fit into it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmark.training import memory
from benchmark.training.memory import NO_LIMIT, RESIDENT_SHARE, fits_in_memory, free_memory

CPU = torch.device("cpu")


def test_dataset_fits_if_it_takes_at_most_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 1000)
    assert RESIDENT_SHARE == 0.5
    assert [fits_in_memory(size, CPU) for size in (0, 500, 501, 10**12)] == [True, True, False, False]


def test_free_memory_of_the_host_is_at_most_its_total() -> None:
    path = Path("/proc/meminfo")
    if not path.exists():
        assert free_memory(CPU) == NO_LIMIT
        return
    lines = dict(line.split(":") for line in path.read_text().splitlines())
    total = int(lines["MemTotal"].split()[0]) * 1024
    assert 0 < free_memory(CPU) <= total
    assert free_memory(CPU) % 1024 == 0


@pytest.mark.parametrize(
    "text",
    [None, "MemAvailable: lots\n", "MemTotal: 12 kB\n", ""],
    ids=["no file", "no number", "no such line", "empty"],
)
def test_free_memory_has_no_limit_if_the_system_does_not_report_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "meminfo").write_text(text)
    monkeypatch.setattr(memory, "Path", lambda path: tmp_path / "meminfo")
    assert free_memory(CPU) == NO_LIMIT


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
def test_free_memory_of_a_gpu_is_at_most_its_total() -> None:
    device = torch.device("cuda:0")
    assert 0 < free_memory(device) <= torch.cuda.get_device_properties(device).total_memory
