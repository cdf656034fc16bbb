"""Arrays of numbers: from the contents of a .npy file, and their checksums."""

from __future__ import annotations

import functools
import hashlib
import io
import math
import tokenize
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
NUMBERS = "biuf"
"""Kinds of dtype that are read: bool, integers, floats. Text and objects are refused."""
HEADER_DAMAGE = (ValueError, SyntaxError, TypeError, LookupError, RuntimeError, MemoryError, tokenize.TokenError)
"""What numpy raises for damaged headers."""


def digest_of(array: NDArray[Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of an array's dtype, shape and values."""
    array = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()[:16]


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
    try:
        shape, fortran, dtype = read(stream)
    except HEADER_DAMAGE as error:
        raise ValueError("its header does not describe an array") from error
    if dtype.kind not in NUMBERS or any(size < 0 for size in shape):
        raise ValueError(f"an array of {dtype} with shape {shape} instead of numbers")
    return dtype, shape, fortran
