"""Executor `local`: one process per cell, a fixed number of slots per device.

A cell that crashes or hangs ends only its own process. Processes come from a fork server that has imported torch already:
0.03 s instead of 3 s per cell (measured on two cores). Where there is none (Windows), they are spawned.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import benchmark
from bench_executors import outcomes, output, processes
from bench_executors.child_process import AT_ONCE, run_in_child
from bench_executors.parameters import LocalParams
from bench_executors.process_start import surroundings
from bench_executors.schedule import Schedule
from benchmark.executors import clear as clear_lock
from benchmark.progress import Event, Reporter

PRELOADED = [
    *("torch", "torch._dynamo", "faiss", "benchmark.execution.cell", "benchmark.executors"),
    *("bench_executors.child_process", "bench_executors.fork_server"),
]
"""Modules that the fork server imports; the first optimizer step needs torch._dynamo.

The fork server ignores errors, so a test checks that the modules exist.
"""
GRACE_SECONDS = 10.0
"""Time for a cell to record an interruption that ends it at once."""


@dataclass(kw_only=True)
class _Running:
    """A cell in its process."""

    job: benchmark.Job
    device: str
    process: Any
    pipe: Connection
    started: float
    last_event: float
    """Time of the last event, by the monotonic clock, like `started`."""
    kernel_kills: int
    """Processes that the kernel had killed for lack of memory when the cell started."""
    grace: float
    """Seconds that the process may live after its outcome."""
    server: int
    """Number of the process that forked it, if that is a fork server; else 0."""
    stage: str = ""
    hung: bool = False
    """Whether it was killed because it sent no event for too long."""
    outcome: benchmark.Outcome | None = None


class Local:
    """Runs cells on the devices of this machine.

    Args:
        context: devices, slots on each, their memory, and threads of each cell. Each cell's process sees one GPU, by
            CUDA_VISIBLE_DEVICES, which respects the value that the user has set.
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
        """Outcomes in the order in which cells end. Closing the iterator stops the running cells."""
        schedule = Schedule(jobs, self._slots, self._memory)
        running: list[_Running] = []
        try:
            while not schedule.is_over:
                while (start := schedule.next()) is not None:
                    with surroundings(start[0].out_dir):
                        running.append(self._start(*start))
                for cell in _wait_for_ended(running, reporter):
                    running.remove(cell)
                    schedule.ended(cell.job, cell.device)
                    yield cell.outcome or _crashed(cell)
        finally:
            self._stop(running)

    def _start(self, job: benchmark.Job, device: str) -> _Running:
        receiver, sender = self._processes.Pipe(duplex=False)
        process = self._processes.Process(target=run_in_child, args=(job, device, sender), daemon=True)
        process.start()
        sender.close()
        now = time.monotonic()
        return _Running(
            job=job,
            device=device,
            process=process,
            pipe=receiver,
            started=now,
            last_event=now,
            kernel_kills=_count_kernel_kills(),
            grace=self._params.grace,
            server=processes.parent_of(process.pid) if self._processes.get_start_method() == "forkserver" else 0,
        )

    def _stop(self, running: Sequence[_Running]) -> None:
        """Asks cells to write a checkpoint. Cells that take too long are killed; all are if the user interrupts again."""
        try:
            for number, seconds in enumerate((self._params.patience, GRACE_SECONDS)):
                alive = [cell.process for cell in running if cell.process.is_alive()]
                for process in alive:
                    _interrupt(process, at_once=number > 0)
                deadline = time.monotonic() + seconds
                for process in alive:
                    process.join(timeout=max(0.0, deadline - time.monotonic()))
        finally:
            for cell in running:
                _kill(cell)
                output.finish_output(cell.job, cell.process.pid, keep=False)
                clear_lock(Path(cell.job.out_dir) / cell.job.folder)


def _interrupt(process: Any, *, at_once: bool) -> None:
    """Asks a cell to write a checkpoint and stop, or to stop without one."""
    if at_once and AT_ONCE is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, AT_ONCE)
    else:
        process.terminate()


