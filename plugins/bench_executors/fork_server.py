"""Imported by the fork server: it outlives signals to its group, and adopts the processes that cells leave behind."""

from __future__ import annotations

import multiprocessing.forkserver
import os
import signal
import sys
import warnings

from bench_executors.process_start import forget_safe_path
from bench_executors.processes import adopt_orphans

SERVER = os.getpid()
"""This process, before it forks."""


def prepare() -> None:
    """Prepares this process, if it is a fork server.

    A terminal that closes and tools such as `timeout` send signals to all processes of a run. `bench` decides what cells do
    then; it would take them for dead if the fork server ended. Cells get their own handlers.
    """
    if getattr(sys.modules["__main__"], "main", None) is not multiprocessing.forkserver.main:
        return
    adopt_orphans()
    forget_safe_path()
    warnings.filterwarnings("ignore", message="forkserver: waitpid returned unexpected pid")
    for name in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    os.register_at_fork(after_in_child=_reset_in_cell)


def _reset_in_cell() -> None:
    """A cell that starts must not miss the request to stop. What it forks itself inherits its handlers."""
    if os.getppid() == SERVER:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


prepare()
