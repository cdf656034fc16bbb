"""The surroundings in which the fork server and the process of a cell start."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from bench_executors.interrupts import interrupts_delayed
from bench_executors.main_module import without_main_module

SAFE_PATH = "repbench"
"""Any value of PYTHONSAFEPATH has the same effect; this one is recognized and removed."""


@contextlib.contextmanager
def surroundings(folder: str) -> Iterator[None]:
    """Inside the block, processes start without the user's script, without interrupts, and without the working directory
    in their search path: a file `random.py` there would be imported instead of the module of that name.

    Args:
        folder: where processes start if the working directory was deleted.
    """
    _leave_deleted_working_directory(folder)
    with without_working_directory_in_path(), interrupts_delayed(), without_main_module():
        yield


def forget_safe_path() -> None:
    """In a process that was started in the block below: its own child processes are not concerned."""
    if os.environ.get("PYTHONSAFEPATH") == SAFE_PATH:
        del os.environ["PYTHONSAFEPATH"]


@contextlib.contextmanager
def without_working_directory_in_path() -> Iterator[None]:
    """Processes that start in the block do not import files of the working directory."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = before or SAFE_PATH
    try:
        yield
    finally:
        del os.environ["PYTHONSAFEPATH"]
        os.environ.update({} if before is None else {"PYTHONSAFEPATH": before})


def _leave_deleted_working_directory(folder: str) -> None:
    """Changes to another folder, for good, if the working directory was deleted: no process starts there."""
    try:
        os.getcwd()  # noqa: PTH109  # Path.cwd() does the same
    except OSError:
        for each in (folder, os.sep):
            with contextlib.suppress(OSError):
                os.chdir(each)
                break
