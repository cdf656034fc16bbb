"""Cached arrays: `bench_images.cache`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bench_images import cache
from benchmark import DataError


def test_incomplete_file_never_appears(tmp_path: Path) -> None:
    def blocks() -> Iterator[np.ndarray]:
        yield np.arange(2)
        raise DataError("the rest is damaged")

    with pytest.raises(DataError):
        cache.stored_array(tmp_path / "array.npy", (4,), np.int64, blocks)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00", b"no array at all"])
def test_damaged_array_is_computed_again(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "array.npy"
    path.write_bytes(damage)
    array = cache.stored_array(path, (4,), np.int64, lambda: [np.arange(3), np.array([3])])
    assert array.tolist() == np.load(path).tolist() == [0, 1, 2, 3]


def test_truncated_array_or_other_shape_is_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    np.save(path, np.zeros(9))
    assert cache.stored_array(path, (4,), np.int64, lambda: [np.arange(4)]).tolist() == [0, 1, 2, 3]
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.stored_array(path, (4,), np.int64, lambda: [np.arange(4)]).tolist() == [0, 1, 2, 3]


def test_two_writers_leave_one_complete_array(tmp_path: Path) -> None:
    both_are_writing = threading.Barrier(2, timeout=10)

    def blocks() -> Iterator[np.ndarray]:
        yield np.arange(2)
        both_are_writing.wait()
        yield np.arange(2, 4)

    with ThreadPoolExecutor(2) as pool:
        arrays = list(
            pool.map(lambda _: cache.stored_array(tmp_path / "a.npy", (4,), np.int64, blocks).tolist(), range(2))
        )
    assert arrays == [[0, 1, 2, 3]] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_writing_to_a_mapped_array_does_not_change_the_file(tmp_path: Path) -> None:
    array = cache.stored_array(tmp_path / "a.npy", (4,), np.int64, lambda: [np.arange(4)])
    array[0] = 7
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2, 3]
