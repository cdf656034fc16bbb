"""Cached arrays: `bench_images.cache`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
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


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "zeroed payload": lambda content: content[:128] + bytes(len(content) - 176) + content[-48:],
    "flipped bit": lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
    "flipped bit of the header": lambda content: content[:126] + bytes([content[126] ^ 1]) + content[127:],
    "unclosed bracket in the header": lambda content: content.replace(b"}", b"(", 1),
    "truncated": lambda content: content[:-1],
    "longer": lambda content: content + b"0",
    "without a checksum": lambda content: content[:-48],
    "other type of the same size": lambda content: content.replace(b"'<i8'", b"'<f8'"),
    "other order": lambda content: content.replace(b"'fortran_order': False", b"'fortran_order': True "),
    "header of 10 TB": lambda content: content.replace(b"(40,)", b"(9999999999999,)"),
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_payload_is_computed_again_with_a_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    path = tmp_path / "array.npy"
    array = np.arange(40)
    cache.stored_array(path, (40,), np.int64, lambda: [array])
    intact = path.read_bytes()
    path.write_bytes(DAMAGES[damage](intact))
    assert path.read_bytes() != intact
    assert cache.stored_array(path, (40,), np.int64, lambda: [array]).tolist() == array.tolist()
    assert path.read_bytes() == intact
    assert "is damaged or has no valid checksum: it is computed again" in caplog.text


def test_intact_array_is_not_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> list[np.ndarray]:
        raise AssertionError

    first = cache.stored_array(tmp_path / "a.npy", (4, 2), np.uint8, lambda: [np.ones((4, 2))])
    assert np.array_equal(cache.stored_array(tmp_path / "a.npy", (4, 2), np.uint8, refuse), first)
    assert caplog.text == ""


def test_exchanged_arrays_are_not_used(tmp_path: Path) -> None:
    paths = [tmp_path / folder / name for folder in ("one", "two") for name in ("a.npy", "b.npy")]
    for number, path in enumerate(paths):
        cache.stored_array(path, (4,), np.int64, lambda number=number: [np.full(4, number)])  # type: ignore[misc]
    for other in paths[1:]:
        paths[0].write_bytes(other.read_bytes())
        assert cache.stored_array(paths[0], (4,), np.int64, lambda: [np.full(4, 0)]).tolist() == [0] * 4


def test_what_is_no_file_is_replaced_or_left(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "link.npy").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.npy").mkdir()
    for name in ("pipe", "link", "folder"):
        for _ in range(2):
            array = cache.stored_array(tmp_path / f"{name}.npy", (4,), np.int64, lambda: [np.arange(4)])
            assert array.tolist() == [0, 1, 2, 3]
    assert (tmp_path / "folder.npy").is_dir()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"key": "a"}', b'{"key": "a", "value": 2, "sha256": ""}']
)
def test_damaged_value_is_computed_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(content)
    assert cache.stored_json(path, "a", lambda: 1) == 1
    assert cache.stored_json(path, "a", lambda: 3) == 1
    assert cache.stored_json(path, "b", lambda: 4) == 4


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
