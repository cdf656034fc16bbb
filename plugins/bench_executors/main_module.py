"""Start processes that do not import the user's script again."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator


@contextlib.contextmanager
def without_main_module() -> Iterator[None]:
    """Hides `__main__` while a process starts.

    multiprocessing imports the parent's main module in every process that is not forked, so that functions of a script
    can be sent to it. A cell's process needs none of them, and a script that calls `benchmark.run` without
    `if __name__ == "__main__"` would run again there.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
