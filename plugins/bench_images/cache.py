"""What was worked out once is kept under the data folder: written whole or not at all, read back memory-mapped.

Any number of processes may make the same file at once. Each writes its own temporary file and renames it; what a file
is called says what is in it, so it does not matter who comes last.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOG = logging.getLogger("benchmark")
"""Tells of a cache that cannot be written; nobody needs to act on it."""


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which appears under its name once all of it is on the disk, and never if the block raises.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def stored_array(
    path: Path, shape: tuple[int, ...], dtype: type[np.generic], blocks: Callable[[], Iterable[NDArray[Any]]]
) -> NDArray[Any]:
    """The array kept at `path`, made from `blocks` first where it is not there or not whole.

    Args:
        path: an .npy file whose path says all that its content depends on.
        shape: of the whole array.
        dtype: of the whole array.
        blocks: gives the array in consecutive pieces along its first axis; called again where writing fails.

    Returns:
        C-contiguous, memory-mapped; in memory where `path` cannot be written.
    """
    found = _read(path, shape, dtype)
    if found is not None:
        return found
    try:
        _write(path, shape, dtype, blocks())
        found = _read(path, shape, dtype)
    except OSError as error:
        LOG.info("%s cannot be kept (%s): it will be made anew each time", path, error)
    return _gathered(shape, dtype, blocks()) if found is None else found


def _read(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any] | None:
    import numpy as np

    try:
        # Copy-on-write rather than read-only: torch warns of arrays that it must not write to.
        found = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = isinstance(found, np.ndarray) and found.shape == shape and found.dtype == dtype
    return np.asarray(found) if whole else None


def _write(path: Path, shape: tuple[int, ...], dtype: type[np.generic], blocks: Iterable[NDArray[Any]]) -> None:
    """Plain writes, not a writable memory map: a full disk is an OSError here and would be a crash there."""
    import numpy as np

    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    with whole_file(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=dtype).data)


def _gathered(shape: tuple[int, ...], dtype: type[np.generic], blocks: Iterable[NDArray[Any]]) -> NDArray[Any]:
    import numpy as np

    whole = np.empty(shape, dtype=dtype)
    position = 0
    for block in blocks:
        whole[position : position + len(block)] = block
        position += len(block)
    if position != len(whole):
        raise ValueError(f"{position} items were made where {len(whole)} were announced")
    return whole
