"""One process for each cell, a fixed number of slots on each device: a cell that crashes costs only itself.

Processes come from a fork server that has torch loaded: 0.03 s instead of 3 s for each (measured on two cores). Where
there is none (Windows), they are spawned.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any

import benchmark
from benchmark.progress import Event, Reporter

PRELOADED = ["torch", "faiss", "benchmark.cell"]
GRACE_SECONDS = 10.0
"""How long a cell may take to write its state after it was asked to stop."""


@dataclass(kw_only=True)
class _Running:
    """A cell in its process."""

    job: benchmark.Job
    device: str
    process: Any
    pipe: Connection
    started: float
    outcome: benchmark.Outcome | None = None


class Local:
    """Slots on the devices of this machine.

    Args:
        context: devices, slots on each and threads of each cell. A GPU is pinned by CUDA_VISIBLE_DEVICES inside the
            cell's process, before CUDA starts, through the value that the user had set.
    """

    def __init__(self, context: benchmark.ExecutorContext) -> None:
        self._slots = [device for _ in range(context.slots) for device in context.devices]
        methods = multiprocessing.get_all_start_methods()
        self._processes: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            self._processes.set_forkserver_preload(PRELOADED)

    def run(self, jobs: Sequence[benchmark.Job], reporter: Reporter) -> Iterator[benchmark.Outcome]:
        """Outcomes in the order in which cells end. When the caller stops listening, running cells are stopped."""
        waiting = list(jobs)
        free = list(self._slots)
        running: list[_Running] = []
        try:
            while waiting or running:
                while waiting and free:
                    with _interrupts_held_back():
                        running.append(self._start(waiting.pop(0), free.pop(0)))
                for ended in self._ended(running, reporter):
                    running.remove(ended)
                    free.append(ended.device)
                    yield ended.outcome or _crashed(ended, reporter)
        finally:
            _stop(running)

    def _start(self, job: benchmark.Job, device: str) -> _Running:
        here, there = self._processes.Pipe(duplex=False)
        process = self._processes.Process(target=_carry_out, args=(job, device, there), daemon=True)
        process.start()
        there.close()
        return _Running(job=job, device=device, process=process, pipe=here, started=time.monotonic())

    def _ended(self, running: Sequence[_Running], reporter: Reporter) -> list[_Running]:
        """Waits until something happens, passes events on, and gives the cells whose processes are gone."""
        wait([cell.pipe for cell in running] + [cell.process.sentinel for cell in running])
        ended = []
        for cell in running:
            alive = cell.process.is_alive()
            self._listen(cell, reporter)
            if not alive:
                cell.process.join()
                cell.pipe.close()
                ended.append(cell)
        return ended

    def _listen(self, cell: _Running, reporter: Reporter) -> None:
        # A dead process leaves an end-of-file behind its last words; both are read here.
        with contextlib.suppress(EOFError, OSError):
            while cell.pipe.poll():
                said = cell.pipe.recv()
                if isinstance(said, Event):
                    reporter(said)
                else:
                    cell.outcome = said
            return
        if cell.process.is_alive():
            cell.process.join(timeout=GRACE_SECONDS)


def _carry_out(job: benchmark.Job, device: str, pipe: Connection) -> None:
    """The life of a cell's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to everybody; the parent decides
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from benchmark.cell import run_cell

    def tell(event: Event) -> None:
        pipe.send(event)

    try:
        outcome = run_cell(job, device=_pinned(device), reporter=tell)
    except KeyboardInterrupt:
        return
    pipe.send(outcome)
    pipe.close()


def _end_with_parent() -> None:
    """A cell whose `bench run` was killed must not go on writing beside the next one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _pinned(device: str) -> str:
    """Makes `cuda:1` the only GPU that this process sees, and gives the name that it has then."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return device
    mine = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = [name.strip() for name in mine.split(",") if name.strip()] if mine else []
    os.environ["CUDA_VISIBLE_DEVICES"] = visible[int(index)] if visible else index
    return "cuda:0"


def _crashed(cell: _Running, reporter: Reporter) -> benchmark.Outcome:
    """What is said of a process that died without a word."""
    code = cell.process.exitcode
    how = f"was ended by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit status {code}"
    reason = f"the cell's process {how}"
    if code == -signal.SIGKILL:
        reason += " (the machine may have been out of memory)"
    seconds = time.monotonic() - cell.started
    title = cell.job.cell.title
    reporter(Event(kind="finished", cell=title, stage="failed", values={"seconds": seconds}, text=reason))
    return benchmark.Outcome(
        cell_id=cell.job.cell.id, folder=cell.job.folder, state="failed", seconds=seconds, reason=reason
    )


def _stop(running: Sequence[_Running]) -> None:
    """Asks cells to write down where they are, and ends those that do not."""
    for cell in running:
        cell.process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for cell in running:
        cell.process.join(timeout=max(0.0, deadline - time.monotonic()))
        if cell.process.is_alive():
            cell.process.kill()
            cell.process.join()


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C waits while a process is being started, so that none is left without its parent's knowledge.

    The signal is remembered, not ignored: starting the fork server takes seconds. It is blocked as well where that can
    be done, since the fork server inherits that, and a terminal sends Ctrl-C to it too.
    """
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    try:
        before = signal.signal(signal.SIGINT, hear)
    except ValueError:  # not the main thread: no handler of ours to hold back
        yield
        return
    blocks = hasattr(signal, "pthread_sigmask")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if blocks else set()
    try:
        yield
    finally:
        if blocks:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
    if heard and callable(before):
        before(signal.SIGINT, None)
