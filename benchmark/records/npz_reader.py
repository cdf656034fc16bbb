"""Reads .npz files: arrays of numbers only, whose sizes are checked before memory is allocated; all, or single ones.

zipfile keeps 600 bytes for every array and spends 100 microseconds on it. The outcomes of 10,000 records are 500,000 arrays.
Here, an array is named `group|rest`, and of each group only the place in the file's directory is kept.
"""

from __future__ import annotations

import io
import os
import struct
import tokenize
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from numpy.typing import NDArray

from benchmark.errors import RecordError
from benchmark.records.number_arrays import Arrays, array_of
from benchmark.records.stored_file import open_regular

FILE_BYTES = 2**36
"""Largest .npz file that is read: 64 GiB."""
ARRAY_BYTES = 2**30
"""Largest array that is read: 1 GiB. A few compressed kilobytes may claim more than the memory holds."""
SMALL = 2**24
"""Bytes of a file that is read with one call instead of one for each array."""
SUFFIX = ".npy"
DAMAGE = (
    *(OSError, ValueError, EOFError, KeyError, IndexError, TypeError, SyntaxError, RuntimeError, MemoryError),
    *(NotImplementedError, OverflowError, struct.error, tokenize.TokenError, zlib.error),
)
"""What is raised for damaged files."""
LOCAL = struct.Struct("<4sHHHHHLLLHH")
"""Header of a file: signature, version, flags, method, time, date, crc, stored size, size, lengths of name and extra."""
LOCAL_SIGNATURE = b"PK\x03\x04"
ENTRY = struct.Struct("<4s4B4H3L5H2L")
"""Entry of the directory: signature, versions and system (4 fields), flags, method, time, date, crc, stored size, size,
lengths of name, extra and comment, disk, attributes (2 fields), offset."""
NAME = struct.Struct("<8xH18x3H")
"""Of an entry: flags, and the lengths of name, extra and comment."""
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
UTF_8 = 0x800
"""Flag: the name is UTF-8."""
STORED, DEFLATED = 0, 8


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
        with open_regular(path, FILE_BYTES) as stream:
            small = os.fstat(stream.fileno()).st_size <= SMALL
            reader = NpzReader(io.BytesIO(stream.read()) if small else stream)
            positions = {name: at for group in reader.groups for name, at in reader.positions(group).items()}
            chosen = positions if names is None else [name for name in positions if name in names]
            return {name: reader.read(reader.member(positions[name])) for name in chosen}
    except RecordError as error:
        raise RecordError(f"{error}; {remedy}") from error
    except FileNotFoundError:
        raise RecordError(f"cannot read {path}: there is no such file; {remedy}") from None
    except DAMAGE as error:
        raise RecordError(f"cannot read {path} ({_reason(error)}); {remedy}") from error


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class Member(NamedTuple):
    """An array as a file stores it."""

    encoded_name: bytes
    """Name of the array's file."""
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

    def positions(self, group: str) -> dict[str, int]:
        """The names of the arrays of a group, with the positions of their entries; empty if there is no such group.

        Raises:
            ValueError: an array occurs twice.
        """
        positions: dict[str, int] = {}
        for position, end in self._runs.get(group, ()):
            while position < end:
                flags, name_size, extra_size, comment_size = NAME.unpack_from(self._directory, position)
                start = position + ENTRY.size
                encoded = self._directory[start : start + name_size]
                name = encoded.decode("utf-8" if flags & UTF_8 else "cp437").removesuffix(SUFFIX)
                if name in positions:
                    raise ValueError(f"it holds the array '{name}' twice")
                positions[name] = position
                position = start + name_size + extra_size + comment_size
        return positions

    def members(self, group: str) -> list[Member]:
        """The arrays of a group; empty if there is no such group.

        Raises:
            ValueError: an array occurs twice or is too large.
        """
        return [self.member(position) for position in self.positions(group).values()]

    def member(self, position: int) -> Member:
        """The array with an entry at a position.

        Raises:
            ValueError: the array is too large.
        """
        entry = ENTRY.unpack_from(self._directory, position)
        flags, method, _, _, crc, stored, size, name_size, extra_size, _ = entry[5:15]
        name_start = position + ENTRY.size
        extra_start = name_start + name_size
        encoded = self._directory[name_start:extra_start]
        name = encoded.decode("utf-8" if flags & UTF_8 else "cp437")
        offset = entry[18]
        if MAX_32 in (size, stored, offset):
            extra = self._directory[extra_start : extra_start + extra_size]
            size, stored, offset = _sizes_64(extra, size, stored, offset)
        return _member(encoded, name, crc, stored, size, offset, method)

    def packed(self, member: Member) -> bytes:
        """An array as it is stored."""
        self._stream.seek(member.offset)
        usual = LOCAL.size + len(member.encoded_name) + SIZES_64.size + member.stored_size
        content = self._stream.read(usual)  # one call, if the header has its usual length
        header = LOCAL.unpack_from(content)
        start = LOCAL.size + header[9] + header[10]
        if header[0] != LOCAL_SIGNATURE or content[LOCAL.size : LOCAL.size + header[9]] != member.encoded_name:
            raise ValueError(f"'{member.name}' is not where the directory says")
        missing = start + member.stored_size - len(content)
        packed = (content + self._stream.read(missing) if missing > 0 else content)[start : start + member.stored_size]
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


def _member(encoded: bytes, name: str, crc: int, stored: int, size: int, offset: int, method: int) -> Member:
    if not name.endswith(SUFFIX):
        raise ValueError(f"'{name}' is not an array")
    if size > ARRAY_BYTES or stored > ARRAY_BYTES:
        raise ValueError(f"the array '{name}' has {size:,} bytes, more than the {ARRAY_BYTES:,} that are read")
    if method not in (STORED, DEFLATED):
        raise ValueError(f"'{name}' is packed in an unknown way")
    short = name.removesuffix(SUFFIX)
    return Member(
        encoded_name=encoded, name=short, crc=crc, stored_size=stored, size=size, offset=offset, method=method
    )


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
    end_start = tail.rfind(END_SIGNATURE)
    if end_start < 0:
        raise ValueError("it is not an .npz file")
    count, size, offset, comment = END.unpack_from(tail, end_start)[4:]
    if tail_start + end_start + END.size + comment != length:
        raise ValueError("it is cut off, or something was appended")
    if end_start >= LOCATOR_64.size and tail[end_start - LOCATOR_64.size :].startswith(LOCATOR_64_SIGNATURE):
        stream.seek(LOCATOR_64.unpack_from(tail, end_start - LOCATOR_64.size)[2])
        end = END_64.unpack(stream.read(END_64.size))
        if end[0] != END_64_SIGNATURE:
            raise ValueError("its directory is damaged")
        count, size, offset = end[-3:]
    if offset + size > tail_start + end_start:
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
