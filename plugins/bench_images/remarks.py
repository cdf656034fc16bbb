"""Remarks on the files of a folder: what is not read, what is changed by decoding, what is there twice."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from bench_images.cache import LOG
from bench_images.content_hash import Contents, Names
from bench_images.listing import Listing
from bench_images.names import equal_looking, exact_name, listed, printable

PHONE_SUFFIXES = (".heic", ".heif")


def remarks(
    listing: Listing, contents: Contents, *, background: str, bits: int, skipped: Sequence[str]
) -> Iterator[str]:
    """The remarks on a folder, each in one line; none for a folder of opaque 8-bit images without other files.

    Args:
        listing: its files.
        contents: what they contain.
        background: color behind transparent pixels, as named by the user.
        bits: that are used of images of 16 bits.
        skipped: names of damaged images that were left out.
    """
    images = len(listing.files)
    if listing.ignored:
        yield _ignored(listing.ignored)
    if skipped:
        count = f"{len(skipped)} of {images + len(skipped)}"
        yield f"{count} images are damaged and left out (on_error=skip): {_named(skipped, len(skipped))}"
    if contents.transparent.count:
        yield (
            f"{_share(contents.transparent, images)} images have transparent pixels, composited on {background} "
            f"(background=...): {_first(contents.transparent)}"
        )
    if contents.deep.count and bits < 16:
        yield (
            f"{_share(contents.deep, images)} images have 16 bits, of which {bits} are used: their values are divided by "
            f"{2 ** (bits - 8)}: {_first(contents.deep)}"
        )
    if contents.animated.count:
        yield f"{_share(contents.animated, images)} images have several frames; the first is used: {_first(contents.animated)}"
    if contents.two_classes.count:
        yield (
            f"{_share(contents.two_classes, images)} images are also in another class, with the same bytes; each keeps its "
            f"class: {_first(contents.two_classes)}"
        )
    if contents.copies.count:
        yield (
            f"{_share(contents.copies, images)} images are copies of another image of their class and split; all are used: "
            f"{_first(contents.copies)}"
        )
    for group in equal_looking(listing.class_names):
        yield f"the classes {' and '.join(map(exact_name, group))} differ only in case, accents or spaces; each is kept"


@functools.lru_cache(maxsize=1024)
def remark_once(text: str) -> None:
    """Logs a remark, once per process."""
    LOG.warning("%s", text)


def _ignored(names: Sequence[str]) -> str:
    noun = "file is" if len(names) == 1 else "files are"
    heic = any(name.lower().endswith(PHONE_SUFFIXES) for name in names)
    advice = "; convert HEIC files to JPEG to use them" if heic else ""
    return f"{len(names)} {noun} not read, being hidden or without the suffix of an image{advice}: {_named(names, len(names))}"


def _share(names: Names, images: int) -> str:
    return f"{names.count} of {images}"


def _first(names: Names) -> str:
    return _named(names.first, names.count)


def _named(names: Sequence[str], total: int) -> str:
    return listed([printable(name) for name in names], total)
