"""A folder of images as a dataset: identified by the content of its files, decoded once, then mapped into memory."""

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
from bench_images.content_hash import content_hash
from bench_images.listing import LAYOUT, Listing, list_tree
from benchmark import DataError, Dataset, DatasetInfo, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1
"""Version of the dataset: raise it when the same files give other pixels or another order."""


@dataclass(frozen=True, kw_only=True)
class FolderParams:
    """Parameters of `folder`."""

    path: str = field(default="", metadata={"help": "folder with train/<class>/* and test/<class>/*"})
    """Required; may start with `~`. It is not part of a cell's identity."""
    name: str = field(default="", metadata={"help": "name in tables; default: last part of path"})
    """Must not contain slashes."""
    size: int = field(default=32, metadata={"help": "side of the square images in pixels, at least 8"})
    """The shorter side is resized to it, then the center is cropped."""
    gray: bool = field(default=False, metadata={"help": "one gray channel instead of three color channels"})
    """ITU-R 601 luma."""

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ValueError(f"size={self.size} is not valid: must be 8 or more")
        if "/" in self.name or "\\" in self.name:
            raise ValueError(f"name={self.name} is not valid: must not contain slashes")


def describe(params: FolderParams, data_dir: Path) -> DatasetInfo:
    """The description of the dataset. Lists the files, and reads them if any is new or changed, without decoding them.

    Raises:
        DataError: `path` is missing, or the folder has another layout.
    """
    return _info(params, _list_files(params), data_dir)


def load(params: FolderParams, data_dir: Path) -> Dataset:
    """The images as uint8 (N, C, size, size): decoded the first time, then mapped from a cache file.

    The cache folder under `data_dir` is named after the fingerprint, so a changed folder never reads old pixels.

    Raises:
        DataError: as `describe`; also for files that cannot be decoded, with their names.
    """
    import numpy as np

    listing = _list_files(params)
    info = _info(params, listing, data_dir)
    files = (*listing.train, *listing.test)

    def blocks() -> Iterator[NDArray[np.uint8]]:
        from bench_images.decoding import decode_all, threads_for

        LOG.info("decoding the %d images of '%s' (only once)", len(files), info.label)
        workers = threads_for(sum(file.state[0] for file in files) / len(files))
        yield from decode_all(listing.root, [file.name for file in files], params.size, params.gray, workers)

    folder = data_dir / "folder" / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', info.label)}-{info.fingerprint[:16]}"
    images = stored_array(folder / "images.npy", (len(files), *info.image_shape), np.uint8, blocks)
    labels = np.array([file.label for file in files], dtype=np.int64)
    num_train = len(listing.train)
    return Dataset(
        train=Split(images=images[:num_train], labels=labels[:num_train]),
        test=Split(images=images[num_train:], labels=labels[num_train:]),
        class_names=info.class_names,
    )


def _list_files(params: FolderParams) -> Listing:
    if not params.path:
        raise DataError(f"dataset 'folder' needs a path: use 'folder[path=DIR]', where DIR contains {LAYOUT}")
    return list_tree(_root(params))


def _root(params: FolderParams) -> Path:
    # Not resolved, so that a link to a folder keeps the link's name.
    return Path(os.path.abspath(Path(params.path).expanduser()))  # noqa: PTH100 - Path.absolute keeps `..` in the name


def _info(params: FolderParams, listing: Listing, data_dir: Path) -> DatasetInfo:
    identity = json.dumps([VERSION, content_hash(listing, data_dir), params.size, params.gray])
    return DatasetInfo(
        label=params.name or listing.root.name or "folder",
        fingerprint=hashlib.sha256(identity.encode()).hexdigest(),
        image_shape=(1 if params.gray else 3, params.size, params.size),
        num_train=len(listing.train),
        num_test=len(listing.test),
        class_names=listing.class_names,
    )
