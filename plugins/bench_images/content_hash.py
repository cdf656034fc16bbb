"""Hash the names and contents of the images of a folder, and inspect them; cached while no file changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench_images.cache import stored_json
from bench_images.listing import File, Listing, split_of
from bench_images.names import MAX_SHOWN

if TYPE_CHECKING:
    from bench_images.inspection import Inspection

VERSION = 1
"""Raise it when the inspection of the same files gives another result."""
THREADS = 4
"""Threads that read files. They help on slow disks; on a fast disk the number makes no difference."""
FILES_PER_TASK = 256
LARGE_FILE = 2**28
"""Size in bytes above which a file is not read as a whole."""


@dataclass(kw_only=True)
class Names:
    """A number of images, and the names of the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)
    """At most `MAX_SHOWN`."""

    def add(self, name: str) -> None:
        """Counts an image."""
        self.count += 1
        if len(self.first) < MAX_SHOWN:
            self.first.append(name)


@dataclass(kw_only=True)
class Contents:
    """What the images of a folder contain."""

    sha256: str = ""
    """Of the name and the content of every image, independent of where the folder is."""
    unreadable: list[str] = field(default_factory=list)
    """Names of files that cannot be read. They count as empty files."""
    bits: int = 0
    """Number of bits that the largest value of the images of 16 bits needs; 0 without such images."""
    deep: Names = field(default_factory=Names)
    """Images of 16 bits."""
    transparent: Names = field(default_factory=Names)
    """Images with pixels that are not opaque."""
    animated: Names = field(default_factory=Names)
    """Images of more than one frame."""
    copies: Names = field(default_factory=Names)
    """Images with the same bytes as an earlier image of the same class and split: `name = earlier name`."""
    two_classes: Names = field(default_factory=Names)
    """Images with the same bytes as an earlier image of another class."""


def contents(listing: Listing, data_dir: Path) -> Contents:
    """Hashes and inspects every image. Cached in `data_dir` while no file's size or time changes: reading all is slow."""
    states = hashlib.sha256(f"{VERSION}".encode())
    for file in listing.files:
        states.update(f"{file.name}\0{file.label}\0{file.state}\0".encode("utf-8", "surrogateescape"))
    root_id = hashlib.sha256(os.fsencode(listing.root.resolve())).hexdigest()[:16]
    path = data_dir / "folder" / "hashes" / f"{root_id}.json"
    stored = stored_json(path, states.hexdigest(), lambda: asdict(_read_contents(listing)))
    return msgspec.convert(stored, Contents)


def _read_contents(listing: Listing) -> Contents:
    total, result = hashlib.sha256(), Contents()
    earlier: dict[bytes, File] = {}
    for file, (digest, inspection) in _read_all(listing):
        total.update(file.name.encode("utf-8", "surrogateescape") + b"\0" + digest)
        if not digest:
            result.unreadable.append(file.name)
            continue
        result.bits = max(result.bits, inspection.bits)
        _count(result, file, inspection)
        _compare(result, file, earlier.setdefault(digest, file))
    result.sha256 = total.hexdigest()
    return result


def _count(result: Contents, file: File, inspection: Inspection) -> None:
    if inspection.bits:
        result.deep.add(file.name)
    if inspection.transparent:
        result.transparent.add(file.name)
    if inspection.animated:
        result.animated.add(file.name)


def _compare(result: Contents, file: File, first: File) -> None:
    """Counts a file whose bytes are those of an earlier file. Copies in the other split are counted as overlap."""
    if first.label != file.label:
        result.two_classes.add(f"{file.name} = {first.name}")
    elif first is not file and split_of(first) == split_of(file):
        result.copies.add(f"{file.name} = {first.name}")


def _read_all(listing: Listing) -> Iterator[tuple[File, tuple[bytes, Inspection]]]:
    from bench_images.formats import own_pillow_settings

    files = listing.files
    batches = [files[start : start + FILES_PER_TASK] for start in range(0, len(files), FILES_PER_TASK)]
    with own_pillow_settings(), ThreadPoolExecutor(THREADS) as pool:
        for batch, read in zip(batches, pool.map(partial(_read_batch, listing.root), batches), strict=True):
            yield from zip(batch, read, strict=True)


def _read_batch(root: Path, files: Sequence[File]) -> list[tuple[bytes, Inspection]]:
    """SHA-256 of each file, empty if it cannot be read, and its inspection. A task per small file would cost more."""
    from bench_images.inspection import PLAIN

    read = []
    for file in files:
        try:
            read.append(_read(f"{root}/{file.name}", file))
        except OSError:
            read.append((b"", PLAIN))
    return read


def _read(path: str, file: File) -> tuple[bytes, Inspection]:
    from bench_images.inspection import inspect

    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - twice as fast as a Path per file
        if file.state[0] > LARGE_FILE:
            return hashlib.file_digest(stream, "sha256").digest(), inspect(Path(path), file.name)
        # hashlib.file_digest allocates a buffer of 256 KiB per file, which doubles the time.
        content = stream.read()
    return hashlib.sha256(content).digest(), inspect(content, file.name)
