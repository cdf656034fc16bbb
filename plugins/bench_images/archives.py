"""CIFAR-10, CIFAR-100 and STL-10: downloaded with torchvision, verified, decoded and cached."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bench_images import class_names, references
from bench_images.cache import stored_array
from bench_images.download import RemoteArchive, unpacked
from benchmark import DataError, Dataset, DatasetInfo, NoParams, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Arrays: TypeAlias = "dict[str, NDArray[Any]]"
"""train_images, train_labels, test_images, test_labels and possibly unlabeled."""
Shapes: TypeAlias = "dict[str, tuple[tuple[int, ...], type[np.generic]]]"
"""Name of an array -> its shape and type."""


@dataclass(frozen=True, kw_only=True)
class UnlabeledParams:
    """Parameters of `stl10`."""

    unlabeled: bool = field(default=False, metadata={"help": "also train on the 100,000 unlabeled images"})
    """Methods train on the labeled and the unlabeled training images, which takes 2.8 GB more memory. Evaluators use only the
    labeled images."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A dataset of torchvision, with the facts that a plan needs before the download."""

    name: str
    """Name of the dataset on the command line."""
    source: str
    """Class in torchvision.datasets."""
    md5: str
    """Checksum of the archive, as in torchvision. It is the dataset's fingerprint."""
    image_shape: tuple[int, int, int]
    num_train: int
    num_test: int
    num_unlabeled: int = 0
    class_names: tuple[str, ...]
    summary: str
    paper: str
    bibtex: str


KRIZHEVSKY = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"

CIFAR10 = Archive(
    name="cifar10",
    source="CIFAR10",
    md5="c58f30108f718f92721af3b95e74349a",
    image_shape=(3, 32, 32),
    num_train=50_000,
    num_test=10_000,
    class_names=class_names.CIFAR10,
    summary="60,000 photos, 10 classes, 32 x 32 color; 170 MB",
    paper=KRIZHEVSKY,
    bibtex=references.KRIZHEVSKY_2009,
)
CIFAR100 = Archive(
    name="cifar100",
    source="CIFAR100",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    image_shape=(3, 32, 32),
    num_train=50_000,
    num_test=10_000,
    class_names=class_names.CIFAR100,
    summary="60,000 photos, 100 classes, 32 x 32 color; 169 MB",
    paper=KRIZHEVSKY,
    bibtex=references.KRIZHEVSKY_2009,
)
STL10 = Archive(
    name="stl10",
    source="STL10",
    md5="91f7769df0f17e558f3565bffb0c7dfb",
    image_shape=(3, 96, 96),
    num_train=5_000,
    num_test=8_000,
    num_unlabeled=100_000,
    class_names=class_names.STL10,
    summary="13,000 photos and 100,000 unlabeled, 96 x 96; 2.6 GB",
    paper="Coates, Lee and Ng, An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS 2011",
    bibtex=references.COATES_2011,
)
ARCHIVES = (CIFAR10, CIFAR100, STL10)


def describe(archive: Archive, params: NoParams | UnlabeledParams, data_dir: Path) -> DatasetInfo:
    """The description of the dataset, from constants; nothing is downloaded or read."""
    unlabeled = _uses_unlabeled(params)
    return DatasetInfo(
        label=f"{archive.name}+unlabeled" if unlabeled else archive.name,
        # With other training images it is another dataset.
        fingerprint=f"{archive.md5}+unlabeled" if unlabeled else archive.md5,
        image_shape=archive.image_shape,
        num_train=archive.num_train,
        num_test=archive.num_test,
        class_names=archive.class_names,
    )


