"""Datasets: the bundled `digits`, CIFAR-10, CIFAR-100, STL-10, and any folder of images.

Large libraries are imported only when images are loaded. Describing a dataset never downloads it. Decoded images are cached
as .npy files in the data folder, which later loads map into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import benchmark
from bench_images import archives, digits, folder, references


@benchmark.hookimpl
def bench_datasets() -> Iterator[benchmark.DatasetSpec]:
    """The datasets `digits`, `cifar10`, `cifar100`, `stl10` and `folder`."""
    yield benchmark.DatasetSpec(
        name="digits",
        summary="1,797 handwritten digits, 8 x 8 gray; no download",
        describe=digits.describe,
        load=digits.load,
        paper="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI repository 1998",
        bibtex=references.ALPAYDIN_1998,
    )
    for archive in archives.ARCHIVES:
        yield benchmark.DatasetSpec(
            name=archive.name,
            summary=archive.summary,
            describe=partial(archives.describe, archive),
            load=partial(archives.load, archive),
            params=archives.UnlabeledParams if archive.num_unlabeled else benchmark.NoParams,
            paper=archive.paper,
            bibtex=archive.bibtex,
        )
    yield benchmark.DatasetSpec(
        name="folder",
        summary="your images: path/train/<class>/*, path/test/<class>/*",
        describe=folder.describe,
        load=folder.load,
        params=folder.FolderParams,
        version=folder.VERSION,
    )
