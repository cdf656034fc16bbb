"""The end of the process of `bench`: a thread that a plugin has started does not keep it alive."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time

from benchmark.cli.output import print_message

GRACE_SECONDS = 2.0


def end_threads(code: int) -> None:
    """Waits for threads that keep the process alive, then ends the process without them.

    Args:
        code: exit code of the process, if threads are left.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    for thread in _living():
        thread.join(timeout=max(0.0, deadline - time.monotonic()))
    left = _living()
    if left:
        names = ", ".join(thread.name for thread in left)
        print_message(f"bench: a plugin has started threads that do not end ({names}); the process ends without them")
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _living() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if not each.daemon and each is not threading.current_thread()]