def load(archive: Archive, params: NoParams | UnlabeledParams, data_dir: Path) -> Dataset:
    """The images, from the first of these that exists: cached arrays, unpacked files, the archive, the download.

    Files in `data_dir` have torchvision's layout, so existing copies are used. The cached arrays are next to them, in
    `<name>-<md5>/`.

    Raises:
        DataError: the archive is missing and cannot be downloaded, or is damaged; the message says which file to put where.
    """
    shapes = _array_shapes(archive, _uses_unlabeled(params))
    read_arrays = functools.cache(lambda: _decode(archive, data_dir, shapes))
    folder = data_dir / f"{archive.name}-{archive.md5[:10]}"
    arrays = {
        name: stored_array(folder / f"{name}.npy", shape, dtype, functools.partial(_blocks, read_arrays, name))
        for name, (shape, dtype) in shapes.items()
    }
    return Dataset(
        train=Split(images=arrays["train_images"], labels=arrays["train_labels"]),
        test=Split(images=arrays["test_images"], labels=arrays["test_labels"]),
        class_names=archive.class_names,
        unlabeled=arrays.get("unlabeled"),
    )


def _uses_unlabeled(params: NoParams | UnlabeledParams) -> bool:
    return isinstance(params, UnlabeledParams) and params.unlabeled


def _array_shapes(archive: Archive, unlabeled: bool) -> Shapes:
    import numpy as np

    shapes: Shapes = {
        "train_images": ((archive.num_train, *archive.image_shape), np.uint8),
        "train_labels": ((archive.num_train,), np.int64),
        "test_images": ((archive.num_test, *archive.image_shape), np.uint8),
        "test_labels": ((archive.num_test,), np.int64),
    }
    if unlabeled:
        shapes["unlabeled"] = ((archive.num_unlabeled, *archive.image_shape), np.uint8)
    return shapes


def _blocks(read_arrays: Callable[[], Arrays], name: str) -> Iterator[NDArray[Any]]:
    """An array in blocks. STL-10 is stored column by column, and transposing it at once would double the memory."""
    array = read_arrays()[name]
    for start in range(0, len(array), 1024):
        yield array[start : start + 1024]


def _decode(archive: Archive, data_dir: Path, shapes: Shapes) -> Arrays:
    """The arrays named in `shapes`, decoded by torchvision, with their shapes checked."""
    arrays = _read_unpacked(archive, data_dir, shapes)
    if arrays is None:
        source = _torchvision_class(archive)
        remote = RemoteArchive(dataset=archive.name, url=source.url, filename=source.filename, md5=archive.md5)
        with unpacked(remote, data_dir) as folder:
            arrays = _read_unpacked(archive, folder, shapes)
    if arrays is None or any(arrays[name].shape != shape for name, (shape, _) in shapes.items()):
        raise DataError(
            f"dataset '{archive.name}': {_torchvision_class(archive).filename} has the right checksum, but not the content "
            f"that torchvision expects. Try another version of torchvision"
        )
    return arrays


def _torchvision_class(archive: Archive) -> Any:
    import torchvision.datasets

    return getattr(torchvision.datasets, archive.source)


def _read_unpacked(archive: Archive, root: Path, names: Mapping[str, Any]) -> Arrays | None:
    """The unpacked files under `root` as arrays; None if files are missing or have a wrong checksum."""
    import numpy as np

    source = _torchvision_class(archive)
    is_stl = archive.num_unlabeled > 0
    arrays: Arrays = {}
    try:
        with warnings.catch_warnings():
            # The CIFAR files contain pickled dtypes of an old numpy, about which numpy 2.4.0 to 2.4.4 warns.
            warnings.filterwarnings("ignore", message=r"dtype\(\): align")
            for split in ("train", "test"):
                part = source(root, split=split) if is_stl else source(root, train=split == "train")
                images = part.data if is_stl else part.data.transpose(0, 3, 1, 2)
                arrays[f"{split}_images"] = images
                arrays[f"{split}_labels"] = np.asarray(part.labels if is_stl else part.targets, dtype=np.int64)
            if "unlabeled" in names:
                arrays["unlabeled"] = source(root, split="unlabeled").data
    except RuntimeError:  # torchvision raises it for a missing file or a wrong checksum
        return None
    return arrays