def _wait_for_ended(running: Sequence[_Running], reporter: Reporter) -> list[_Running]:
    """Waits until something happens, passes events on, and returns the cells whose processes have ended."""
    waited_for: list[Any] = [cell.process.sentinel for cell in running]
    waited_for += [cell.pipe for cell in running if cell.outcome is None]
    wait(waited_for, _seconds_to_timeout(running))
    ended = []
    for cell in running:
        alive = cell.process.is_alive()
        _receive(cell, reporter)
        if alive and _is_over_time(cell):
            cell.hung = cell.outcome is None
            alive = False
            if cell.outcome is not None:
                _note(cell, reporter, "its process did not end with it (a thread of a plugin?) and was killed")
        if not alive:
            count = _kill(cell)
            if count:
                _note(cell, reporter, f"ended {count} processes that a plugin had started and left behind")
            cell.pipe.close()
            ended.append(cell)
    return ended


def _kill(cell: _Running) -> int:
    """Ends the process of a cell, and all processes that it has started. Returns the number of the latter."""
    count = 0
    if cell.process.is_alive():
        below = processes.descendants(cell.process.pid)
        cell.process.kill()
        cell.process.join()
        count = processes.end(below)
    cell.process.join()
    return count + (processes.end_orphans(cell.server) if cell.server else 0)


def _note(cell: _Running, reporter: Reporter, text: str) -> None:
    reporter(Event(kind="note", cell=cell.job.cell.title, text=f"{cell.job.cell.title}: {text}"))


def _receive(cell: _Running, reporter: Reporter) -> None:
    """Reads what a cell has sent. After the last message of a dead process comes an end-of-file."""
    with contextlib.suppress(EOFError, OSError):
        while cell.pipe.poll():
            message = cell.pipe.recv()
            cell.last_event = time.monotonic()
            if isinstance(message, Event):
                cell.stage = message.stage if message.kind != "finished" and message.stage else cell.stage
                reporter(message)
            else:
                cell.outcome = message
        return
    if cell.outcome is None and cell.process.is_alive():
        cell.process.join(timeout=GRACE_SECONDS)


def _seconds_to_timeout(running: Sequence[_Running]) -> float | None:
    """Seconds until the first cell is over time; None if no cell has a limit."""
    limits = [(cell, limit) for cell in running if (limit := _limit(cell)) is not None]
    return max(0.0, min(cell.last_event + limit - time.monotonic() for cell, limit in limits)) if limits else None


def _is_over_time(cell: _Running) -> bool:
    """Whether a cell hangs, or its process does not end although the cell is finished."""
    limit = _limit(cell)
    return limit is not None and time.monotonic() - cell.last_event >= limit


def _limit(cell: _Running) -> float | None:
    """Seconds that may pass after the last event; None: any number."""
    return cell.job.timeout if cell.outcome is None else cell.grace


def _crashed(cell: _Running) -> benchmark.Outcome:
    """The outcome of a cell whose process died without one, or was killed because it hung."""
    text = output.finish_output(cell.job, cell.process.pid, keep=True)
    clear_lock(Path(cell.job.out_dir) / cell.job.folder)
    stage = cell.stage or "start"
    cause: benchmark.Cause = "crash"
    if cell.hung:
        cause = "silence"
        reason = f"no step and no new stage for {cell.job.timeout:g} s (--timeout) in '{stage}': the process was killed"
    else:
        code = cell.process.exitcode
        end = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit status {code}"
        reason = f"the process of the cell {end} in '{stage}'"
        if code == -signal.SIGKILL and _count_kernel_kills() > cell.kernel_kills:
            cause = "memory"
            reason += ": the machine ran out of memory"
        elif code == -signal.SIGKILL:
            reason += " (the machine may have run out of memory)"
    return outcomes.failed(cell.job, cell.started, reason + output.last_lines(text), cause=cause, traceback=text)


def _count_kernel_kills() -> int:
    """Processes that Linux has killed for lack of memory so far, on this machine or in this container; 0 if unknown."""
    kills = 0
    for path in (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events")):
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text(encoding="ascii").splitlines():
                name, _, number = line.partition(" ")
                kills += int(number) if name == "oom_kill" else 0
    return kills
