"""One process for each cell, a fixed number of slots on each device: a cell that crashes or hangs costs only itself.

Processes come from a fork server that has torch loaded: 0.03 s instead of 3 s for each (measured on two cores). Where
there is none (Windows), they are spawned.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any

import benchmark
from bench_executors import child
from bench_executors.main_module import without_main_module
from bench_executors.parameters import LocalParams
from bench_executors.schedule import Schedule
from benchmark.executors import clear as clear_claim
from benchmark.progress import Event, Reporter

PRELOADED = ["torch", "faiss", "benchmark.executors"]
GRACE_SECONDS = 10.0
"""How long a cell that is ended at once may take to write down that it was."""


@dataclass(kw_only=True)
class _Running:
    """A cell in its process."""

    job: benchmark.Job
    device: str
    process: Any
    pipe: Connection
    started: float
    heard: float
    """When it last gave a sign of life."""
    kills: int
    """Processes that the kernel had ended for want of memory when it started."""
    stage: str = ""
    silent: bool = False
    """It was ended because it hung."""
    outcome: benchmark.Outcome | None = None
    finished: Event | None = None
    """What it said of its end: told once it is known that it is not tried again."""


class Local:
    """Slots on the devices of this machine.

    Args:
        context: devices, slots on each, their memory, and threads of each cell. A GPU is pinned by CUDA_VISIBLE_DEVICES
            inside the cell's process, before CUDA starts, through the value that the user had set.
    """

    def __init__(self, context: benchmark.ExecutorContext) -> None:
        self._slots = [device for _ in range(context.slots) for device in context.devices]
        self._memory = context.memory
        self._params: LocalParams = context.params or LocalParams()
        methods = multiprocessing.get_all_start_methods()
        self._processes: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            self._processes.set_forkserver_preload(PRELOADED)

    def run(self, jobs: Sequence[benchmark.Job], reporter: Reporter) -> Iterator[benchmark.Outcome]:
        """Outcomes in the order in which cells end. When the caller stops listening, running cells are stopped."""
        schedule = Schedule(jobs, self._slots, self._memory)
        running: list[_Running] = []
        try:
            while not schedule.is_over:
                while given := schedule.next():
                    with _interrupts_held_back():
                        running.append(self._start(*given))
                for ended in self._ended(running, reporter):
                    running.remove(ended)
                    schedule.ended(ended.job, ended.device)
                    outcome = ended.outcome or _crashed(ended)
                    if outcome.cause == "memory" and not ended.job.exclusive:
                        schedule.again(dataclasses.replace(ended.job, exclusive=True))
                        text = f"{ended.job.cell.title} is tried once more, alone on {ended.device}: {outcome.reason}"
                        reporter(Event(kind="note", cell=ended.job.cell.title, text=text))
                        continue
                    if outcome.state != "elsewhere":
                        reporter(ended.finished or _told(ended, outcome))
                    yield outcome
        finally:
            self._stop(running)

    def _start(self, job: benchmark.Job, device: str) -> _Running:
        here, there = self._processes.Pipe(duplex=False)
        process = self._processes.Process(target=child.carry_out, args=(job, device, there), daemon=True)
        with without_main_module():
            process.start()
        there.close()
        now = time.monotonic()
        return _Running(
            job=job, device=device, process=process, pipe=here, started=now, heard=now, kills=_kills_by_kernel()
        )

    def _ended(self, running: Sequence[_Running], reporter: Reporter) -> list[_Running]:
        """Waits until something happens, passes events on, and gives the cells whose processes are gone."""
        wait([cell.pipe for cell in running] + [cell.process.sentinel for cell in running], _patience(running))
        ended = []
        for cell in running:
            alive = cell.process.is_alive()
            self._listen(cell, reporter)
            if alive and _is_silent(cell):
                cell.silent = True
                cell.process.kill()
                cell.process.join()
                alive = False
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
                cell.heard = time.monotonic()
                if not isinstance(said, Event):
                    cell.outcome = said
                elif said.kind == "finished":
                    cell.finished = said
                else:
                    cell.stage = said.stage or cell.stage
                    reporter(said)
            return
        if cell.process.is_alive():
            cell.process.join(timeout=GRACE_SECONDS)

    def _stop(self, running: Sequence[_Running]) -> None:
        """Asks cells to write down where they are; those that take too long, or all if somebody asks again, end at once."""
        try:
            for seconds in (self._params.patience, GRACE_SECONDS):
                waiting = [cell.process for cell in running if cell.process.is_alive()]
                for process in waiting:
                    process.terminate()
                deadline = time.monotonic() + seconds
                for process in waiting:
                    process.join(timeout=max(0.0, deadline - time.monotonic()))
        finally:
            for cell in running:
                if cell.process.is_alive():
                    cell.process.kill()
                    cell.process.join()
                child.keep_output(cell.job, cell.process.pid, worth_it=False)
                clear_claim(Path(cell.job.out_dir) / cell.job.folder)


def _patience(running: Sequence[_Running]) -> float | None:
    """Seconds until the first cell will have been silent for too long; None: no cell ever is."""
    left = [cell.heard + cell.job.timeout - time.monotonic() for cell in running if cell.job.timeout is not None]
    return max(0.0, min(left)) if left else None


def _is_silent(cell: _Running) -> bool:
    return cell.job.timeout is not None and time.monotonic() - cell.heard >= cell.job.timeout


def _crashed(cell: _Running) -> benchmark.Outcome:
    """What is said of a process that died without a word, or that had none for too long."""
    said = child.keep_output(cell.job, cell.process.pid, worth_it=True)
    clear_claim(Path(cell.job.out_dir) / cell.job.folder)
    code = cell.process.exitcode
    cause: benchmark.Cause = "crash"
    if cell.silent:
        cause = "silence"
        reason = (
            f"the cell made no step and began no stage for {cell.job.timeout:g} s (--timeout), and was ended; "
            f"it was in '{cell.stage or 'start'}'"
        )
    else:
        how = f"was ended by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit status {code}"
        reason = f"the cell's process {how} in '{cell.stage or 'start'}'"
        if code == -signal.SIGKILL and _kills_by_kernel() > cell.kills:
            cause = "memory"
            reason += ": the machine was out of memory"
        elif code == -signal.SIGKILL:
            reason += " (the machine may have been out of memory)"
    return benchmark.Outcome(
        cell_id=cell.job.cell.id,
        folder=cell.job.folder,
        state="failed",
        seconds=time.monotonic() - cell.started,
        reason=reason + child.last_words(said),
        traceback=said,
        cause=cause,
    )


def _told(cell: _Running, outcome: benchmark.Outcome) -> Event:
    values = {"seconds": outcome.seconds}
    return Event(kind="finished", cell=cell.job.cell.title, stage=outcome.state, values=values, text=outcome.reason)


def _kills_by_kernel() -> int:
    """Processes that Linux has ended for want of memory so far, here or in this container; 0 where it does not tell."""
    found = 0
    for path in (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events")):
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text(encoding="ascii").splitlines():
                name, _, number = line.partition(" ")
                found += int(number) if name == "oom_kill" else 0
    return found


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait while a process is being started, so that none is left without its parent's knowledge.

    They are remembered, not ignored: starting the fork server takes seconds. Ctrl-C is blocked as well where that can be
    done, since the fork server inherits that, and a terminal sends it to the server too; SIGTERM is what cells are asked
    with, so it must not be.
    """
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    before: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, hear)
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
        for given, handler in before.items():
            signal.signal(given, handler)
    if heard:
        handler = before[heard[0]]
        if callable(handler):
            handler(heard[0], None)
        elif handler == signal.SIG_DFL:
            signal.raise_signal(heard[0])
