"""The process of one cell under the executor `local`."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import TYPE_CHECKING

import benchmark
from bench_executors.output import finish_output, output_path, redirected_to
from bench_executors.processes import adopt_orphans, end_descendants
from benchmark.progress import Event

if TYPE_CHECKING:
    from benchmark.executors import StopRequest

TOGETHER_SECONDS = 2.0
"""Signals within this time are one request to stop."""
AT_ONCE: signal.Signals | None = getattr(signal, "SIGUSR1", None)
"""What the parent sends to a cell that has not stopped in time. The cell ends without a checkpoint."""


def run_in_child(job: benchmark.Job, device: str, pipe: Connection) -> None:
    """Runs a job and sends its events and its outcome to the parent.

    SIGTERM asks the cell to write a checkpoint and stop. SIGINT and SIGHUP are ignored: a terminal sends them to every
    process, and the parent decides.
    """
    from benchmark.executors import StopRequest

    stop = StopRequest()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    adopt_orphans()
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        signal.signal(signal.SIGTERM, _requests(stop))
        if AT_ONCE is not None:
            signal.signal(AT_ONCE, lambda *_: stop.request())
        _run(job, device, pipe, stop)
    except KeyboardInterrupt:  # it may arrive while the process starts, runs the cell or ends
        output_path(job, os.getpid()).unlink(missing_ok=True)


def _requests(stop: StopRequest) -> Callable[[int, FrameType | None], None]:
    """A handler that requests the stop, once for signals that come together: one to the group, one from the parent."""
    last = -math.inf

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if last - before > TOGETHER_SECONDS:
            stop.request()

    return handle


def _run(job: benchmark.Job, device: str, pipe: Connection, stop: StopRequest) -> None:
    from benchmark.executors import run_cell

    def report(event: Event) -> None:
        pipe.send(event)

    with redirected_to(output_path(job, os.getpid())):
        outcome = run_cell(job, device=use_gpu(device), reporter=report, stop=stop)
    finish_output(job, os.getpid(), keep=outcome.state == "failed")
    pipe.send(outcome)
    pipe.close()


def use_gpu(device: str) -> str:
    """Hides all GPUs but one from this process, before CUDA starts. Returns the device's name from then on."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return device
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = [name.strip() for name in setting.split(",") if name.strip()] if setting else []
    os.environ["CUDA_VISIBLE_DEVICES"] = visible[int(index)] if visible else index
    return "cuda:0"


def _exit_with_parent() -> None:
    """Ends the process when its parent ends: a cell must not write after its run was killed and the next one began."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        end_descendants(os.getpid())
        os._exit(1)
