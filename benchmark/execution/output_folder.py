"""The output folder of a run: whether files can be written there, its creation, and its absolute path."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmark.errors import UsageError
from benchmark.records.atomic import reason
from benchmark.working_directory import working_directory


def check_writable(out: Path) -> None:
    """Checks that files can be written in an output folder, or that it can be created. Nothing is left behind.

    Raises:
        UsageError: they cannot.
    """
    try:
        with tempfile.TemporaryFile(dir=_existing(out)):
            pass
    except (OSError, ValueError) as error:
        raise _not_writable(out, error) from error


def create(out: Path) -> None:
    """Creates an output folder, if it does not exist.

    Raises:
        UsageError: it cannot be created.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(out, error) from error


def _existing(folder: Path) -> Path:
    """The folder, or else the nearest one above it that exists."""
    while True:
        try:
            folder.lstat()
        except (FileNotFoundError, NotADirectoryError):
            if folder.parent == folder:
                raise
            folder = folder.parent
        else:
            return folder


def absolute(path: Path) -> str:
    """A path that means the same after a plugin has changed the working directory."""
    return str(path.absolute() if working_directory() is not None else path)


def _not_writable(out: Path, error: OSError | ValueError) -> UsageError:
    why = reason(error) if isinstance(error, OSError) else str(error)
    problem = why if working_directory() is not None else "the working directory was deleted"
    return UsageError(f"cannot write to --out {out} ({problem}); choose another folder")
