"""What happens to a cell on a Ray node: unpacked into a folder of its own, carried out, packed again; events go home.

Nothing here imports Ray or torch at the top: `on_ray` makes tasks and an actor of what is here.
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
"""How long a finished cell waits for its last events to arrive; they are worth no more."""


class Mailbox:
    """Where cells leave their events until the head fetches them: an actor beside the head."""

    def __init__(self) -> None:
        self._letters: list[tuple[str, str]] = []

    def put(self, sender: str, letter: str) -> None:
        """Leaves one letter."""
        self._letters.append((sender, letter))

    def take(self) -> list[tuple[str, str]]:
        """All letters since the last time, with their senders."""
        letters, self._letters = self._letters, []
        return letters


def carry_out(text: str, device: str, here: str, parcel: bytes, sender: str, mailbox: Any) -> tuple[str, bytes]:
    """A Ray task: one cell.

    Args:
        text: the job, JSON of `benchmark.jobs`.
        device: `cpu` or `cuda:0`: Ray shows a task its own GPU alone.
        here: the head's working directory: what relative paths start from, where a node has it too.
        parcel: what the head has of the cell's folder.
        sender: name of this try, for its events.
        mailbox: handle of the actor that takes them.

    Returns:
        The outcome as JSON, and the cell's folder as it is now. A cell that was told to stop says `interrupted`.
    """
    from benchmark.executors import StopRequest, run_cell

    post, stop = _Post(mailbox, sender), StopRequest()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="repbench-") as out, _working_directory(here):
        job = dataclasses.replace(from_json(text), out_dir=out, left_token="")
        folder = Path(out) / job.folder
        unpack(parcel, folder)
        try:
            with _asked_by_ray(stop.ask):
                outcome = run_cell(job, device=device, reporter=post, stop=stop)
        except KeyboardInterrupt:
            seconds = time.monotonic() - start
            outcome = benchmark.Outcome(cell_id=job.cell.id, folder=job.folder, state="interrupted", seconds=seconds)
        post.wait()
        return outcome_to_json(outcome), pack(folder)


class _Post:
    """A reporter that sends events to the mailbox. Whatever happens to that, the cell goes on."""

    def __init__(self, mailbox: Any, sender: str) -> None:
        self._mailbox, self._sender = mailbox, sender
        self._last: Any = None

    def __call__(self, event: Event) -> None:
        with contextlib.suppress(Exception):  # an actor that is gone, a network that is down
            self._last = self._mailbox.put.remote(self._sender, json.dumps(dataclasses.asdict(event)))

    def wait(self) -> None:
        """Until the last event has arrived, or too long."""
        import ray

        if self._last is not None:
            with contextlib.suppress(Exception):
                ray.get(self._last, timeout=DELIVERY_SECONDS)


@contextlib.contextmanager
def _asked_by_ray(ask: Callable[[], None]) -> Iterator[None]:
    """Within it, Ray's wish to cancel (a Python interrupt) lets the cell write down where it is."""

    def hear(number: int, frame: FrameType | None) -> None:
        ask()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _working_directory(folder: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.chdir(folder) if Path(folder).is_dir() else contextlib.nullcontext()
