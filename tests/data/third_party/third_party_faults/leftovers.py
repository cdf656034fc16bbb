"""Faults that outlive a training step: threads, processes, a changed working directory, removed folders, long texts."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from third_party_faults.activity import note

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(3600)"]


def start_thread(step: int) -> None:
    """Starts a thread that keeps the process from ending."""
    if step == 1:
        threading.Thread(target=time.sleep, args=(3600,)).start()


def start_processes(step: int) -> None:
    """Starts a child, and a daemon whose parent ends at once; logs their numbers."""
    if step > 1:
        return
    note(str(subprocess.Popen(SLEEP).pid), "child")
    middle = os.fork()
    if middle == 0:
        os.setsid()
        daemon = os.fork()
        if daemon == 0:
            os.execv(SLEEP[0], SLEEP)
        note(str(daemon), "daemon")
        os._exit(0)
    os.waitpid(middle, 0)


def start_processes_and_die(step: int) -> None:
    """The same, and the cell dies."""
    start_processes(step)
    os._exit(5)


def change_directory(step: int) -> None:
    """Changes the working directory to one without an output folder."""
    os.chdir("/")


def remove_folder(step: int) -> None:
    """Removes the folders of all cells of its method."""
    for folder in Path("runs").glob("fault_removes-*"):
        shutil.rmtree(folder)


def use_up_files(step: int) -> None:
    """Opens files until the limit is reached."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit[0], 200), limit[1]))
    try:
        while True:
            os.open("/dev/null", os.O_RDONLY)
    except OSError:
        return


def raise_long_text(step: int) -> None:
    """Raises an error with a text of 10 MB."""
    raise RuntimeError(f"the third-party text \udcff starts\n{'x' * 10_000_000}\nand ends")


FAULTS = {
    "fault_thread": start_thread,
    "fault_processes": start_processes,
    "fault_orphans": start_processes_and_die,
    "fault_moves": change_directory,
    "fault_removes": remove_folder,
    "fault_files": use_up_files,
    "fault_text": raise_long_text,
}
"""Method -> what happens before the loss of a step; the argument is the number of the step, from 1."""
