"""Delay Ctrl-C, SIGTERM and SIGHUP while a process starts, so that no process is started without its parent knowing it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any


@contextlib.contextmanager
def interrupts_delayed() -> Iterator[None]:
    """Delivers Ctrl-C, SIGTERM and SIGHUP after the block.

    They are remembered, not ignored: starting the fork server takes seconds. Ctrl-C is blocked too where possible, because
    the fork server inherits that, and a terminal sends Ctrl-C to the server as well. SIGTERM must not be blocked: it is how
    cells are asked to stop.
    """
    received: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)

    handlers: dict[int, Any] = {}
    try:
        for number in _numbers():
            handlers[number] = signal.signal(number, remember)
    except ValueError:  # not the main thread, which alone may set handlers
        yield
        return
    can_block = hasattr(signal, "pthread_sigmask")
    resource_tracker.ensure_running()  # Python 3.11 unblocks Ctrl-C when it starts this process
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if can_block else set()
    try:
        yield
    finally:
        if can_block:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for each, handler in handlers.items():
            signal.signal(each, handler)
        if received:  # also if the start failed
            _deliver(received[0], handlers[received[0]])


def _numbers() -> Iterator[signal.Signals]:
    """The signals to delay; nohup ignores SIGHUP, and it stays ignored."""
    yield from (signal.SIGINT, signal.SIGTERM)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        yield signal.SIGHUP


def _deliver(number: int, handler: Any) -> None:
    if callable(handler):
        handler(number, None)
    elif handler == signal.SIG_DFL:
        signal.raise_signal(number)
