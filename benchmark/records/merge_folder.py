"""The folder in which `bench merge` prepares cells, inside the output folder, and what a killed merge leaves of it."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmark.records.atomic import lock_file

PREFIX = ".merge-"
NEW = "new"
"""Complete copies of cells that are not yet under their final names."""
OLD = "old"
"""Cells that a copy replaces."""
LOG = logging.getLogger("benchmark")


@contextlib.contextmanager
def merge_folder(to: Path) -> Iterator[tuple[Path, Path]]:
    """A temporary folder that is locked until the block ends, so that the folders of killed merges are recognized.

    Args:
        to: the output folder.

    Yields:
        The folders for new cells and for replaced cells.
    """
    with _locked_folder(to) as folder:
        new, old = folder / NEW, folder / OLD
        new.mkdir()
        old.mkdir()
        yield new, old


@contextlib.contextmanager
def _locked_folder(to: Path) -> Iterator[Path]:
    """A new folder with a lock. It is made again if another process took it for abandoned before it was locked."""
    while True:
        with contextlib.ExitStack() as stack:
            temporary = tempfile.TemporaryDirectory(dir=to, prefix=PREFIX, ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(temporary))
            with contextlib.suppress(FileNotFoundError):
                lock_file(stack.enter_context(_opened(folder)), wait=True)
            if folder.exists():
                yield folder
                return


def recover_abandoned(to: Path) -> None:
    """Puts back the cells that a killed merge was about to replace, and removes what else it left, as far as possible."""
    for folder in to.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), _opened(folder) as handle:
            if not lock_file(handle):
                continue
            for cell in sorted((folder / OLD).glob("*")):
                if not (to / cell.name).exists():
                    cell.rename(to / cell.name)
                    LOG.warning(
                        "put back: %s, which an earlier bench merge was replacing when it was killed", to / cell.name
                    )
            shutil.rmtree(folder)


def move(folder: Path, target: Path, backup: Path) -> None:
    """Rename a folder to its target; an existing target is moved to the backup and restored if the rename fails."""
    if target.exists():
        target.rename(backup)
    try:
        folder.rename(target)
    except OSError:
        if backup.exists():
            backup.rename(target)
        raise


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)
