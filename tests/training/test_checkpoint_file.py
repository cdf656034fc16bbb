"""The file of a checkpoint: its state comes back exactly, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.training.checkpoint_file import read_state, write_state

CPU = torch.device("cpu")


def read_or_none(path: Path, body: bytes) -> dict[str, Any] | None:
    """The state of a file with this content; None if it is refused."""
    path.write_bytes(body)
    try:
        return read_state(path, CPU)
    except Exception:  # torch raises many kinds of errors
        return None


def test_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = {"key": "a", "step": 3, "weights": torch.arange(6.0).view(2, 3), "curve": [(1, 0.5, {"total": 2.0})]}
    write_state(tmp_path / "state.pt", state)
    read = read_state(tmp_path / "state.pt", CPU)
    assert torch.equal(read.pop("weights"), state["weights"])
    assert read == {"key": "a", "step": 3, "curve": [(1, 0.5, {"total": 2.0})]}


def test_state_with_any_flipped_bit_is_refused_or_equal(tmp_path: Path) -> None:
    """One bit of every third byte. A bit of the mark leaves the checksums of the ZIP file."""
    path = tmp_path / "state.pt"
    write_state(path, {"weights": torch.tensor([1.0, 2.0])})
    body = path.read_bytes()
    read = []
    for position in range(0, len(body), 3):
        flipped = bytearray(body)
        flipped[position] ^= 1 << position % 8
        state = read_or_none(path, bytes(flipped))
        if state is not None:
            read.append(position)
            assert state["weights"].tolist() == [1.0, 2.0]
    assert set(read) <= set(range(len(body) - 48, len(body) - 32))


def test_state_of_two_files_is_refused(tmp_path: Path) -> None:
    path, bodies = tmp_path / "state.pt", []
    for value in (1.0, 2.0):
        write_state(path, {"weights": torch.full((1000,), value)})
        bodies.append(path.read_bytes())
    assert read_or_none(path, bodies[0][:1500] + bodies[1][1500:]) is None
    assert read_or_none(path, bodies[0][:-20]) is not None  # only the checksum is cut off
    assert read_or_none(path, bodies[0][:-60]) is None


@pytest.mark.parametrize("flip", [False, True])
def test_file_of_an_earlier_version_has_the_checksums_of_its_zip_file(tmp_path: Path, flip: bool) -> None:
    path, weights = tmp_path / "state.pt", torch.arange(1000.0)
    torch.save({"weights": weights}, path)
    body = bytearray(path.read_bytes())
    body[body.index(weights.numpy().tobytes()) + 100] ^= int(flip)
    assert (read_or_none(path, bytes(body)) is None) == flip
