"""A tree of images becomes a list of files with labels, and the list a checksum; no image is decoded."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench_images.cache import LOG, whole_file
from benchmark import DataError

SHOWN = 10
"""How many names an error message lists."""
LAYOUT = "train/<class>/<image> and test/<class>/<image>"


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One image of the tree, as the file system tells of it."""

    name: str
    """Below the root, with slashes: `train/cat/0001.jpg`."""
    label: int
    state: tuple[int, int, int]
    """Bytes, time of modification, time of change (ns): the last one cannot be set back by whoever unpacks or copies."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All images of a tree, class by class, by name within a class."""

    root: Path
    class_names: tuple[str, ...]
    """Sorted by name; index = label."""
    train: tuple[File, ...]
    test: tuple[File, ...]


def list_tree(root: Path) -> Listing:
    """The images under root/train/<class> and root/test/<class>, in folders below these too.

    Passed over: files whose suffix is of no format that Pillow opens, dot folders, and files beside the class folders.

    Raises:
        DataError: no such folder, a split or a class missing or empty, fewer than two classes, links that lead nowhere.
    """
    try:
        return _list_tree(root)
    except OSError as error:
        raise _unreadable(root, [str(error)]) from error


def _list_tree(root: Path) -> Listing:
    if not root.is_dir():
        problem = "is a file; unpack it and give the folder" if root.is_file() else "does not exist"
        raise _refusal(root, f"{root} {problem}")
    classes = {split: _class_names(root, split) for split in ("train", "test")}
    if classes["train"] != classes["test"]:
        raise _refusal(root, _difference(set(classes["train"]), set(classes["test"])))
    names = classes["train"]
    if len(names) < 2:
        raise _refusal(root, f"there is one class only, '{names[0]}'; at least two are needed")
    lost: list[str] = []
    train, test = (tuple(_files(root, [f"{split}/{name}" for name in names], lost)) for split in ("train", "test"))
    if lost:
        raise _unreadable(root, lost)
    for split, files in (("train", train), ("test", test)):
        filled = {file.label for file in files}
        empty = [f"{split}/{name}" for label, name in enumerate(names) if label not in filled]
        if empty:
            raise _refusal(root, f"{some(empty, 'class')} without a file that Pillow knows as an image")
    return Listing(root=root, class_names=names, train=train, test=test)


def content_hash(listing: Listing, data_dir: Path) -> str:
    """SHA-256 over the name and the content of every file: the same wherever the tree lies.

    Reading every file takes a while, so the hash is kept in `data_dir` and holds as long as no file's size or time
    changes.

    Raises:
        DataError: files that cannot be read.
    """
    table = hashlib.sha256()
    for file in (*listing.train, *listing.test):
        table.update(f"{file.name}\0{file.state}\0".encode("utf-8", "surrogateescape"))
    state = table.hexdigest()
    place = hashlib.sha256(os.fsencode(listing.root.resolve())).hexdigest()[:16]
    kept = data_dir / "folder" / "hashes" / f"{place}.json"
    known = _kept_hash(kept, state)
    if known is not None:
        return known
    content = _hash_files(listing)
    try:
        with whole_file(kept) as stream:
            stream.write(json.dumps({"state": state, "content": content}).encode())
    except OSError as error:
        LOG.info("%s cannot be kept (%s): every file is read again each time", kept, error)
    return content


def some(names: Sequence[str], noun: str) -> str:
    """`12 files (a, b, c, ... and 2 more)`, at most `SHOWN` of them by name."""
    plural = noun if len(names) == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    rest = f", ... and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {plural} ({', '.join(names[:SHOWN])}{rest})"


def _class_names(root: Path, split: str) -> tuple[str, ...]:
    folder = root / split
    if not folder.is_dir():
        other = next((name for name in ("val", "valid", "validation") if (root / name).is_dir()), None)
        hint = f", but there is '{other}': rename it to 'test' if it is what is to be scored" if other else ""
        raise _refusal(root, f"there is no folder '{split}'{hint if split == 'test' else ''}")
    names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))
    if not names:
        raise _refusal(root, f"'{split}' holds no class folder")
    return names


def _difference(train: set[str], test: set[str]) -> str:
    only = [
        f"only in {split}: {some(sorted(names), 'class')}"
        for split, names in (("train", train - test), ("test", test - train))
        if names
    ]
    return f"train and test have different classes; {'; '.join(only)}"


def _files(root: Path, folders: Iterable[str], lost: list[str]) -> Iterator[File]:
    """The files of each folder, labeled by its place; names that cannot be reached go to `lost`."""
    suffixes = _image_suffixes()
    for label, folder in enumerate(folders):
        for name, entry in _walk(root, folder):
            if entry.name[entry.name.rfind(".") :].lower() not in suffixes:
                continue
            try:
                state = entry.stat()
            except OSError:
                lost.append(name)
                continue
            yield File(name=name, label=label, state=(state.st_size, state.st_mtime_ns, state.st_ctime_ns))


def _walk(root: Path, folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    with os.scandir(root / folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = f"{folder}/{entry.name}"
        if not _is_folder(entry):
            yield name, entry
        elif not entry.name.startswith("."):
            if entry.is_symlink() and (root / folder).resolve().is_relative_to(Path(entry.path).resolve()):
                raise _refusal(root, f"{name} is a link to a folder that it lies in; remove it")
            yield from _walk(root, name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: the name is reported when its size is asked for
        return False


def _image_suffixes() -> frozenset[str]:
    from PIL import Image

    # PDF, for one, can be written by Pillow but not opened.
    return frozenset(suffix for suffix, form in Image.registered_extensions().items() if form in Image.OPEN)


def _hash_files(listing: Listing) -> str:
    names = [file.name for file in (*listing.train, *listing.test)]
    batches = [names[start : start + 256] for start in range(0, len(names), 256)]
    content = hashlib.sha256()
    unreadable: list[str] = []
    with ThreadPoolExecutor(4) as pool:  # for disks that answer slowly; on a fast one the number makes no difference
        for batch, digests in zip(batches, pool.map(partial(_digests, str(listing.root)), batches), strict=True):
            for name, digest in zip(batch, digests, strict=True):
                content.update(name.encode("utf-8", "surrogateescape") + b"\0" + digest)
                if not digest:
                    unreadable.append(name)
    if unreadable:
        raise _unreadable(listing.root, unreadable)
    return content.hexdigest()


def _digests(root: str, names: Sequence[str]) -> list[bytes]:
    """SHA-256 of each file, empty where it cannot be read. A task for every small file would take longer than the file."""
    digests = []
    for name in names:
        try:
            with open(f"{root}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - twice as fast as a Path for each
                # Not hashlib.file_digest: its buffer of 256 KiB for each file takes twice the time of all the rest.
                digests.append(hashlib.sha256(file.read()).digest())
        except OSError:
            digests.append(b"")
    return digests


def _kept_hash(path: Path, state: str) -> str | None:
    try:
        kept = json.loads(path.read_bytes())
        return str(kept["content"]) if kept["state"] == state else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refusal(root: Path, problem: str) -> DataError:
    return DataError(f"dataset 'folder' at {root}: {problem}. It wants {LAYOUT}, the same classes in both")


def _unreadable(root: Path, names: Sequence[str]) -> DataError:
    return DataError(
        f"dataset 'folder' at {root}: {some(names, 'file')} cannot be read; a link that leads nowhere, or not permitted? "
        f"Restore or remove what is named here"
    )
