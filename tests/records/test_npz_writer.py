"""Single arrays of .npz files: written, copied and read."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from benchmark.records.npz_reader import DAMAGE, NpzReader
from benchmark.records.npz_writer import NpzWriter
from benchmark.records.number_arrays import Arrays


def _arrays(count: int) -> Arrays:
    generator = np.random.default_rng(0)
    kinds = (np.uint8, np.float16, np.float64, np.int32, np.bool_)
    return {
        f"{number // 7:016x}|é{number}|x": (generator.random((number % 5, 3)) * 9).astype(kinds[number % 5])
        for number in range(count)
    }


def _written(arrays: Arrays) -> io.BytesIO:
    stream = io.BytesIO()
    writer = NpzWriter(stream)
    for name, array in arrays.items():
        writer.write(name, array)
    writer.close()
    return stream


@pytest.mark.parametrize("count", [0, 1, 50, pytest.param(2**16 + 10, marks=pytest.mark.slow)])
def test_written_file_is_that_of_numpy(count: int) -> None:
    arrays, expected = _arrays(count), io.BytesIO()
    np.savez_compressed(expected, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
    assert _written(arrays).getvalue() == expected.getvalue()


def test_copied_file_is_equal() -> None:
    original, copy = _written(_arrays(50)), io.BytesIO()
    reader, writer = NpzReader(original), NpzWriter(copy)
    for group in reader.groups:
        for member in reader.members(group):
            writer.copy(member, reader.packed(member))
    writer.close()
    assert copy.getvalue() == original.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_reader_finds_the_arrays_of_each_group(method: int) -> None:
    arrays, stream = _arrays(20), io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name in sorted(arrays, key=lambda name: name[::-1]):  # the arrays of a group are not next to each other
            body = io.BytesIO()
            np.save(body, arrays[name])
            file.writestr(f"{name}.npy", body.getvalue())
    reader = NpzReader(stream)
    assert sorted(reader.groups) == sorted({name[:17] for name in arrays})
    read = {each.name: reader.read(each) for group in reader.groups for each in reader.members(group)}
    assert {name: array.tolist() for name, array in read.items()} == {
        name: each.tolist() for name, each in arrays.items()
    }
    assert [set(reader.positions(group)) for group in reader.groups] == [
        {each.name for each in reader.members(group)} for group in reader.groups
    ]
    assert not reader.members("other|")


def test_each_flipped_byte_is_noticed_or_changes_no_array() -> None:
    """Zip files hold fields that no reader needs."""
    arrays = _arrays(9)
    content = _written(arrays).getvalue()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        try:
            reader = NpzReader(io.BytesIO(bytes(damaged)))
            read = {each.name: reader.read(each) for group in reader.groups for each in reader.members(group)}
        except DAMAGE:
            continue
        wrong = [name for name in read if name in arrays and read[name].tobytes() != arrays[name].tobytes()]
        assert not wrong, position
