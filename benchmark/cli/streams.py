"""Standard streams that are closed when `bench` starts, as in `bench run >&-`."""

from __future__ import annotations

import contextlib
import os
import sys


def open_missing_streams() -> None:
    """Opens the null device for each standard stream that is closed.

    Otherwise the next file that is opened gets its number, and what a library prints is written into that file. What is
    written to a closed standard output fails still, so that a lost report is noticed.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                opened = os.open(os.devnull, flags)
                os.set_inheritable(opened, True)
    sys.stdin = sys.stdin or open(0, closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
