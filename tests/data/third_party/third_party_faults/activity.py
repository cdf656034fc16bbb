"""A log of what cells do, in a file that all processes append to: `<word> <cell> <process id>` in each line.

A method does not know its cell, so the cell is named by the method and the seed of its generator: `steady/8273`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


def note(word: str, cell: str) -> None:
    """Appends one line, in one write, to the file named by THIRD_PARTY_ACTIVITY; does nothing if it is not set."""
    path = os.environ.get("THIRD_PARTY_ACTIVITY", "")
    if not path:
        return
    handle = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o644)
    try:
        os.write(handle, f"{word} {cell} {os.getpid()}\n".encode())
    finally:
        os.close(handle)


def seconds(name: str) -> float:
    """A duration from the environment; 0 by default."""
    return float(os.environ.get(name, "0"))


def gate() -> Path | None:
    """The file named by THIRD_PARTY_GATE; None if it does not exist."""
    path = os.environ.get("THIRD_PARTY_GATE", "")
    return Path(path) if path and Path(path).exists() else None


def wait_at_the_gate() -> None:
    """Waits until the gate file is deleted."""
    closed = gate()
    while closed is not None and closed.exists():
        time.sleep(0.02)
