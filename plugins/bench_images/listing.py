"""List the images of a folder `train/<class>/*`, `test/<class>/*` with their labels, without decoding them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark import DataError

MAX_SHOWN = 10
"""Largest number of names that an error message lists."""
LAYOUT = "train/<class>/<image> and test/<class>/<image>"


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One image file."""

    name: str
    """Path below the root, with slashes: `train/cat/0001.jpg`."""
    label: int
    """Index of the class."""
    state: tuple[int, int, int]
    """Size in bytes, time of modification and time of change (ns). The time of change cannot be set by a copy program."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All images of a folder, sorted by class, then by name."""

    root: Path
    class_names: tuple[str, ...]
    """Sorted by name; index = label."""
    train: tuple[File, ...]
    test: tuple[File, ...]


def list_tree(root: Path) -> Listing:
    """The images under root/train/<class> and root/test/<class>, including subfolders.

    Ignored: files with a suffix of no format that Pillow opens, folders whose name starts with a dot, and files next to the
    class folders.

    Raises:
        DataError: the folder does not exist; a split or class is missing or empty; there are fewer than two classes; a
            link is broken.
    """
    try:
        return _list_tree(root)
    except OSError as error:
        raise unreadable_error(root, [str(error)]) from error


def _list_tree(root: Path) -> Listing:
    if not root.is_dir():
        problem = "is a file; unpack it and pass the folder" if root.is_file() else "does not exist"
        raise _layout_error(root, f"{root} {problem}")
    classes = {split: _class_names(root, split) for split in ("train", "test")}
    if classes["train"] != classes["test"]:
        raise _layout_error(root, _class_difference(set(classes["train"]), set(classes["test"])))
    names = classes["train"]
    if len(names) < 2:
        raise _layout_error(root, f"there is only one class, '{names[0]}', but at least two are needed")
    broken: list[str] = []
    train, test = (tuple(_files(root, [f"{split}/{name}" for name in names], broken)) for split in ("train", "test"))
    if broken:
        raise unreadable_error(root, broken)
    for split, files in (("train", train), ("test", test)):
        used = {file.label for file in files}
        empty = [f"{split}/{name}" for label, name in enumerate(names) if label not in used]
        if empty:
            raise _layout_error(root, f"{count_names(empty, 'class')} without an image file that Pillow can open")
    return Listing(root=root, class_names=names, train=train, test=test)


def count_names(names: Sequence[str], noun: str) -> str:
    """`12 files (a, b, c, ... and 2 more)`, with at most `MAX_SHOWN` names."""
    plural = noun if len(names) == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    rest = f", ... and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return f"{len(names)} {plural} ({', '.join(names[:MAX_SHOWN])}{rest})"


def unreadable_error(root: Path, names: Sequence[str]) -> DataError:
    """The error for files of a folder that cannot be read."""
    return DataError(
        f"dataset 'folder' at {root}: cannot read {count_names(names, 'file')}: broken links, or missing permissions. "
        f"Restore or remove them"
    )


def _class_names(root: Path, split: str) -> tuple[str, ...]:
    folder = root / split
    if not folder.is_dir():
        similar = next((name for name in ("val", "valid", "validation") if (root / name).is_dir()), None)
        hint = f", but a folder '{similar}'; to score on it, rename it to 'test'" if similar and split == "test" else ""
        raise _layout_error(root, f"there is no folder '{split}'{hint}")
    names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))
    if not names:
        raise _layout_error(root, f"'{split}' has no class folder")
    return names


def _class_difference(train: set[str], test: set[str]) -> str:
    only = [
        f"only in {split}: {count_names(sorted(names), 'class')}"
        for split, names in (("train", train - test), ("test", test - train))
        if names
    ]
    return f"train and test have different classes; {'; '.join(only)}"


def _files(root: Path, folders: Iterable[str], broken: list[str]) -> Iterator[File]:
    """The image files of each folder, whose index is the label. Names of files without a state are added to `broken`."""
    suffixes = _image_suffixes()
    for label, folder in enumerate(folders):
        for name, entry in _walk(root, folder):
            if entry.name[entry.name.rfind(".") :].lower() not in suffixes:
                continue
            try:
                state = entry.stat()
            except OSError:
                broken.append(name)
                continue
            yield File(name=name, label=label, state=(state.st_size, state.st_mtime_ns, state.st_ctime_ns))


def _walk(root: Path, folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(name below the root, entry) of all files under a folder, sorted by name within each folder."""
    with os.scandir(root / folder) as unsorted_entries:
        entries = sorted(unsorted_entries, key=lambda entry: entry.name)
    for entry in entries:
        name = f"{folder}/{entry.name}"
        if not _is_folder(entry):
            yield name, entry
        elif not entry.name.startswith("."):
            if entry.is_symlink() and (root / folder).resolve().is_relative_to(Path(entry.path).resolve()):
                raise _layout_error(root, f"{name} is a link to a folder that contains it; remove it")
            yield from _walk(root, name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, which is reported when its state is read
        return False


def _image_suffixes() -> frozenset[str]:
    """Suffixes of formats that Pillow can open. Some formats, such as PDF, it can only write."""
    from PIL import Image

    return frozenset(suffix for suffix, form in Image.registered_extensions().items() if form in Image.OPEN)


def _layout_error(root: Path, problem: str) -> DataError:
    return DataError(f"dataset 'folder' at {root}: {problem}. Expected: {LAYOUT}, with the same classes in both")
