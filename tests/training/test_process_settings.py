"""Process-wide settings: the allocator and the GPU's kernels during training, and their state afterwards."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainings import train_small

from benchmark.training import process_settings
from benchmark.training.process_settings import glibc, keep_freed_memory, training_kernels

CPU = torch.device("cpu")
GPU = torch.device("cuda", 0)
"""A name only: nothing is computed there."""
GLIBC = pytest.mark.skipif(glibc() is None, reason="the C library is not glibc")

# --- the allocator ----------------------------------------------------------------------------------------------------


class RecordedLibrary:
    """A C library that records its calls."""

    def __init__(self, result: int = 1) -> None:
        self.result = result
        self.calls: list[tuple[Any, ...]] = []

    def mallopt(self, *option: int) -> int:
        self.calls.append(option)
        return self.result

    def malloc_trim(self, pad: int) -> int:
        self.calls.append(("trim", pad))
        return 1


@pytest.mark.parametrize("fails", [False, True])
def test_free_memory_is_returned_at_the_end_even_after_an_error(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    libc = RecordedLibrary()
    monkeypatch.setattr(process_settings, "glibc", lambda: libc)

    with pytest.raises(ZeroDivisionError) if fails else contextlib.nullcontext(), keep_freed_memory() as kept:
        assert kept
        assert ("trim", 0) not in libc.calls
        if fails:
            raise ZeroDivisionError
    m_mmap_max, m_mmap_threshold, m_top_pad, m_trim_threshold = -4, -3, -2, -1  # malloc.h
    assert libc.calls[0] == (m_mmap_max, 0)
    most = 32 * 2**20  # the largest dynamic threshold; glibc trims at twice that
    restored = {(m_mmap_max, 65536), (m_mmap_threshold, most), (m_trim_threshold, 2 * most), (m_top_pad, 128 * 1024)}
    assert set(libc.calls[-5:-1]) == restored
    assert libc.calls[-1] == ("trim", 0)


@pytest.mark.parametrize("libc", [RecordedLibrary(result=0), None], ids=["refused", "no glibc"])
def test_memory_is_not_reported_as_kept_if_the_allocator_refuses(monkeypatch: pytest.MonkeyPatch, libc: Any) -> None:
    monkeypatch.setattr(process_settings, "glibc", lambda: libc)
    with keep_freed_memory() as kept:
        assert kept is False
    assert train_small(steps=1).acceleration["memory"] == "default of the allocator"


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_have_no_glibc(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert glibc() is None


def test_other_c_libraries_on_linux_are_not_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert glibc() is None


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@GLIBC
def test_freed_memory_stays_in_the_process_until_the_end() -> None:
    size = 2**28
    with keep_freed_memory() as kept:
        assert kept
        before = resident_bytes()
        torch.ones(size, dtype=torch.uint8)  # allocated and freed
        assert resident_bytes() - before > size // 2
    assert resident_bytes() - before < size // 4


MALLOC = """
import ctypes
from benchmark.training.process_settings import keep_freed_memory

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype, libc.malloc.restype = Info, ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]

def mapped(size):
    before = libc.mallinfo2().hblks
    block = libc.malloc(size)
    blocks = libc.mallinfo2().hblks - before
    libc.free(block)
    return blocks

{before}
print(mapped(30 * 2**20), mapped(30 * 2**20))
"""


@GLIBC
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="this glibc has no mallinfo2")
@pytest.mark.parametrize(
    ("before", "mapped"),
    [("pass", ["1", "0"]), ("with keep_freed_memory(): pass", ["0", "0"])],
    ids=["never entered", "entered and left"],
)
def test_allocator_keeps_large_blocks_afterwards(before: str, mapped: list[str]) -> None:
    """By default glibc maps the first large block and keeps later ones of that size; afterwards it keeps the first too."""
    script = MALLOC.format(before=before)
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert result.stdout.split() == mapped


# --- kernels ----------------------------------------------------------------------------------------------------------


def kernel_flags() -> tuple[Any, ...]:
    cudnn = torch.backends.cudnn
    return torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark


@pytest.fixture
def other_flags() -> Iterator[tuple[Any, ...]]:
    """None of the flags has the value for training; all are restored at the end."""
    before = kernel_flags()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = False, False
    yield kernel_flags()
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[1:]


def test_kernel_flags_are_set_inside_and_restored_outside(other_flags: tuple[Any, ...]) -> None:
    with training_kernels(GPU):
        assert kernel_flags() == ("high", True, True)
    assert kernel_flags() == other_flags


def test_kernel_flags_are_restored_after_an_error(other_flags: tuple[Any, ...]) -> None:
    def fail() -> None:
        with training_kernels(GPU):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert kernel_flags() == other_flags


def test_kernel_flags_do_not_change_on_a_cpu(other_flags: tuple[Any, ...]) -> None:
    with training_kernels(CPU):
        assert kernel_flags() == other_flags
    train_small(steps=1)
    assert kernel_flags() == other_flags
