"""Lists the files that a command opens."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_LISTS: list[list[Path]] = []
"""Lists to which each opened file is added."""


@contextlib.contextmanager
def opened_files() -> Iterator[list[Path]]:
    """The files that are opened in the block, in order, by any function of Python."""
    _install()
    opened: list[Path] = []
    _LISTS.append(opened)
    try:
        yield opened
    finally:
        _LISTS.remove(opened)


@functools.cache
def _install() -> None:
    """An audit hook cannot be removed."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and _LISTS and isinstance(arguments[0], str | bytes | os.PathLike):
            for opened in _LISTS:
                opened.append(Path(os.fsdecode(arguments[0])))

    sys.addaudithook(hook)
