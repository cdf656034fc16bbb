"""Every error that repbench raises on purpose.

    BenchError                  printed without a traceback; `exit_code` is what `bench` returns
    ├── UsageError              what was asked for cannot be: unknown name, wrong value, missing folder (2)
    │   ├── UnknownNameError    a name that nothing installed provides, with the nearest ones
    │   └── DataError           a dataset that cannot be had or read
    ├── UnsupportedError        this combination makes no sense; the plan turns it into a skip with its reason
    ├── PluginError             a plugin broke its contract
    ├── RecordError             a record or checkpoint that cannot be read or written
    ├── TrainingError           a cell whose training went wrong: NaN, no gradient (3)
    └── FrozenError             an encoder that changed while it was being scored (3)

A message tells four things: what was asked, what is wrong, what would be right, what to do.
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable


class ExitCode(enum.IntEnum):
    """Exit codes of `bench`."""

    OK = 0
    REGRESSED = 1
    """`bench check` found a regression, `bench verify` a number that does not hold; nothing else gives 1."""
    USAGE = 2
    FAILED_CELLS = 3
    """Some cells failed; the others are kept."""
    NOT_COMPARABLE = 4
    """The baseline is missing or not comparable."""
    INTERNAL = 70
    """An error inside repbench."""
    INTERRUPTED = 130


class BenchError(Exception):
    """An error for people: the command line prints it as one paragraph, without a traceback."""

    exit_code = ExitCode.USAGE


class UsageError(BenchError):
    """What was asked for cannot be done as asked."""


class DataError(UsageError):
    """A dataset that is not there, not complete or not readable."""


class UnsupportedError(BenchError):
    """A combination that makes no sense, such as local DIM on a 1 x 1 map. Plans skip it and show the message."""


class PluginError(BenchError):
    """A plugin that does not keep its contract."""

    exit_code = ExitCode.FAILED_CELLS


class RecordError(BenchError):
    """A record, checkpoint or output folder that cannot be read or written."""


class TrainingError(BenchError):
    """Training of one cell that went wrong. The other cells go on."""

    exit_code = ExitCode.FAILED_CELLS


class FrozenError(BenchError):
    """Weights or running statistics that changed while features were read."""

    exit_code = ExitCode.FAILED_CELLS


class UnknownNameError(UsageError):
    """A name that does not exist, shown with what does.

    Args:
        kind: what was named, in the singular: "method", "recipe key".
        asked: the name as given.
        existing: all names that would have been right.
        hint: one more sentence on what to do.
    """

    def __init__(self, kind: str, asked: str, existing: Iterable[str], hint: str = "") -> None:
        names = sorted(existing)
        near = difflib.get_close_matches(asked, names, n=1, cutoff=0.5)
        message = f"no {kind} called '{asked}'; there is: {', '.join(names) or 'none'}"
        if near:
            message += f"; did you mean '{near[0]}'?"
        if hint:
            message += f" ({hint})"
        super().__init__(message)
        self.kind = kind
        self.asked = asked
