"""Cache files in the data folder: written atomically, mapped into memory when read.

Several processes can write the same file at once. Each writes its own temporary file and renames it. The name of a file
determines its content, so it does not matter which process renames last.
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
"""Logger for information that needs no action, such as a cache that cannot be written."""


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing that appears under its name only when complete, and never if the block raises.

    Raises:
        OSError: the folder cannot be created or written, or the disk is full.
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
    """The array cached at `path`; computed from `blocks` and cached first if it is missing or incomplete.

    Args:
        path: an .npy file. The path must identify everything that the content depends on.
        shape: of the whole array.
        dtype: of the whole array.
        blocks: returns the array in consecutive blocks along its first axis; called again if writing fails.

    Returns:
        A C-contiguous array: mapped from the file, or in memory if `path` cannot be written.
    """
    cached = _read(path, shape, dtype)
    if cached is not None:
        return cached
    try:
        _write(path, shape, dtype, blocks())
        cached = _read(path, shape, dtype)
    except OSError as error:
        LOG.info("cannot write %s (%s): it is computed again each time", path, error)
    return _concatenate(shape, dtype, blocks()) if cached is None else cached


def _read(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any] | None:
    import numpy as np

    try:
        # Copy-on-write instead of read-only, because torch warns about read-only arrays.
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    complete = isinstance(array, np.ndarray) and array.shape == shape and array.dtype == dtype
    return np.asarray(array) if complete else None


def _write(path: Path, shape: tuple[int, ...], dtype: type[np.generic], blocks: Iterable[NDArray[Any]]) -> None:
    """Writes blocks without a memory map, so that a full disk raises OSError and does not crash the process."""
    import numpy as np

    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    with whole_file(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=dtype).data)


def _concatenate(shape: tuple[int, ...], dtype: type[np.generic], blocks: Iterable[NDArray[Any]]) -> NDArray[Any]:
    import numpy as np

    whole = np.empty(shape, dtype=dtype)
    position = 0
    for block in blocks:
        whole[position : position + len(block)] = block
        position += len(block)
    if position != len(whole):
        raise ValueError(f"blocks have {position} items, but the shape has {len(whole)}")
    return whole
