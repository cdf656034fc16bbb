"""Parameters of `pretrained`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class PretrainedParams:
    """The weights file, and the keys that are loaded from it."""

    path: str = field(default="", metadata={"help": "weights file: .safetensors, or a state dict in .pt or .pth"})
    """Path of the file, relative to the current folder. A cell's identity contains the file's checksum, not its path."""
    prefix: str = field(default="", metadata={"help": "load only keys with this prefix and strip it, e.g. module."})
    """Keys with another prefix belong to other modules of the file and are ignored."""
    drop: tuple[str, ...] = field(default=(), metadata={"help": "keys to ignore: those that start with this, e.g. fc."})
    """Compared after `prefix` is stripped; for heads that the encoder does not have. Several: `fc.;head.`."""
