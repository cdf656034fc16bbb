"""What a job of a Slurm array does: one cell, which is warned before it has to leave, and ended when it hangs."""

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

from benchmark.executors import from_json, outcome_to_json
from benchmark.progress import Event

WRITING_SECONDS = 30.0
"""How long a cell that has to leave may take for a checkpoint: Slurm ends it 90 s after submitit's signal."""
SILENT = "repbench: no sign of life for"
"""Before the number of seconds, the last words of a cell that hung."""
HUNG_STATUS = 75


class Carry:
    """What a Slurm job does: one cell, from its JSON to its outcome's.

    Args:
        device: `cpu` or `cuda:0`.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def __call__(self, text: str) -> str:
        """Carries out the job whose JSON is given, and gives the outcome's."""
        from benchmark.executors import StopRequest, run_cell

        job = from_json(text)
        stop, watch = StopRequest(), _Watch(job.timeout)
        with _taken_away(stop.ask), watch:
            outcome = run_cell(job, device=self._device, reporter=watch, stop=stop)
        return outcome_to_json(outcome)

    def checkpoint(self, text: str) -> submitit.helpers.DelayedSubmission:
        """What is queued again, as submitit asks: the same, since the cell's own checkpoint knows where it was."""
        return submitit.helpers.DelayedSubmission(self, text)


@contextlib.contextmanager
def _taken_away(ask: Callable[[], None]) -> Iterator[None]:
    """Within it, submitit's signal asks the cell to write down where it is; submitit hears of it only then.

    Its own handler would leave by an exception in the middle of a step, which the cell would take for a failure of its own.
    """
    number = getattr(signal, f"SIG{submitit.JobEnvironment.USR_SIG}")
    before = signal.getsignal(number)
    if not callable(before):  # `debug`: nobody sends it
        yield
        return
    heard: list[FrameType | None] = []

    def hear(signum: int, frame: FrameType | None) -> None:
        if not heard:
            # A step that lasts longer is not waited for: the last checkpoint is what there is.
            late = threading.Timer(WRITING_SECONDS, interrupt_main, (signum,))
            late.daemon = True
            late.start()
        heard.append(frame)
        ask()

    signal.signal(number, hear)
    try:
        yield
    except KeyboardInterrupt:
        if not heard:
            raise
    finally:
        signal.signal(number, before)
    if heard:
        before(number, heard[0])  # queues the job again and leaves


class _Watch:
    """A reporter that ends the process when it has been told nothing for too long; where it ends, somebody else sees it.

    Args:
        timeout: seconds; None: never.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._heard = time.monotonic()
        self._over = threading.Event()

    def __call__(self, event: Event) -> None:
        self._heard = time.monotonic()

    def __enter__(self) -> _Watch:
        if self._timeout is not None:
            threading.Thread(target=self._look, args=(self._timeout,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()

    def _look(self, timeout: float) -> None:
        while not self._over.wait(min(1.0, timeout / 4)):
            if time.monotonic() - self._heard > timeout:
                sys.stderr.write(f"{SILENT} {timeout:g} s\n")
                sys.stderr.flush()
                os._exit(HUNG_STATUS)
