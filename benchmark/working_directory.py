"""The working directory of this process, which a plugin may change and anybody may delete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


def working_directory() -> str | None:
    """The working directory; None if it was deleted."""
    try:
        return os.getcwd()  # noqa: PTH109  # the same without a Path
    except OSError:
        return None


@contextlib.contextmanager
def working_directory_kept() -> Iterator[None]:
    """A plugin that changes the working directory inside the block changes it for the block only."""
    before = working_directory()
    try:
        yield
    finally:
        if before is not None:
            with contextlib.suppress(OSError):
                os.chdir(before)
