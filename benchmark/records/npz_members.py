"""Single arrays of large .npz files: found by group, read one by one, copied as they are stored, and written one by one.

zipfile keeps 600 bytes for every array and spends 50 microseconds on it. The outcomes of 10,000 records are 500,000 arrays.
Here, an array is named `group|rest`; of each group only the place in the file's directory is kept. The written file is the
same as that of `numpy.savez_compressed`, byte for byte.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from benchmark.records.number_arrays import ARRAY_BYTES, SUFFIX, array_of

LOCAL = struct.Struct("<4sHHHHHLLLHH")
"""Header of a file: signature, version, flags, method, time, date, crc, stored size, size, lengths of name and extra."""
LOCAL_SIGNATURE = b"PK\x03\x04"
ENTRY = struct.Struct("<4s4B4H3L5H2L")
"""Entry of the directory: signature, versions and system (4 fields), flags, method, time, date, crc, stored size, size,
lengths of name, extra and comment, disk, attributes (2 fields), offset."""
ENTRY_SIGNATURE = b"PK\x01\x02"
SIZES_64 = struct.Struct("<HHQQ")
"""Extra field of a file: both sizes with 64 bits, as numpy writes them."""
END = struct.Struct("<4sHHHHLLH")
END_SIGNATURE = b"PK\x05\x06"
END_64 = struct.Struct("<4sQHHLLQQQQ")
END_64_SIGNATURE = b"PK\x06\x06"
LOCATOR_64 = struct.Struct("<4sLQL")
LOCATOR_64_SIGNATURE = b"PK\x06\x07"
MAX_32, MAX_16 = 2**32 - 1, 2**16 - 1
LIMIT_32 = 2**31 - 1
"""Offset from which zipfile writes 64 bits."""
VERSION, UNIX = 45, 3
UTF_8 = 0x800
"""Flag: the name is UTF-8."""
DATE = 1 << 5 | 1
"""1980-01-01, the date that numpy writes."""
MODE = 0o600 << 16
STORED, DEFLATED = 0, 8


@dataclass(frozen=True, kw_only=True)
class Member:
    """An array as a file stores it."""

    name: str
    """Of the array, without `.npy`."""
    crc: int
    stored_size: int
    """Bytes in the file."""
    size: int
    """Bytes when unpacked, with the header of the array."""
    offset: int
    """Start of its local header."""
    method: int
    """STORED or DEFLATED."""


def group_of(name: str) -> str:
    """The group of an array: its name up to the first bar, with the bar; all of the name if there is none."""
    head, bar, _ = name.partition("|")
    return head + bar


# --- reading ----------------------------------------------------------------------------------------------------------


class NpzReader:
    """The arrays of an .npz file.

    Args:
        stream: the file, open as long as arrays are read.

    Raises:
        ValueError, struct.error, OSError: the file is damaged. This holds for all methods.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._directory, self._count = _read_directory(stream)
        self._runs = self._find_groups()

    @property
    def groups(self) -> list[str]:
        """All groups, in the order in which they occur first."""
        return list(self._runs)

    def members(self, group: str) -> list[Member]:
        """The arrays of a group; empty if there is no such group.

        Raises:
            ValueError: an array occurs twice or is too large.
        """
        members = [member for start, end in self._runs.get(group, ()) for member, _ in self._entries(start, end)]
        if len({member.name for member in members}) < len(members):
            raise ValueError(f"it holds an array of '{group}' twice")
        return members

    def packed(self, member: Member) -> bytes:
        """An array as it is stored."""
        self._stream.seek(member.offset)
        header = LOCAL.unpack(self._stream.read(LOCAL.size))
        if header[0] != LOCAL_SIGNATURE:
            raise ValueError(f"'{member.name}' is not where the directory says")
        name = self._stream.read(header[9])
        if name.decode(errors="replace") != member.name + SUFFIX:
            raise ValueError(f"the directory names '{member.name}' where the file has another array")
        self._stream.seek(header[10], io.SEEK_CUR)
        packed = self._stream.read(member.stored_size)
        if len(packed) < member.stored_size:
            raise ValueError(f"'{member.name}' is cut off")
        return packed

    def read(self, member: Member) -> NDArray[Any]:
        """An array."""
        return array_of(unpacked(member, self.packed(member)), member.name)

    def _find_groups(self) -> dict[str, list[tuple[int, int]]]:
        """Group -> parts of the directory with its entries. The entries of a group are usually next to each other."""
        runs: dict[str, list[tuple[int, int]]] = {}
        group, start, position = None, 0, 0
        directory, size = self._directory, ENTRY.size
        for _ in range(self._count):
            entry = ENTRY.unpack_from(directory, position)
            name_end = position + size + entry[12]
            if entry[0] != ENTRY_SIGNATURE or name_end > len(directory):
                raise ValueError("its directory is damaged")
            head, bar, _ = directory[position + size : name_end].partition(b"|")
            this = head + bar if bar else head.removesuffix(SUFFIX.encode())
            if this != group:
                if group is not None:
                    runs.setdefault(group.decode(), []).append((start, position))
                group, start = this, position
            position = name_end + entry[13] + entry[14]
        if group is not None:
            runs.setdefault(group.decode(), []).append((start, position))
        return runs

    def _entries(self, position: int, end: int) -> Iterator[tuple[Member, int]]:
        """The entries of a part of the directory, each with the place of the next."""
        while position < end:
            entry = ENTRY.unpack_from(self._directory, position)
            flags, method, _, _, crc, stored, size, name_size, extra_size, comment_size = entry[5:15]
            name_start = position + ENTRY.size
            extra_start = name_start + name_size
            name = self._directory[name_start:extra_start].decode("utf-8" if flags & UTF_8 else "cp437")
            extra = self._directory[extra_start : extra_start + extra_size]
            size, stored, offset = _sizes_64(extra, size, stored, entry[18])
            position = extra_start + extra_size + comment_size
            yield _member(name, crc, stored, size, offset, method), position


