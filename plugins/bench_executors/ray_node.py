"""What a Ray node does for a cell: unpack its folder, run it, pack the folder again; its events go to a mailbox.

Importing this module imports neither Ray nor torch. `ray_executor` creates a task and an actor from it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import benchmark
from benchmark.executors import from_json, outcome_to_json, pack, unpack
from benchmark.progress import Event

DELIVERY_SECONDS = 5.0
"""How long a finished cell waits until its last events have arrived."""


class Mailbox:
    """Holds the events of cells until the head fetches them: an actor on the head's machine."""

    def __init__(self) -> None:
        self._messages: list[tuple[str, str]] = []

    def put(self, sender: str, message: str) -> None:
        """Adds a message."""
        self._messages.append((sender, message))

    def take(self) -> list[tuple[str, str]]:
        """All messages since the last call, with their senders."""
        messages, self._messages = self._messages, []
        return messages


def run_on_node(
    text: str, device: str, working_directory: str, packed: bytes, sender: str, mailbox: Any
) -> tuple[str, bytes]:
    """A Ray task: one cell.

    Args:
        text: the job as JSON.
        device: `cpu` or `cuda:0`, since Ray shows a task only its own GPU.
        working_directory: that of the head. Relative paths start there if it also exists on the node.
        packed: the cell's folder on the head, packed.
        sender: name of this try, for its events.
        mailbox: handle of the actor that takes events.

    Returns:
        The outcome as JSON, and the cell's folder, packed. The state is `interrupted` if the cell was asked to stop.
    """
    from benchmark.executors import StopRequest, run_cell

    report, stop = _MailboxReporter(mailbox, sender), StopRequest()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="repbench-") as out, _working_in(working_directory):
        job = dataclasses.replace(from_json(text), out_dir=out, abandoned_token="")
        folder = Path(out) / job.folder
        unpack(packed, folder)
        try:
            with _cancellation_stops(stop.request):
                outcome = run_cell(job, device=device, reporter=report, stop=stop)
        except KeyboardInterrupt:
            seconds = time.monotonic() - started
            outcome = benchmark.Outcome(cell_id=job.cell.id, folder=job.folder, state="interrupted", seconds=seconds)
        report.wait()
        return outcome_to_json(outcome), pack(folder)


class _MailboxReporter:
    """Sends events to the mailbox. If that fails, the cell continues."""

    def __init__(self, mailbox: Any, sender: str) -> None:
        self._mailbox, self._sender = mailbox, sender
        self._last: Any = None

    def __call__(self, event: Event) -> None:
        with contextlib.suppress(Exception):  # the actor may have died, or the network may be down
            self._last = self._mailbox.put.remote(self._sender, json.dumps(dataclasses.asdict(event)))

    def wait(self) -> None:
        """Waits until the last event has arrived, at most `DELIVERY_SECONDS`."""
        import ray

        if self._last is not None:
            with contextlib.suppress(Exception):
                ray.get(self._last, timeout=DELIVERY_SECONDS)


@contextlib.contextmanager
def _cancellation_stops(ask: Callable[[], None]) -> Iterator[None]:
    """Inside the block, Ray's cancellation (SIGINT) asks the cell to write a checkpoint and stop."""

    def stop(number: int, frame: FrameType | None) -> None:
        ask()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    original = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, original)


def _working_in(folder: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.chdir(folder) if Path(folder).is_dir() else contextlib.nullcontext()
