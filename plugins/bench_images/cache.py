"""Cache files in the data folder: written atomically, verified by a checksum whenever they are read.

Several processes can write the same file at once. Each writes its own temporary file and renames it. The name of a file
determines its content, so it does not matter which process renames last.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from bench_images.leftovers import in_use, remove_leftovers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOG = logging.getLogger("benchmark")
"""Logger of remarks on a dataset's files, and of information that needs no action, such as a cache that cannot be written."""
MAGIC = b"repbench sha256\n"
"""Marks the checksum at the end of a cached array; readers of .npy files ignore what follows the array."""
CHUNK = 2**18
"""Number of bytes that are hashed at once."""


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing that appears under its name only when complete, and never if the block raises.

    Temporary files of processes that were killed while they wrote the same file are removed.

    Raises:
        OSError: the folder cannot be created or written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}-"
    remove_leftovers(path.parent, prefix)

    def create() -> Path:
        temporary = path.with_name(f"{prefix}{uuid.uuid4().hex}")
        temporary.touch(exist_ok=False)
        return temporary

    with in_use(create) as temporary:
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def stored_array(
    path: Path, shape: tuple[int, ...], dtype: type[np.generic], blocks: Callable[[], Iterable[NDArray[Any]]]
) -> NDArray[Any]:
    """The array cached at `path`; computed from `blocks` and cached first if it is missing, incomplete or damaged.

    The file ends with the SHA-256 of its name, the name of its folder, and its content. Verifying the 154 MB of CIFAR-10's
    training images takes 0.08 s.

    Args:
        path: an .npy file. Its name and that of its folder must identify everything that the content depends on.
        shape: of the whole array.
        dtype: of the whole array.
        blocks: returns the array in consecutive blocks along its first axis; called again if writing fails.

    Returns:
        A C-contiguous array: mapped from the file, or in memory if `path` cannot be written.
    """
    cached = _read(path, shape, dtype)
    if cached is not None:
        return cached
    if path.exists():
        LOG.warning("%s is damaged or has no valid checksum: it is computed again", path)
    try:
        _write(path, shape, dtype, blocks())
        cached = _read(path, shape, dtype)
    except OSError as error:
        LOG.info("cannot write %s (%s): it is computed again each time", path, error)
    return _concatenate(shape, dtype, blocks()) if cached is None else cached


def stored_json(path: Path, key: str, compute: Callable[[], Any]) -> Any:
    """The value cached at `path` for this key; computed and cached first if it is missing, damaged or of another key.

    Args:
        path: a .json file.
        key: what the value depends on.
        compute: returns a value of plain data.
    """
    cached = _read_json(path, key)
    if cached is not None:
        return cached
    value = compute()
    try:
        with whole_file(path) as file:
            file.write(json.dumps({"key": key, "value": value, "sha256": _json_checksum(key, value)}).encode())
    except OSError as error:
        LOG.info("cannot write %s (%s): it is computed again each time", path, error)
    return value


def _read_json(path: Path, key: str) -> Any:
    try:
        if not path.is_file():
            return None
        cached = json.loads(path.read_bytes())
        valid = cached["key"] == key and cached["sha256"] == _json_checksum(key, cached["value"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return cached["value"] if valid else None


def _json_checksum(key: str, value: Any) -> str:
    return hashlib.sha256(json.dumps([key, value], sort_keys=True).encode()).hexdigest()


def _read(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any] | None:
    import numpy as np

    try:
        if not path.is_file() or not _is_intact(path):
            return None
        # Copy-on-write instead of read-only, because torch warns about read-only arrays.
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError):
        return None
    expected = isinstance(array, np.ndarray) and array.shape == shape and array.dtype == dtype
    return np.asarray(array) if expected else None


def _is_intact(path: Path) -> bool:
    """Whether a file ends with the checksum of what precedes it."""
    checksum = _new_checksum(path)
    buffer = memoryview(bytearray(CHUNK))
    with path.open("rb", buffering=0) as file:
        rest = os.fstat(file.fileno()).st_size - len(MAGIC) - checksum.digest_size
        while rest > 0 and (count := file.readinto(buffer[:rest])):
            checksum.update(buffer[:count])
            rest -= count
        return rest == 0 and file.read(2**10) == MAGIC + checksum.digest()


def _new_checksum(path: Path) -> hashlib._Hash:
    """A checksum that starts with the file's name, so that a file that was exchanged for another is not accepted."""
    return hashlib.sha256(os.fsencode(f"{path.parent.name}/{path.name}\0"))


def _write(path: Path, shape: tuple[int, ...], dtype: type[np.generic], blocks: Iterable[NDArray[Any]]) -> None:
    """Writes blocks without a memory map, so that a full disk raises OSError and does not crash the process."""
    import numpy as np

    header = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, description)
    checksum = _new_checksum(path)
    with whole_file(path) as file:
        for part in chain([header.getbuffer()], (np.ascontiguousarray(block, dtype=dtype).data for block in blocks)):
            checksum.update(part)
            file.write(part)
        file.write(MAGIC + checksum.digest())


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
