"""What `pretrained` can be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class PretrainedParams:
    """Which weights to load, and which of their keys."""

    path: str = field(default="", metadata={"help": "weights file: .safetensors, or a state dict in .pt or .pth"})
    """Where the file lies, relative to the current folder. Not part of a cell's identity: the file's checksum is."""
    prefix: str = field(default="", metadata={"help": "read only keys that begin so, without it: module. or backbone."})
    """Keys that begin otherwise belong to other modules of the file and are left aside."""
    drop: tuple[str, ...] = field(default=(), metadata={"help": "leave out keys that begin so, after the prefix: fc."})
    """For heads that the encoder does not have; several are written `fc.;head.`."""