def _member(name: str, crc: int, stored: int, size: int, offset: int, method: int) -> Member:
    if not name.endswith(SUFFIX):
        raise ValueError(f"'{name}' is not an array")
    if size > ARRAY_BYTES or stored > ARRAY_BYTES:
        raise ValueError(f"the array '{name}' has {size:,} bytes, more than the {ARRAY_BYTES:,} that are read")
    if method not in (STORED, DEFLATED):
        raise ValueError(f"'{name}' is packed in an unknown way")
    short = name.removesuffix(SUFFIX)
    return Member(name=short, crc=crc, stored_size=stored, size=size, offset=offset, method=method)


def unpacked(member: Member, packed: bytes) -> bytes:
    """The contents of an array's file.

    Raises:
        ValueError: they are not those that were packed.
    """
    contents = packed
    if member.method == DEFLATED:
        try:
            contents = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, member.size + 1)
        except zlib.error as error:
            raise ValueError(f"'{member.name}' is damaged: {error}") from error
    if len(contents) != member.size or zlib.crc32(contents) != member.crc:
        raise ValueError(f"'{member.name}' is damaged: its checksum does not match")
    return contents


def _read_directory(stream: BinaryIO) -> tuple[bytes, int]:
    """The directory of a zip file, and the number of its entries."""
    length = stream.seek(0, io.SEEK_END)
    tail_start = max(0, length - END.size - MAX_16)
    stream.seek(tail_start)
    tail = stream.read()
    place = tail.rfind(END_SIGNATURE)
    if place < 0:
        raise ValueError("it is not an .npz file")
    count, size, offset = END.unpack_from(tail, place)[4:7]
    if place >= LOCATOR_64.size and tail[place - LOCATOR_64.size :].startswith(LOCATOR_64_SIGNATURE):
        stream.seek(LOCATOR_64.unpack_from(tail, place - LOCATOR_64.size)[2])
        end = END_64.unpack(stream.read(END_64.size))
        if end[0] != END_64_SIGNATURE:
            raise ValueError("its directory is damaged")
        count, size, offset = end[-3:]
    if offset + size > tail_start + place:
        raise ValueError("its directory is damaged")
    stream.seek(offset)
    return stream.read(size), count


def _sizes_64(extra: bytes, *values: int) -> Iterator[int]:
    """Size, stored size and offset; those that need 64 bits are in the extra field, in this order."""
    wide: Iterator[int] = iter(())
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{length // 8}Q", extra, 4))
        extra = extra[4 + length :]
    for value in values:
        number = next(wide, None) if value == MAX_32 else value
        if number is None:
            raise ValueError("its directory is damaged")
        yield number


# --- writing ----------------------------------------------------------------------------------------------------------


class NpzWriter:
    """Writes an .npz file array by array.

    Args:
        stream: the file, empty.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
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
        encoded = (member.name + SUFFIX).encode()
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

    def close(self) -> None:
        """Writes the directory. The file is not closed."""
        start, size, count = self._offset, len(self._directory), self._count
        self._stream.write(self._directory)
        if count > MAX_16 or start > LIMIT_32 or size > LIMIT_32:
            end = (END_64.size - 12, VERSION, VERSION, 0, 0, count, count, size, start)
            self._stream.write(END_64.pack(END_64_SIGNATURE, *end))
            self._stream.write(LOCATOR_64.pack(LOCATOR_64_SIGNATURE, 0, start + size, 1))
            count, size, start = min(count, MAX_16), min(size, MAX_32), min(start, MAX_32)
        self._stream.write(END.pack(END_SIGNATURE, 0, 0, count, count, size, start, 0))


def _npy_header(array: NDArray[Any]) -> bytes:
    return _header(array.dtype, array.shape)


@functools.lru_cache(maxsize=256)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The header of an array's file. Arrays of one kind have equal headers."""
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, npy.header_data_from_array_1_0(np.empty(shape, dtype)))
    return stream.getvalue()
