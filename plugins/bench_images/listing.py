"""List the images of a folder `train/<class>/*`, `test/<class>/*` with their labels, without decoding them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench_images.names import MAX_SHOWN, count_names, exact_name, printable, same_when_normalized, suffix_of
from bench_images.system_files import is_system_file, is_system_folder
from benchmark import DataError

LAYOUT = "train/<class>/<image> and test/<class>/<image>"
SPLITS = ("train", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One image file."""

    name: str
    """Path below the root, with slashes: `train/cat/0001.jpg`."""
    label: int
    """Index of the class."""
    state: tuple[int, int, int]
    """Size in bytes, time of modification and time of change (ns). The time of change cannot be set by a copy program."""


def split_of(file: File) -> str:
    """`train` or `test`."""
    return file.name.partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All images of a folder, sorted by class, then by name."""

    root: Path
    class_names: tuple[str, ...]
    """Sorted by name; index = label."""
    train: tuple[File, ...]
    test: tuple[File, ...]
    unreadable: tuple[str, ...] = ()
    """Names of images without a state: broken links, and what is not a file."""
    ignored: tuple[str, ...] = ()
    """Names of other files beside the images, without those of operating systems."""

    @property
    def files(self) -> tuple[File, ...]:
        """Train, then test."""
        return (*self.train, *self.test)


def list_tree(root: Path) -> Listing:
    """The images under root/train/<class> and root/test/<class>, including subfolders.

    Ignored: files and folders of operating systems (see `system_files`), hidden files, and files without the suffix of a
    format that is read.

    Raises:
        DataError: the folder does not exist; a split or class is missing or empty; there are fewer than two classes.
    """
    try:
        return _list_tree(root)
    except OSError as error:
        raise unreadable_error(root, [str(error)]) from error


def without(listing: Listing, names: Sequence[str]) -> Listing:
    """The listing without some of its images.

    Raises:
        DataError: a class has no image left.
    """
    left_out = frozenset(names)
    train, test = (tuple(f for f in files if f.name not in left_out) for files in (listing.train, listing.test))
    rest = Listing(root=listing.root, class_names=listing.class_names, train=train, test=test, ignored=listing.ignored)
    _check_classes(rest, "an image that can be decoded")
    return rest


def unreadable_error(root: Path, names: Sequence[str]) -> DataError:
    """The error for files of a folder that cannot be read."""
    return DataError(
        f"dataset 'folder' at {root}: cannot read {count_names(names, 'file')}: broken links, not regular files, or missing "
        f"permissions. Restore or remove them, or pass on_error=skip to leave them out"
    )


@dataclass(frozen=True, kw_only=True)
class _Walk:
    """The files of one split, collected class by class."""

    root: Path
    suffixes: frozenset[str]
    images: list[File] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def add_class(self, folder: str, label: int, parents: tuple[Path, ...] = ()) -> None:
        """Adds the files of a class folder and its subfolders, sorted by name within each folder.

        `parents`: the folders that contain this one by way of links, resolved.
        """
        parents = (*parents, (self.root / folder).resolve())
        for entry in _sorted_entries(self.root / folder):
            name = f"{folder}/{entry.name}"
            if not _is_folder(entry):
                self._add(name, entry, label)
            elif not is_system_folder(entry.name):
                if entry.is_symlink() and any(path.is_relative_to(Path(entry.path).resolve()) for path in parents):
                    problem = f"{printable(name)} is a link to a folder that contains it; remove it"
                    raise _layout_error(self.root, problem)
                self.add_class(name, label, parents)

    def _add(self, name: str, entry: os.DirEntry[str], label: int) -> None:
        if is_system_file(entry.name):
            return
        if entry.name.startswith(".") or suffix_of(entry.name) not in self.suffixes:
            self.ignored.append(name)
            return
        try:
            state = entry.stat()
        except OSError:
            self.unreadable.append(name)
            return
        if stat.S_ISREG(state.st_mode):
            times = (state.st_size, state.st_mtime_ns, state.st_ctime_ns)
            self.images.append(File(name=name, label=label, state=times))
        else:
            self.unreadable.append(name)


def _list_tree(root: Path) -> Listing:
    if not root.is_dir():
        problem = "is a file; unpack it and pass the folder" if root.is_file() else "does not exist"
        raise _layout_error(root, f"{root} {problem}")
    classes = {split: _class_names(root, split) for split in SPLITS}
    if classes["train"] != classes["test"]:
        raise _layout_error(root, _class_difference(set(classes["train"]), set(classes["test"])))
    names = classes["train"]
    if len(names) < 2:
        raise _layout_error(root, f"there is only one class, '{printable(names[0])}', but at least two are needed")
    train, test = (_walk(root, split, names) for split in SPLITS)
    listing = Listing(
        root=root,
        class_names=names,
        train=tuple(train.images),
        test=tuple(test.images),
        unreadable=(*train.unreadable, *test.unreadable),
        ignored=(*train.ignored, *test.ignored),
    )
    if not listing.unreadable:
        _check_classes(listing, "an image file of a format that is read")
    return listing


def _walk(root: Path, split: str, names: Sequence[str]) -> _Walk:
    from bench_images.formats import readable_suffixes

    walk = _Walk(root=root, suffixes=frozenset(readable_suffixes()))
    for entry in _sorted_entries(root / split):
        if not _is_folder(entry) and not is_system_file(entry.name):
            walk.ignored.append(f"{split}/{entry.name}")
    for label, name in enumerate(names):
        walk.add_class(f"{split}/{name}", label)
    return walk


def _check_classes(listing: Listing, content: str) -> None:
    for split, files in (("train", listing.train), ("test", listing.test)):
        used = {file.label for file in files}
        empty = [f"{split}/{printable(name)}" for label, name in enumerate(listing.class_names) if label not in used]
        if empty:
            raise _layout_error(listing.root, f"{count_names(empty, 'class')} without {content}")


def _class_names(root: Path, split: str) -> tuple[str, ...]:
    folder = root / split
    if not folder.is_dir():
        raise _layout_error(root, f"there is no folder '{split}'{_split_hint(root, split)}")
    names = tuple(
        entry.name for entry in _sorted_entries(folder) if _is_folder(entry) and not is_system_folder(entry.name)
    )
    if not names:
        raise _layout_error(root, f"'{split}' has no class folder")
    return names


def _split_hint(root: Path, split: str) -> str:
    names = [entry.name for entry in _sorted_entries(root) if _is_folder(entry)]
    spelled = next((name for name in names if same_when_normalized(name, split)), None)
    if spelled:
        return f", but a folder '{printable(spelled)}'; rename it to '{split}'"
    similar = next((name for name in ("val", "valid", "validation") if name in names), None)
    return f", but a folder '{similar}'; to score on it, rename it to 'test'" if similar and split == "test" else ""


def _class_difference(train: set[str], test: set[str]) -> str:
    only_train, only_test = sorted(train - test), sorted(test - train)
    only = [
        f"only in {split}: {count_names([printable(name) for name in names], 'class')}"
        for split, names in (("train", only_train), ("test", only_test))
        if names
    ]
    pairs = [
        f"{exact_name(a)} and {exact_name(b)}" for a in only_train for b in only_test if same_when_normalized(a, b)
    ]
    spelled = f". These differ only in case, accents or spaces: {'; '.join(pairs[:MAX_SHOWN])}" if pairs else ""
    return f"train and test have different classes; {'; '.join(only)}{spelled}"


def _sorted_entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from sorted(entries, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, which is reported when its state is read
        return False


def _layout_error(root: Path, problem: str) -> DataError:
    return DataError(f"dataset 'folder' at {root}: {problem}. Expected: {LAYOUT}, with the same classes in both")
