"""Fingerprints of source code: of installed plugins, and of the part of repbench that computes numbers.

Records hold them. A number whose plugin has another fingerprint today may come out differently, although no version was raised.

A plugin's fingerprint covers the source files of the package, or of the module, that its entry point names: their paths within
it and their contents. It does not depend on where the package is installed, on the order or times of files, on line endings,
or on compiled files and caches. Other packages that the plugin imports are not covered. Imports no plugin.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from benchmark.api.hookspecs import PROJECT

DIGITS = 16
"""Hexadecimal digits of a fingerprint."""
SUFFIXES = frozenset(
    [
        *(".py", ".pyx", ".pxd", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".rs", ".jl"),
        *(".json", ".toml", ".yaml", ".yml", ".ini", ".cfg", ".csv", ".txt"),
    ]
)
"""Source files and the small text files that packages read."""
CORE = ("encoder.py", "evaluation", "images.py", "seeding.py", "stats", "training", "warp.py")
"""The files and packages of `benchmark` that compute numbers."""


class InstalledCode:
    """The fingerprints of what is installed now. Each is computed once, when it is first needed."""

    def __init__(self) -> None:
        self._sources: dict[str, str | None] = {}

    @functools.cached_property
    def core(self) -> str | None:
        """The fingerprint of the part of repbench that computes numbers."""
        return source_of_core()

    @functools.cached_property
    def _modules(self) -> dict[str, str]:
        return _modules_of_plugins()

    def source(self, plugin: str) -> str | None:
        """The fingerprint of a plugin; None if it is not installed or its files cannot be read.

        Args:
            plugin: distribution and entry point, `repbench:aet`.
        """
        if plugin not in self._sources:
            module = self._modules.get(plugin)
            self._sources[plugin] = None if module is None else source_of_module(module)
        return self._sources[plugin]


def _modules_of_plugins() -> dict[str, str]:
    """Plugin -> module that its entry point names."""
    return {
        f"{point.dist.metadata['Name'] if point.dist else 'unknown'}:{point.name}": point.module
        for point in metadata.entry_points(group=PROJECT)
    }


def source_of_module(module: str) -> str | None:
    """The fingerprint of the package, or of the single module, that holds a module; None if it has no readable files.

    Args:
        module: `bench_aet`, or `company.bench_shapes.plugin` in the package `bench_shapes` of a namespace.
    """
    try:
        root = _root(module)
        return None if root is None or root.suffix not in ("", ".py") else _fingerprint(root.parent, [root])
    except (OSError, ImportError, ValueError):
        return None


def source_of_core() -> str | None:
    """The fingerprint of the part of repbench that computes numbers; None if its files cannot be read."""
    folder = Path(__file__).parents[1]
    try:
        return _fingerprint(folder, [folder / name for name in CORE])
    except OSError:
        return None


def _root(module: str) -> Path | None:
    """The folder of the outermost regular package that holds a module, or the module's file."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        spec = importlib.util.find_spec(".".join(parts[:depth]))
        if spec is None:
            return None
        if spec.origin is not None and spec.has_location:  # a namespace package has neither
            path = Path(spec.origin)
            return path.parent if spec.submodule_search_locations is not None else path
    return None


def _fingerprint(folder: Path, roots: Iterable[Path]) -> str:
    files = sorted((path.relative_to(folder).as_posix(), path) for root in roots for path in _files(root))
    stamps = tuple((name, str(path), *_stamp(path)) for name, path in files)
    return _hash(stamps)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _files(root: Path) -> Iterator[Path]:
    """The source files below a folder, or the file itself."""
    if not root.is_dir():
        yield root
        return
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != "__pycache__" and not name.startswith(".")]
        for name in names:
            path = Path(folder) / name
            if path.suffix in SUFFIXES and not name.startswith(".") and path.is_file():
                yield path


@functools.lru_cache(maxsize=256)
def _hash(stamps: tuple[tuple[str, str, int, int], ...]) -> str:
    """SHA-256 of names and contents. Files with the same sizes and times are read once in a process."""
    digest = hashlib.sha256()
    for name, path, _, _ in stamps:
        body = Path(path).read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{name}\n{len(body)}\n".encode(errors="surrogateescape"))
        digest.update(body)
    return digest.hexdigest()[:DIGITS]
