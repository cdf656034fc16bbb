"""Any tree of images as a dataset: described by its files' content, decoded once, then memory-mapped."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench_images.cache import LOG, stored_array
from bench_images.listing import LAYOUT, Listing, content_hash, list_tree
from benchmark import DataError, Dataset, DatasetInfo, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1
"""Raised when the same files give other pixels or another order."""


@dataclass(frozen=True, kw_only=True)
class FolderParams:
    """Which folder, and how its images are made alike."""

    path: str = field(default="", metadata={"help": "folder that holds train/<class>/* and test/<class>/*"})
    """May start with `~`. Must be given; plays no part in a cell's identity."""
    name: str = field(default="", metadata={"help": "how it is shown; default: the last part of path"})
    """No slashes."""
    size: int = field(default=32, metadata={"help": "side of the square images in pixels, at least 8"})
    """The shorter side is resized to it, then the center is cut out."""
    gray: bool = field(default=False, metadata={"help": "one gray channel instead of three colors"})
    """ITU-R 601 luma."""

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ValueError(f"size={self.size} is too small; images have at least 8 x 8 pixels")
        if "/" in self.name or "\\" in self.name:
            raise ValueError(f"name={self.name} looks like a path; a name has no slashes")


def describe(params: FolderParams, data_dir: Path) -> DatasetInfo:
    """Lists the files, and reads them if any of them is new or changed; decodes nothing.

    Raises:
        DataError: no path given, or not the layout wanted.
    """
    return _info(params, _listed(params), data_dir)


def load(params: FolderParams, data_dir: Path) -> Dataset:
    """The images as uint8 (N, C, size, size): decoded the first time, memory-mapped from then on.

    The array's folder under `data_dir` is called after the fingerprint, so a changed tree never reads stale pixels.

    Raises:
        DataError: as `describe`, and files that cannot be decoded, by name.
    """
    import numpy as np

    listing = _listed(params)
    info = _info(params, listing, data_dir)
    files = (*listing.train, *listing.test)

    def blocks() -> Iterator[NDArray[np.uint8]]:
        from bench_images.decoding import decode_all, threads_for

        LOG.info("decoding the %d images of '%s', once", len(files), info.label)
        workers = threads_for(sum(file.state[0] for file in files) / len(files))
        yield from decode_all(listing.root, [file.name for file in files], params.size, params.gray, workers)

    folder = data_dir / "folder" / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', info.label)}-{info.fingerprint[:16]}"
    images = stored_array(folder / "images.npy", (len(files), *info.image_shape), np.uint8, blocks)
    labels = np.array([file.label for file in files], dtype=np.int64)
    border = len(listing.train)
    return Dataset(
        train=Split(images=images[:border], labels=labels[:border]),
        test=Split(images=images[border:], labels=labels[border:]),
        class_names=info.class_names,
    )


def _listed(params: FolderParams) -> Listing:
    if not params.path:
        raise DataError(
            f"dataset 'folder' needs to know where its images are: write 'folder[path=DIR]', where DIR holds {LAYOUT}"
        )
    return list_tree(_root(params))


def _root(params: FolderParams) -> Path:
    # Not resolved: through a link, a folder goes by the link's name.
    return Path(os.path.abspath(Path(params.path).expanduser()))  # noqa: PTH100 - Path.absolute keeps `..` in the name


def _info(params: FolderParams, listing: Listing, data_dir: Path) -> DatasetInfo:
    seen = json.dumps([VERSION, content_hash(listing, data_dir), params.size, params.gray])
    return DatasetInfo(
        label=params.name or listing.root.name or "folder",
        fingerprint=hashlib.sha256(seen.encode()).hexdigest(),
        image_shape=(1 if params.gray else 3, params.size, params.size),
        num_train=len(listing.train),
        num_test=len(listing.test),
        class_names=listing.class_names,
    )
