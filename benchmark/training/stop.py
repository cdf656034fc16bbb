"""A request to stop a training: it writes a checkpoint first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class StopRequest:
    """Asks a running cell to stop. While the cell trains, it writes a checkpoint first; otherwise it stops at once."""

    def __init__(self) -> None:
        self.requested = False
        """Whether a stop was requested that the training will obey after the current step."""
        self.is_checked = False
        """Whether the training checks `requested` after each step. If not, a request ends the cell at once."""

    def request(self) -> None:
        """Requests the stop; meant for a signal handler.

        Raises:
            KeyboardInterrupt: it is the second request, or the cell does not train at the moment.
        """
        if self.requested or not self.is_checked:
            raise KeyboardInterrupt
        self.requested = True


@contextlib.contextmanager
def checked_after_each_step(stop: StopRequest | None) -> Iterator[None]:
    """A training that checks `stop.requested` after each step.

    Raises:
        KeyboardInterrupt: at the end, if a stop was requested after the last check.
    """
    if stop is None:
        yield
        return
    stop.is_checked = True
    try:
        yield
    finally:
        stop.is_checked = False
    if stop.requested:
        raise KeyboardInterrupt
