"""Reads .npz files: arrays of numbers only, whose sizes are checked before memory is allocated."""

from __future__ import annotations

import functools
import hashlib
import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from benchmark.errors import RecordError
from benchmark.records.stored_file import open_regular

Arrays = dict[str, NDArray[Any]]
FILE_BYTES = 2**36
"""Largest .npz file that is read: 64 GiB."""
ARRAY_BYTES = 2**30
"""Largest array that is read: 1 GiB. A few compressed kilobytes may claim more than the memory holds."""
NUMBERS = "biuf"
"""Kinds of dtype that are read: bool, integers, floats. Text and objects are refused."""
SUFFIX = ".npy"
DAMAGE = (
    *(OSError, ValueError, EOFError, KeyError, IndexError, TypeError, SyntaxError, RuntimeError, MemoryError),
    *(NotImplementedError, OverflowError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What numpy and zipfile raise for damaged files."""


def read_arrays(path: Path, remedy: str, names: Collection[str] | None = None) -> Arrays:
    """The arrays of an .npz file.

    Args:
        path: of the file.
        remedy: what to do if it is damaged, for the message.
        names: arrays to read, those that exist; None: all.

    Raises:
        RecordError: the file is missing or damaged, an array holds no numbers, or its header claims another size than the
            file has.
    """
    try:
        with open_regular(path, FILE_BYTES) as stream, zipfile.ZipFile(stream) as file:
            members = _members(file)
            return {name: _read(file, info) for name, info in members.items() if names is None or name in names}
    except RecordError as error:
        raise RecordError(f"{error}; {remedy}") from error
    except DAMAGE as error:
        raise RecordError(f"cannot read {path} ({_reason(error)}); {remedy}") from error


def digest_of(array: NDArray[Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of an array's dtype, shape and values."""
    array = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()[:16]


def _members(file: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for info in file.infolist():
        name = info.filename.removesuffix(SUFFIX)
        if name == info.filename:
            raise ValueError(f"'{info.filename}' is not an array")
        if name in members:
            raise ValueError(f"it holds the array '{name}' twice")
        if info.file_size > ARRAY_BYTES:
            raise ValueError(
                f"the array '{name}' has {info.file_size:,} bytes, more than the {ARRAY_BYTES:,} that are read"
            )
        members[name] = info
    return members


def _read(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with file.open(info) as stream:
        header = _header_bytes(stream)
        dtype, shape, fortran = _parse(header)
        claimed, stored = math.prod(shape) * dtype.itemsize, info.file_size - len(header)
        if claimed != stored:
            raise ValueError(f"the header of '{info.filename}' claims {claimed} bytes, the file holds {stored}")
        array = np.frombuffer(bytearray(stream.read()), dtype)
    return array.reshape(shape, order="F" if fortran else "C")


def array_of(contents: bytes, name: str) -> NDArray[Any]:
    """An array from the contents of its .npy file.

    Args:
        contents: of the whole file.
        name: of the array, for messages.

    Raises:
        ValueError: it holds no numbers, or its header claims another size.
    """
    header = _header_bytes(io.BytesIO(contents))
    dtype, shape, fortran = _parse(header)
    claimed, stored = math.prod(shape) * dtype.itemsize, len(contents) - len(header)
    if claimed != stored:
        raise ValueError(f"the header of '{name}' claims {claimed} bytes, the file holds {stored}")
    return np.frombuffer(bytearray(contents[len(header) :]), dtype).reshape(shape, order="F" if fortran else "C")


def _header_bytes(stream: IO[bytes]) -> bytes:
    start = stream.read(8)
    width = {1: 2, 2: 4}.get(start[6], 0) if len(start) == 8 else 0
    if not start.startswith(npy.MAGIC_PREFIX) or not width:
        raise ValueError("it is no array of a known version")
    length = stream.read(width)
    return start + length + stream.read(min(int.from_bytes(length, "little"), 2**16))


@functools.lru_cache(maxsize=256)
def _parse(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """dtype, shape and whether the order is Fortran's. Arrays of one kind have equal headers."""
    stream = io.BytesIO(header)
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.kind not in NUMBERS or any(size < 0 for size in shape):
        raise ValueError(f"an array of {dtype} with shape {shape} instead of numbers")
    return dtype, shape, fortran


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
