"""The weights file of `pretrained`: its path and its identity, without torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import benchmark
from bench_bounds.parameters import PretrainedParams

SUFFIXES = (".safetensors", ".pt", ".pth")


def weights_path(params: PretrainedParams) -> Path:
    """The path of the weights file, checked.

    Raises:
        UsageError: no path, the file does not exist, or its suffix is of another format.
    """
    example = "use 'pretrained[path=weights.safetensors]'"
    if not params.path:
        raise benchmark.UsageError(f"method 'pretrained' needs a weights file; {example}")
    path = Path(params.path).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise benchmark.UsageError(
            f"method 'pretrained': '{path}' has the suffix '{path.suffix}'; supported: {', '.join(SUFFIXES)}. "
            "Save the encoder's state_dict() in one of these formats"
        )
    if not path.is_file():
        raise benchmark.UsageError(f"method 'pretrained': no file '{path}' in '{Path.cwd()}'; {example}")
    return path


def identity(params: PretrainedParams) -> dict[str, object]:
    """The identity of the weights: the file's SHA-256 and the keys that are loaded, but not its path.

    Raises:
        UsageError: as `weights_path`.
    """
    with weights_path(params).open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": checksum, "prefix": params.prefix, "drop": tuple(sorted(set(params.drop)))}
