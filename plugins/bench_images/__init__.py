"""Datasets: the bundled `digits`, CIFAR-10, CIFAR-100 and STL-10, and any folder of images.

Nothing heavy is imported until images are loaded, and nothing is ever downloaded to describe a dataset.
Decoded images are kept as .npy files under the data folder, so that every later load is a memory map.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import benchmark
from bench_images import archives, digits, folder


@benchmark.hookimpl
def bench_datasets() -> Iterator[benchmark.DatasetSpec]:
    """digits, cifar10, cifar100, stl10 and folder."""
    yield benchmark.DatasetSpec(
        name="digits",
        summary="1,797 real handwritten digits, 8 x 8 gray; comes with scikit-learn, no download",
        describe=digits.describe,
        load=digits.load,
        paper="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI repository 1998",
    )
    for archive in archives.ARCHIVES:
        yield benchmark.DatasetSpec(
            name=archive.name,
            summary=archive.summary,
            describe=partial(archives.describe, archive),
            load=partial(archives.load, archive),
            params=archives.UnlabeledParams if archive.num_unlabeled else benchmark.NoParams,
            paper=archive.paper,
        )
    yield benchmark.DatasetSpec(
        name="folder",
        summary="your own images: path/train/<class>/* and path/test/<class>/*, resized and center-cropped",
        describe=folder.describe,
        load=folder.load,
        params=folder.FolderParams,
        version=folder.VERSION,
    )
