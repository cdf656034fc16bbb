"""Keeps the standard streams while code of plugins is imported."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def standard_streams_kept() -> Iterator[None]:
    """Restores standard input, output and error after the block.

    A file that is opened after a plugin has closed one of them would get its number, and would be written by messages.
    """
    streams = sys.stdin, sys.stdout, sys.stderr
    copies = {number: copy for number in range(3) if (copy := _copy_of(number)) is not None}
    try:
        yield
    finally:
        for number, copy in copies.items():
            os.dup2(copy, number)
            os.close(copy)
        sys.stdin, sys.stdout, sys.stderr = streams


def _copy_of(number: int) -> int | None:
    """A copy of a file descriptor; None if it is closed."""
    with contextlib.suppress(OSError):
        return os.dup(number)
    return None
