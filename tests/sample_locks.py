"""Locks on cells that can be acquired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.records.locks import CellLock, LockInfo, acquire, read_lock


def taken(folder: Path, **options: Any) -> CellLock:
    """A lock on a cell that can be acquired."""
    lock = acquire(folder, "mean / tiny / stripes / seed 0", "cpu", **options)
    assert lock is not None
    return lock


def lock_of(folder: Path) -> LockInfo:
    """The lock in a cell folder."""
    info = read_lock(folder)
    assert info is not None
    return info
