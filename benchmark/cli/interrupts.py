"""SIGTERM, which schedulers send, and SIGHUP, which a closed terminal sends, interrupt a command like Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

NAMES = ("SIGTERM", "SIGHUP")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Inside the block, SIGTERM and SIGHUP raise KeyboardInterrupt: running cells write a checkpoint.

    SIGHUP stays ignored if it is, as under nohup. A terminal that closes sends it several times, so only the first one
    counts; a second SIGTERM or Ctrl-C ends the cells at once.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        if "SIGHUP" in previous:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        raise KeyboardInterrupt

    previous: dict[str, Any] = {}
    for name in NAMES:
        number = getattr(signal, name, None)
        if number is None or signal.getsignal(number) == signal.SIG_IGN:
            continue
        with contextlib.suppress(ValueError):  # only the main thread receives signals
            previous[name] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for name, handler in previous.items():
            signal.signal(getattr(signal, name), handler)
