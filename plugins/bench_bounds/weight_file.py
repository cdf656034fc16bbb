"""The weights file of `pretrained`: found, and told apart by its content, without torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import benchmark
from bench_bounds.parameters import PretrainedParams

SUFFIXES = (".safetensors", ".pt", ".pth")


def located(params: PretrainedParams) -> Path:
    """The file that `path` means.

    Raises:
        UsageError: no path, no such file, or a suffix that says another format.
    """
    example = "give it as 'pretrained[path=weights.safetensors]'"
    if not params.path:
        raise benchmark.UsageError(f"method 'pretrained' was given no weights file; {example}")
    path = Path(params.path).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise benchmark.UsageError(
            f"method 'pretrained': '{path}' ends in '{path.suffix}', but weights are read from {', '.join(SUFFIXES)}; "
            "save the encoder's state_dict() in one of these formats"
        )
    if not path.is_file():
        raise benchmark.UsageError(f"method 'pretrained': there is no file '{path}' under '{Path.cwd()}'; {example}")
    return path


def identity(params: PretrainedParams) -> dict[str, object]:
    """What makes these weights themselves: the file's SHA-256 and which keys are read, never where it lies.

    Raises:
        UsageError: as `located`.
    """
    with located(params).open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": checksum, "prefix": params.prefix, "drop": tuple(sorted(set(params.drop)))}
