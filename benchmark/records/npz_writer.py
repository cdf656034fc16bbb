"""Writes .npz files array by array, byte for byte like `numpy.savez_compressed`. Arrays of other files are copied packed."""

from __future__ import annotations

import functools
import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from benchmark.records.npz_reader import (
    DEFLATED,
    END,
    END_64,
    END_64_SIGNATURE,
    END_SIGNATURE,
    ENTRY,
    ENTRY_SIGNATURE,
    LOCAL,
    LOCAL_SIGNATURE,
    LOCATOR_64,
    LOCATOR_64_SIGNATURE,
    MAX_16,
    MAX_32,
    SIZES_64,
    SUFFIX,
    UTF_8,
    Member,
)

LIMIT_32 = 2**31 - 1
"""Offset from which zipfile writes 64 bits."""
VERSION, UNIX = 45, 3
DATE = 1 << 5 | 1
"""1980-01-01, the date that numpy writes."""
MODE = 0o600 << 16


class NpzWriter:
    """Writes an .npz file array by array.

    Args:
        stream: the file, empty.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = HashedStream(stream)
        self._offset = 0
        self._directory = bytearray()
        self._count = 0

    def write(self, name: str, array: NDArray[Any]) -> None:
        """Writes an array, compressed."""
        header, values = _npy_header(array), array.tobytes()
        compressor = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = compressor.compress(header) + compressor.compress(values) + compressor.flush()
        self.copy(
            Member(
                encoded_name=(name + SUFFIX).encode(),
                name=name,
                crc=zlib.crc32(values, zlib.crc32(header)),
                stored_size=len(packed),
                size=len(header) + len(values),
                offset=0,
                method=DEFLATED,
            ),
            packed,
        )

    def copy(self, member: Member, packed: bytes) -> None:
        """Writes an array as another file stores it."""
        encoded = member.encoded_name
        flags = 0 if encoded.isascii() else UTF_8
        sizes = SIZES_64.pack(1, SIZES_64.size - 4, member.size, member.stored_size)
        common = (flags, member.method, 0, DATE, member.crc)
        self._stream.write(
            LOCAL.pack(LOCAL_SIGNATURE, VERSION, *common, MAX_32, MAX_32, len(encoded), len(sizes)) + encoded + sizes
        )
        self._stream.write(packed)
        self._add_entry(member, encoded, common)
        self._offset += LOCAL.size + len(encoded) + len(sizes) + len(packed)

    def _add_entry(self, member: Member, encoded: bytes, common: tuple[int, ...]) -> None:
        wide = self._offset > LIMIT_32
        extra = struct.pack("<HHQ", 1, 8, self._offset) if wide else b""
        lengths = (len(encoded), len(extra), 0)
        versions = (VERSION, UNIX, VERSION, 0)
        self._directory += ENTRY.pack(
            *(ENTRY_SIGNATURE, *versions, *common, member.stored_size, member.size, *lengths),
            *(0, 0, MODE, MAX_32 if wide else self._offset),  # disk, attributes, offset
        )
        self._directory += encoded + extra
        self._count += 1

    def close(self, seal: Callable[[bytes], bytes] | None = None) -> None:
        """Writes the directory. The file is not closed.

        Args:
            seal: (SHA-256 of all that was written) -> comment at the end of the file; None: no comment.
        """
        start, size, count = self._offset, len(self._directory), self._count
        self._stream.write(self._directory)
        if count > MAX_16 or start > LIMIT_32 or size > LIMIT_32:
            end = (END_64.size - 12, VERSION, VERSION, 0, 0, count, count, size, start)
            self._stream.write(END_64.pack(END_64_SIGNATURE, *end))
            self._stream.write(LOCATOR_64.pack(LOCATOR_64_SIGNATURE, 0, start + size, 1))
            count, size, start = min(count, MAX_16), min(size, MAX_32), min(start, MAX_32)
        comment = seal(self._stream.digest()) if seal else b""
        self._stream.write(END.pack(END_SIGNATURE, 0, 0, count, count, size, start, len(comment)) + comment)


class HashedStream:
    """Writes to a file, and computes the SHA-256 of what was written.

    Args:
        stream: the file.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes | bytearray) -> None:
        """Writes and counts bytes."""
        self._stream.write(data)
        self._sha256.update(data)

    def digest(self) -> bytes:
        """SHA-256 of what was written so far."""
        return self._sha256.digest()


def _npy_header(array: NDArray[Any]) -> bytes:
    return _header(array.dtype, array.shape)


@functools.lru_cache(maxsize=256)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The header of an array's file. Arrays of one kind have equal headers."""
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, npy.header_data_from_array_1_0(np.empty(shape, dtype)))
    return stream.getvalue()
