"""The life of one cell's process: what it prints is kept, signals are heard, and it ends with its parent."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path

import benchmark
from benchmark.executors import OUTPUT, is_running
from benchmark.progress import Event

SAID = 3
"""Lines that a dead process printed last, as its reason tells them."""
FAULT = "Fatal Python error: "
"""How faulthandler begins; the innermost call comes first."""
KEPT = 4000
"""Characters of them that the record keeps."""


def carry_out(job: benchmark.Job, device: str, pipe: Connection) -> None:
    """What the process does, from its first line to its last."""
    from benchmark.executors import StopRequest, run_cell

    stop = StopRequest()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to everybody; the parent decides
    signal.signal(signal.SIGTERM, lambda *_: stop.ask())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tell(event: Event) -> None:
        pipe.send(event)

    path = output_of(job, os.getpid())
    with _printing_to(path):
        try:
            outcome = run_cell(job, device=pinned(device), reporter=tell, stop=stop)
        except KeyboardInterrupt:
            path.unlink(missing_ok=True)
            return
    keep_output(job, os.getpid(), worth_it=outcome.state == "failed")
    pipe.send(outcome)
    pipe.close()


def pinned(device: str) -> str:
    """Makes `cuda:1` the only GPU that this process sees, and gives the name that it has then."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return device
    mine = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = [name.strip() for name in mine.split(",") if name.strip()] if mine else []
    os.environ["CUDA_VISIBLE_DEVICES"] = visible[int(index)] if visible else index
    return "cuda:0"


def _end_with_parent() -> None:
    """A cell whose `bench run` was killed must not go on writing beside the next one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


# --- what it prints ---------------------------------------------------------------------------------------------------


def output_of(job: benchmark.Job, pid: int) -> Path:
    """Where a cell's process prints to while it runs: a name of its own, since another run may work on the cell."""
    return Path(job.out_dir) / job.folder / f".output-{pid}.txt"


@contextlib.contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """Within it, all that the process prints, a library of C's or a fault's last words included, goes to the file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_away(path.parent)
        file = path.open("wb", buffering=0)
    except OSError:  # the cell itself will say that its folder cannot be written
        yield
        return
    with file:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = [os.dup(1), os.dup(2)]
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            faulthandler.enable(file)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            faulthandler.disable()
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)


def _clear_away(folder: Path) -> None:
    """What processes left that were killed together with their parents."""
    for path in folder.glob(".output-*.txt"):
        number = path.name.removeprefix(".output-").removesuffix(".txt")
        if number.isdecimal() and not is_running(int(number)):
            path.unlink(missing_ok=True)


def keep_output(job: benchmark.Job, pid: int, *, worth_it: bool) -> str:
    """Gives the printed text its lasting name, if there is any and it is worth it; what it ends with, at most `KEPT`."""
    path = output_of(job, pid)
    try:
        text = path.read_bytes()[-KEPT:].decode(errors="replace")
        if worth_it and text.strip():
            path.replace(path.with_name(OUTPUT))
        else:
            path.unlink()
    except OSError:
        return ""
    return text


def last_words(text: str) -> str:
    """The last lines of a text in one, for a reason; empty where there are none.

    Where Python told of a fault (a segmentation fault, say), what was said before it, the fault, and where it was.
    """
    said, _, fault = text.partition(FAULT)
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()][-SAID:]
    if fault:
        told = f"{FAULT}{fault}".splitlines()
        places = [line.strip() for line in told if line.strip().startswith("File ")]
        lines += [told[0].strip(), *places[:1]]
    return f"; it last said: {' | '.join(lines)}" if lines else ""
