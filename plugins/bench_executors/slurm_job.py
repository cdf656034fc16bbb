"""What one job of a Slurm array does: run a cell, write a checkpoint when Slurm ends the job, exit when the cell hangs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from types import FrameType

import submitit

from bench_executors.process_start import forget_safe_path
from benchmark.executors import from_json, outcome_to_json
from benchmark.progress import Event

CHECKPOINT_SECONDS = 30.0
"""Time for a checkpoint when the job has to end: Slurm kills it 90 s after submitit's signal."""
HUNG = "repbench: no progress for"
"""Start of the last line that a hung cell prints; the number of seconds follows."""
HUNG_STATUS = 75


class CellTask:
    """A function that submitit calls in the Slurm job: from a job's JSON to its outcome's JSON.

    Args:
        device: `cpu` or `cuda:0`.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def __call__(self, text: str) -> str:
        """Runs the job."""
        from benchmark.executors import StopRequest, run_cell

        forget_safe_path()
        job = from_json(text)
        stop, watchdog = StopRequest(), Watchdog(job.timeout)
        with preemption_stops(stop.request), watchdog:
            outcome = run_cell(job, device=self._device, reporter=watchdog, stop=stop)
        return outcome_to_json(outcome)

    def checkpoint(self, text: str) -> submitit.helpers.DelayedSubmission:
        """The job that submitit queues again: the same one, since the cell resumes from its own checkpoint."""
        return submitit.helpers.DelayedSubmission(self, text)


@contextlib.contextmanager
def preemption_stops(ask: Callable[[], None]) -> Iterator[None]:
    """Inside the block, submitit's signal asks the cell to stop. Afterwards submitit's own handler runs.

    That handler ends the job by an exception, which in the middle of a step would look like a failure of the cell.
    """
    number = getattr(signal, f"SIG{submitit.JobEnvironment.USR_SIG}")
    original = signal.getsignal(number)
    if not callable(original):  # cluster `debug` sends no signal
        yield
        return
    received: list[FrameType | None] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        if not received:
            # A step that takes longer is interrupted; the job resumes from the last checkpoint.
            timer = threading.Timer(CHECKPOINT_SECONDS, interrupt_main, (signum,))
            timer.daemon = True
            timer.start()
        received.append(frame)
        ask()

    signal.signal(number, stop)
    try:
        yield
    except KeyboardInterrupt:
        if not received:
            raise
    finally:
        signal.signal(number, original)
    if received:
        original(number, received[0])  # queues the job again and exits


class Watchdog:
    """A reporter that ends the process if it gets no event for too long.

    Args:
        timeout: seconds; None: never.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._last_event = time.monotonic()
        self._ended = threading.Event()

    def __call__(self, event: Event) -> None:
        """Notes that the cell makes progress."""
        self._last_event = time.monotonic()

    def __enter__(self) -> Watchdog:
        if self._timeout is not None:
            threading.Thread(target=self._watch, args=(self._timeout,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()

    def _watch(self, timeout: float) -> None:
        while not self._ended.wait(min(1.0, timeout / 4)):
            if time.monotonic() - self._last_event > timeout:
                sys.stderr.write(f"{HUNG} {timeout:g} s (--timeout)\n")
                sys.stderr.flush()
                os._exit(HUNG_STATUS)
