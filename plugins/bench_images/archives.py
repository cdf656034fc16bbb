"""CIFAR-10, CIFAR-100 and STL-10: downloaded once with torchvision, checked, decoded, kept."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_images.cache import stored_array
from bench_images.download import Wanted, unpacked
from benchmark import DataError, Dataset, DatasetInfo, NoParams, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Arrays = dict[str, "NDArray[Any]"]
"""train_images, train_labels, test_images, test_labels and perhaps unlabeled."""


@dataclass(frozen=True, kw_only=True)
class UnlabeledParams:
    """STL-10's parameters."""

    unlabeled: bool = field(
        default=False, metadata={"help": "train methods on the 100,000 unlabeled images too (2.8 GB more in memory)"}
    )
    """Methods then train on train + unlabeled; probes see the labeled images only."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A dataset that torchvision knows how to fetch, with what a plan must know before it is there."""

    name: str
    """What people type."""
    source: str
    """The class in torchvision.datasets."""
    md5: str
    """Of the archive, as torchvision checks it: the dataset's fingerprint."""
    image_shape: tuple[int, int, int]
    num_train: int
    num_test: int
    num_unlabeled: int = 0
    class_names: tuple[str, ...]
    summary: str
    paper: str


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


KRIZHEVSKY = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"

CIFAR10 = Archive(
    name="cifar10",
    source="CIFAR10",
    md5="c58f30108f718f92721af3b95e74349a",
    image_shape=(3, 32, 32),
    num_train=50_000,
    num_test=10_000,
    class_names=_words("airplane automobile bird cat deer dog frog horse ship truck"),
    summary="60,000 photographs of 10 classes, 32 x 32 color; downloads 170 MB",
    paper=KRIZHEVSKY,
)
CIFAR100 = Archive(
    name="cifar100",
    source="CIFAR100",
    md5="eb9058c3a382ffc7106e4002c42a8d85",
    image_shape=(3, 32, 32),
    num_train=50_000,
    num_test=10_000,
    class_names=_words(
        """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
        castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
        elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
        man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
        pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
        skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
        tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"""
    ),
    summary="60,000 photographs of 100 classes, 32 x 32 color; downloads 169 MB",
    paper=KRIZHEVSKY,
)
STL10 = Archive(
    name="stl10",
    source="STL10",
    md5="91f7769df0f17e558f3565bffb0c7dfb",
    image_shape=(3, 96, 96),
    num_train=5_000,
    num_test=8_000,
    num_unlabeled=100_000,
    class_names=_words("airplane bird car cat deer dog horse monkey ship truck"),
    summary="13,000 photographs of 10 classes and 100,000 unlabeled ones, 96 x 96 color; downloads 2.6 GB",
    paper="Coates, Lee and Ng, An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS 2011",
)
ARCHIVES = (CIFAR10, CIFAR100, STL10)


def describe(archive: Archive, params: NoParams | UnlabeledParams, data_dir: Path) -> DatasetInfo:
    """Constants only: nothing is downloaded or opened."""
    unlabeled = _wants_unlabeled(params)
    return DatasetInfo(
        label=f"{archive.name}+unlabeled" if unlabeled else archive.name,
        # Methods see other training images, so it is another dataset.
        fingerprint=f"{archive.md5}+unlabeled" if unlabeled else archive.md5,
        image_shape=archive.image_shape,
        num_train=archive.num_train,
        num_test=archive.num_test,
        class_names=archive.class_names,
    )


def load(archive: Archive, params: NoParams | UnlabeledParams, data_dir: Path) -> Dataset:
    """The images, from the first of these that is there: decoded arrays, unpacked files, the archive, the internet.

    Files lie in `data_dir` as torchvision lays them out, so copies from elsewhere are found; the decoded arrays lie
    beside them in `<name>-<md5>/`.

    Raises:
        DataError: not there and not to be downloaded, or damaged; the message says which file to put where.
    """
    unlabeled = _wants_unlabeled(params)
    shapes = _shapes(archive, unlabeled)
    content = functools.cache(lambda: _content(archive, data_dir, shapes))
    folder = data_dir / f"{archive.name}-{archive.md5[:10]}"
    arrays = {
        name: stored_array(folder / f"{name}.npy", shape, dtype, functools.partial(_blocks, content, name))
        for name, (shape, dtype) in shapes.items()
    }
    return Dataset(
        train=Split(images=arrays["train_images"], labels=arrays["train_labels"]),
        test=Split(images=arrays["test_images"], labels=arrays["test_labels"]),
        class_names=archive.class_names,
        unlabeled=arrays.get("unlabeled"),
    )


def _wants_unlabeled(params: NoParams | UnlabeledParams) -> bool:
    return isinstance(params, UnlabeledParams) and params.unlabeled


def _shapes(archive: Archive, unlabeled: bool) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    import numpy as np

    shapes: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
        "train_images": ((archive.num_train, *archive.image_shape), np.uint8),
        "train_labels": ((archive.num_train,), np.int64),
        "test_images": ((archive.num_test, *archive.image_shape), np.uint8),
        "test_labels": ((archive.num_test,), np.int64),
    }
    if unlabeled:
        shapes["unlabeled"] = ((archive.num_unlabeled, *archive.image_shape), np.uint8)
    return shapes


def _blocks(content: Callable[[], Arrays], name: str) -> Iterator[NDArray[Any]]:
    """In pieces, because STL-10 is stored column by column: turning it whole would need it twice in memory."""
    array = content()[name]
    for start in range(0, len(array), 1024):
        yield array[start : start + 1024]


def _content(archive: Archive, data_dir: Path, shapes: dict[str, tuple[tuple[int, ...], type[np.generic]]]) -> Arrays:
    """Everything asked for, read through torchvision, with the shapes checked."""
    arrays = _read(archive, data_dir, shapes)
    if arrays is None:
        source = _source(archive)
        wanted = Wanted(dataset=archive.name, url=source.url, filename=source.filename, md5=archive.md5)
        with unpacked(wanted, data_dir) as folder:
            arrays = _read(archive, folder, shapes)
    if arrays is None or any(arrays[name].shape != shape for name, (shape, _) in shapes.items()):
        raise DataError(
            f"dataset '{archive.name}': {_source(archive).filename} has the right checksum but not the content that "
            f"torchvision expects. Another version of torchvision may help"
        )
    return arrays


def _source(archive: Archive) -> Any:
    import torchvision.datasets

    return getattr(torchvision.datasets, archive.source)


def _read(archive: Archive, root: Path, names: dict[str, Any]) -> Arrays | None:
    """The unpacked files under `root` as arrays; None where they are not there or a checksum is wrong."""
    import numpy as np

    source = _source(archive)
    is_stl = archive.num_unlabeled > 0
    arrays: Arrays = {}
    try:
        with warnings.catch_warnings():
            # The CIFAR files were pickled by a numpy that said 0 for False; numpy 2.4.0 to 2.4.4 complain of it.
            warnings.filterwarnings("ignore", message=r"dtype\(\): align")
            for split in ("train", "test"):
                part = source(root, split=split) if is_stl else source(root, train=split == "train")
                images = part.data if is_stl else part.data.transpose(0, 3, 1, 2)
                arrays[f"{split}_images"] = images
                arrays[f"{split}_labels"] = np.asarray(part.labels if is_stl else part.targets, dtype=np.int64)
            if "unlabeled" in names:
                arrays["unlabeled"] = source(root, split="unlabeled").data
    except RuntimeError:  # torchvision's word for a missing file or a wrong checksum
        return None
    return arrays
