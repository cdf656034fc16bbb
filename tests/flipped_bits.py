"""Files with one flipped bit."""

from __future__ import annotations

from pathlib import Path


def flip_bit(path: Path, offset: int = -1) -> None:
    """Flips one bit of a file; by default the last byte's, which belongs to the last weight of a .safetensors file."""
    body = bytearray(path.read_bytes())
    body[offset] ^= 0x40
    path.write_bytes(body)
