"""What cells do, line by line, in a file that all processes append to: `<word> <cell> <process id>`.

A cell is named by its method and the seed of its generator, `steady/8273...`, since a method knows no more of itself.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


def note(word: str, cell: str) -> None:
    """Appends a line to the file named by THIRD_PARTY_DIARY, in one piece; without that, nothing."""
    path = os.environ.get("THIRD_PARTY_DIARY", "")
    if not path:
        return
    handle = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o644)
    try:
        os.write(handle, f"{word} {cell} {os.getpid()}\n".encode())
    finally:
        os.close(handle)


def seconds(name: str) -> float:
    """How long something is to take, as the environment has it; 0 by default."""
    return float(os.environ.get(name, "0"))


def gate() -> Path | None:
    """The file named by THIRD_PARTY_GATE, if it is there."""
    named = os.environ.get("THIRD_PARTY_GATE", "")
    return Path(named) if named and Path(named).exists() else None


def wait_at_the_gate() -> None:
    """Goes on once the gate is gone."""
    closed = gate()
    while closed is not None and closed.exists():
        time.sleep(0.02)
