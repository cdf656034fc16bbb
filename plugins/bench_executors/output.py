"""What a cell's process prints: written to a file while it runs, kept if the cell fails."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import benchmark
from benchmark.executors import OUTPUT, is_running

LAST_LINES = 3
"""Number of lines that the reason of a crash quotes."""
FAULT = "Fatal Python error: "
"""Start of faulthandler's report, which lists the threads, and of each the innermost call first."""
FAULTY_THREAD = "Current thread "
"""Start of the part of that report about the thread with the fault."""
KEPT_CHARACTERS = 4000
"""Size of the part of the output that goes into the record."""
CHARACTERS_BEFORE_FAULT = 1000
"""Size of the part of it before the report of a fault."""
READ_BYTES = 1_000_000
"""Size of the end of the output that is read."""


def output_path(job: benchmark.Job, pid: int) -> Path:
    """The file of a running process. It has the process's number, since another run may work on the same cell."""
    return Path(job.out_dir) / job.folder / f".output-{pid}.txt"


@contextlib.contextmanager
def redirected_to(path: Path) -> Iterator[None]:
    """Writes to a file what the process prints in the block, including the output of C libraries and of faulthandler."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        file = path.open("wb", buffering=0)
    except OSError:  # the cell reports that its folder cannot be written
        yield
        return
    with file:
        _flush()
        saved = {number: _copy_of(number) for number in (1, 2)}
        try:
            for number in saved:
                os.dup2(file.fileno(), number)
            faulthandler.enable(file)
            yield
        finally:
            _flush()
            faulthandler.disable()
            for number, original in saved.items():
                if original is None:
                    os.close(number)
                else:
                    os.dup2(original, number)
                    os.close(original)


def _copy_of(number: int) -> int | None:
    """A copy of a standard stream; None if it is closed."""
    try:
        return os.dup(number)
    except OSError:
        return None


def _flush() -> None:
    """Writes what is buffered, as far as that is possible."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _remove_abandoned(folder: Path) -> None:
    """Removes files of processes that were killed together with their parents."""
    for path in folder.glob(".output-*.txt"):
        number = path.name.removeprefix(".output-").removesuffix(".txt")
        if number.isdecimal() and not is_running(int(number)):
            path.unlink(missing_ok=True)


def _end_of(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - READ_BYTES))
        return file.read(READ_BYTES).decode(errors="replace")


def finish_output(job: benchmark.Job, pid: int, *, keep: bool) -> str:
    """Renames a process's output to its final name, or removes it. Returns its end.

    Args:
        job: the cell's job.
        pid: the process's number.
        keep: whether to keep the file, if it is not empty.
    """
    path = output_path(job, pid)
    try:
        text = kept_part(_end_of(path))
        if keep and text.strip():
            path.replace(path.with_name(OUTPUT))
        else:
            path.unlink()
    except OSError:
        return ""
    return text


def kept_part(text: str) -> str:
    """The end of an output, in whole lines where it has lines; after a fault, what surrounds the start of its report."""
    fault = text.find(FAULT)
    start = max(0, len(text) - KEPT_CHARACTERS if fault < 0 else fault - CHARACTERS_BEFORE_FAULT)
    if start and text[start - 1] != "\n":
        line = text.find("\n", start, len(text) - 1 if fault < 0 else fault)
        start = line + 1 if line >= 0 else start
    return text[start : start + KEPT_CHARACTERS]


def last_lines(text: str) -> str:
    """The last lines of an output as part of a reason; empty if there are none.

    After a fault such as a segmentation fault: the last lines before it, the fault, and its thread's innermost call.
    """
    printed, _, fault = text.partition(FAULT)
    lines = [" ".join(line.split()) for line in printed.splitlines() if line.strip()][-LAST_LINES:]
    if fault:
        calls = fault.partition(FAULTY_THREAD)[2].splitlines()
        innermost = [line.strip() for line in calls if line.strip().startswith("File ")][:1]
        lines += [f"{FAULT}{fault.splitlines()[0].strip()}" if fault.strip() else FAULT.strip(), *innermost]
    return f"; its last output: {' | '.join(lines)}" if lines else ""
