"""Peak memory: `benchmark.speed.memory`."""

from __future__ import annotations

import mmap

import pytest
from speed_samples import CPU

from benchmark.speed.memory import peak_memory, resident_bytes

MEGABYTE = 2**20


def allocate(size: int) -> mmap.mmap:
    """Memory mapped from the system and written to, because an allocator may reuse memory."""
    actual = mmap.mmap(-1, size)
    actual.write(b"1" * size)
    return actual


@pytest.mark.skipif(resident_bytes() == 0, reason="needs /proc")
def test_peak_memory_includes_only_memory_of_the_block() -> None:
    before = allocate(64 * MEGABYTE)
    with peak_memory(CPU) as nothing:
        pass
    with peak_memory(CPU) as peak:
        allocate(64 * MEGABYTE).close()
        held = allocate(64 * MEGABYTE)
    assert nothing.bytes < 16 * MEGABYTE
    assert 60 * MEGABYTE < peak.bytes < 200 * MEGABYTE
    before.close()
    held.close()


@pytest.mark.skipif(resident_bytes() == 0, reason="needs /proc")
def test_peak_memory_is_measured_if_the_block_fails() -> None:
    actual, held = [], []

    def fail() -> None:
        with peak_memory(CPU) as peak:
            actual.append(peak)
            held.append(allocate(64 * MEGABYTE))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert actual[0].bytes > 60 * MEGABYTE
    held[0].close()
