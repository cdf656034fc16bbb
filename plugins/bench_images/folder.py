"""A folder of images as a dataset: identified by the content of its files, decoded once, then mapped into memory."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench_images import damage
from bench_images.cache import LOG, stored_array
from bench_images.content_hash import Contents, contents
from bench_images.listing import LAYOUT, Listing, list_tree, unreadable_error, without
from bench_images.names import printable
from bench_images.remarks import remark_once, remarks
from benchmark import DataError, Dataset, DatasetInfo, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench_images.decoding import Rendering

VERSION = 1
"""Version of the dataset: raise it when the same files give other pixels or another order."""
DEPTHS = (8, 10, 12, 14, 16)
"""Numbers of bits of cameras and scanners, which files of 16 bits contain."""
Color = tuple[int, int, int]


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
    background: str = field(default="white", metadata={"help": "color behind transparent pixels: black, '#808080'"})
    """Name of a color in CSS, `#rrggbb`, or `'r,g,b'` with numbers from 0 to 255."""
    on_error: Literal["fail", "skip"] = field(default="fail", metadata={"help": "skip: leave out damaged images"})
    """Images that are left out are named, counted, recorded, and part of the dataset's fingerprint."""

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ValueError(f"size={self.size} is not valid: must be 8 or more")
        if "/" in self.name or "\\" in self.name:
            raise ValueError(f"name={self.name} is not valid: must not contain slashes")
        self.background_color()

    def background_color(self) -> Color:
        """Red, green and blue, 0..255 each.

        Raises:
            ValueError: `background` is not a color.
        """
        if self.background == "white":
            return (255, 255, 255)
        from PIL import ImageColor

        numbers = re.fullmatch(r"(\d{1,3})[,;] *(\d{1,3})[,;] *(\d{1,3})", self.background)
        try:
            color = tuple(map(int, numbers.groups())) if numbers else ImageColor.getrgb(self.background)
            if len(color) == 3 and max(color) <= 255:
                return color[0], color[1], color[2]
        except ValueError:
            pass
        raise ValueError(
            f"background={self.background} is not valid: must be a name such as white, black or gray, '#rrggbb' or 'r,g,b'"
        )


@dataclass(frozen=True, kw_only=True)
class _Images:
    """The images of a folder that are used."""

    listing: Listing
    """Without those that were left out."""
    contents: Contents
    """Of all images that can be read."""
    skipped: Mapping[str, str]
    """Name of each image that was left out -> reason."""
    rendering: Rendering


def describe(params: FolderParams, data_dir: Path) -> DatasetInfo:
    """The description of the dataset. Lists the files, and reads them if any is new or changed, without decoding them.

    Images with transparency or 16 bits are decoded once, and all images with `on_error=skip`. What the files have that may
    surprise is logged in one line each.

    Raises:
        DataError: `path` is missing, or the folder has another layout.
    """
    images = _images(params, data_dir)
    lines = remarks(
        images.listing,
        images.contents,
        background=params.background,
        bits=images.rendering.bits,
        skipped=tuple(images.skipped),
    )
    for line in lines:
        remark_once(f"dataset 'folder' at {printable(str(images.listing.root))}: {line}")
    return _info(params, images)


def load(params: FolderParams, data_dir: Path) -> Dataset:
    """The images as uint8 (N, C, size, size): decoded the first time, then mapped from a cache file.

    The cache folder under `data_dir` is named after the fingerprint, so a changed folder never reads old pixels.

    Raises:
        DataError: as `describe`; also for files that cannot be decoded, with their names.
    """
    import numpy as np

    images = _images(params, data_dir)
    info = _info(params, images)
    listing, files = images.listing, images.listing.files

    def blocks() -> Iterator[NDArray[np.uint8]]:
        from bench_images.decoding import decode_all, threads_for

        LOG.info("decoding the %d images of '%s' (only once)", len(files), info.label)
        workers = threads_for(sum(file.state[0] for file in files) / len(files))
        yield from decode_all(listing.root, [file.name for file in files], images.rendering, workers)

    folder = data_dir / "folder" / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', info.label)}-{info.fingerprint[:16]}"
    pixels = stored_array(folder / "images.npy", (len(files), *info.image_shape), np.uint8, blocks)
    labels = np.array([file.label for file in files], dtype=np.int64)
    num_train = len(listing.train)
    return Dataset(
        train=Split(images=pixels[:num_train], labels=labels[:num_train]),
        test=Split(images=pixels[num_train:], labels=labels[num_train:]),
        class_names=info.class_names,
        skipped=images.skipped,
    )


def _images(params: FolderParams, data_dir: Path) -> _Images:
    """Lists, reads and, with `on_error=skip`, decodes the images."""
    from bench_images.decoding import Rendering

    listing = _list_files(params)
    skipped: dict[str, str] = dict.fromkeys(listing.unreadable, "cannot be read")
    _refuse(listing, skipped, params)
    read = contents(listing, data_dir)
    skipped |= dict.fromkeys(read.unreadable, "cannot be read")
    _refuse(listing, skipped, params)
    rendering = Rendering(
        size=params.size,
        gray=params.gray,
        background=params.background_color(),
        bits=next(depth for depth in DEPTHS if depth >= read.bits) if read.bits else 16,
    )
    if params.on_error == "skip":
        listing = without(listing, tuple(skipped))
        damaged = damage.damaged(listing, read.sha256, rendering, data_dir)
        listing = without(listing, tuple(damaged))
        skipped |= damaged
    return _Images(listing=listing, contents=read, skipped=skipped, rendering=rendering)


def _refuse(listing: Listing, unreadable: Mapping[str, str], params: FolderParams) -> None:
    if unreadable and params.on_error == "fail":
        raise unreadable_error(listing.root, [printable(name) for name in unreadable])


def _list_files(params: FolderParams) -> Listing:
    if not params.path:
        raise DataError(f"dataset 'folder' needs a path: use 'folder[path=DIR]', where DIR contains {LAYOUT}")
    return list_tree(_root(params))


def _root(params: FolderParams) -> Path:
    # Not resolved, so that a link to a folder keeps the link's name.
    return Path(os.path.abspath(Path(params.path).expanduser()))  # noqa: PTH100 - Path.absolute keeps `..` in the name


def _info(params: FolderParams, images: _Images) -> DatasetInfo:
    identity = [VERSION, images.contents.sha256, params.size, params.gray, *_decoding_identity(images)]
    return DatasetInfo(
        label=params.name or images.listing.root.name or "folder",
        fingerprint=hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
        image_shape=(1 if params.gray else 3, params.size, params.size),
        num_train=len(images.listing.train),
        num_test=len(images.listing.test),
        class_names=images.listing.class_names,
    )


def _decoding_identity(images: _Images) -> Iterator[dict[str, object]]:
    """What else decides the pixels. Nothing for opaque images of 8 bits, so that their fingerprint depends on no default.

    Transparent pixels were composited on black, and all 16 bits were used, before these were parameters of the decoding.
    """
    rendering = images.rendering
    changes: dict[str, object] = {}
    if images.contents.transparent.count and rendering.background != (0, 0, 0):
        changes["background"] = list(rendering.background)
    if images.contents.deep.count and rendering.bits < 16:
        changes["bits"] = rendering.bits
    if images.skipped:
        changes["skipped"] = sorted(images.skipped)
    if changes:
        yield changes
