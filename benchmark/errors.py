"""The errors of repbench and the exit codes of `bench`.

    BenchError                  the command line prints it without a traceback; `exit_code` is the exit code
    ├── UsageError              the request is not possible: unknown name, invalid value, missing folder
    │   ├── UnknownNameError    no plugin, parameter, tap, ... has this name
    │   └── DataError           a dataset is missing, incomplete or unreadable
    ├── UnsupportedError        the combination makes no sense; the plan skips it and shows the reason
    ├── PluginError             a plugin violates its contract
    ├── RecordError             a record, checkpoint or output folder cannot be read or written
    ├── OutputError             standard output cannot be written
    ├── TrainingError           training of a cell failed: NaN, no gradient
    └── FrozenError             an encoder changed while its features were read

A message says what was requested, what is wrong, what is valid, and what to do.
"""

from __future__ import annotations

import contextlib
import difflib
import enum
from collections.abc import Iterable, Iterator

from benchmark.plain_text import error_text, visible


class ExitCode(enum.IntEnum):
    """Exit codes of `bench`."""

    OK = 0
    """Success."""
    REGRESSED = 1
    """`bench check` found a regression, or `bench verify` a difference. No other command returns 1."""
    USAGE = 2
    """The request is not possible. Nothing was run."""
    FAILED_CELLS = 3
    """Some cells failed. The results of the others are kept."""
    NOT_COMPARABLE = 4
    """The baseline is missing or not comparable."""
    INTERNAL = 70
    """An unexpected error of repbench or of a plugin, or the report cannot be printed."""
    INTERRUPTED = 130
    """Interrupted by Ctrl-C. The same command resumes."""


PLUGIN_ERRORS: tuple[type[BaseException], ...] = (Exception, SystemExit, GeneratorExit)
"""What code of a plugin may raise. A plugin's `SystemExit(0)` would end the program as if it had succeeded."""


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Decorator of functions that call plugins: a plugin's `sys.exit` must not end the program that calls the function.

    Raises:
        RuntimeError: a plugin raised SystemExit or GeneratorExit.
    """
    try:
        yield
    except (SystemExit, GeneratorExit) as error:
        raise RuntimeError(
            f"a plugin raised {type(error).__name__}({error_text(error)}), which would end the program"
        ) from error


class BenchError(Exception):
    """An error with a message for users. The command line prints it without a traceback."""

    exit_code = ExitCode.USAGE

    def __str__(self) -> str:
        """The message, with escapes instead of hidden characters: it may quote names of files and texts of plugins."""
        return visible(super().__str__(), keep="\n\t")


class UsageError(BenchError):
    """The request is not possible."""


class DataError(UsageError):
    """A dataset is missing, incomplete or unreadable."""


class UnsupportedError(BenchError):
    """The combination makes no sense, such as local DIM on a 1 x 1 map. Plans skip it and show the message."""


class PluginError(BenchError):
    """A plugin violates its contract."""

    exit_code = ExitCode.FAILED_CELLS


class RecordError(BenchError):
    """A record, checkpoint or output folder cannot be read or written."""


class OutputError(BenchError):
    """Standard output cannot be written, for example because the disk is full."""

    exit_code = ExitCode.INTERNAL


class TrainingError(BenchError):
    """Training of one cell failed. The other cells continue."""

    exit_code = ExitCode.FAILED_CELLS


class FrozenError(BenchError):
    """Weights or running statistics changed while features were read."""

    exit_code = ExitCode.FAILED_CELLS


class UnknownNameError(UsageError):
    """A name that does not exist: `no method called 'rot'; installed: aet, dim, rotation; did you mean 'rotation'?`.

    Args:
        kind: what was named, in the singular: "method", "recipe key".
        name: the name that does not exist.
        names: all names that exist.
        hint: a remark on what to do, printed in parentheses.
        listed_as: what `names` are: "available", or "installed" for plugins.
    """

    def __init__(
        self, kind: str, name: str, names: Iterable[str], hint: str = "", listed_as: str = "available"
    ) -> None:
        names = sorted(names)
        message = f"no {kind} called '{name}'; {listed_as}: {', '.join(names) or 'none'}"
        nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        if nearest:
            message += f"; did you mean '{nearest[0]}'?"
        if hint:
            message += f" ({hint})"
        super().__init__(message)
