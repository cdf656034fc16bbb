"""Count the test images of a dataset that are also among its training images, exactly or nearly.

The count is recorded and shown. No image is removed because of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.api.cells import Json
from benchmark.errors import RecordError
from benchmark.images import blocks, to_float
from benchmark.records.atomic import replaced
from benchmark.records.stored_file import read_regular

VERSION = 1
"""Version of the count, increased when the same images give another count."""
NEAR = 0.97
"""Cosine of the centered pixels of two images from which they count as near duplicates.

62 of CIFAR-10's test images (as JPEG files) have a near duplicate in train. With 0.9 it would be 472, many of them pairs of
different skies. Duplicates that were cropped, rotated or recolored are not detected."""
SIDE = 16
"""Larger images are reduced to this side in pixels before they are compared."""
BLOCK = 2000
"""Number of test images that are compared at once."""


def count_overlap(train: Iterable[Tensor], test: Tensor, *, block: int = BLOCK) -> Json:
    """Counts the test images that are also training images.

    Args:
        train: sets of training images (N, C, H, W) uint8, of the test images' shape.
        test: (M, C, H, W) uint8.
        block: number of test images that are compared at once; it changes memory and speed only.

    Returns:
        `exact`: number of test images for which a training image has the same bytes. `near`: number of other test images
        for which the pixels of a training image, centered and at most `SIDE` to a side, have a cosine of `NEAR` or
        more. Images of one color have no near duplicate. `of`: M. `threshold`: `NEAR`.
    """
    parts = list(train)
    known = {image.tobytes() for part in parts for image in part.cpu().numpy()}
    exact = torch.tensor([image.tobytes() in known for image in test.cpu().numpy()], dtype=torch.bool)
    near = torch.zeros(len(test), dtype=torch.bool)
    queries = _directions(test, block)
    for part in parts:
        for images in blocks(part, 4 * block):
            gallery = _directions(images, block)
            for start in range(0, len(queries), block):
                close = (queries[start : start + block] @ gallery.T).amax(dim=1) >= NEAR
                near[start : start + block] |= close.cpu()
    return {"exact": int(exact.sum()), "near": int((near & ~exact).sum()), "of": len(test), "threshold": NEAR}


def _directions(images: Tensor, size: int) -> Tensor:
    """(N, D) float32 of unit length: reduced and centered pixels; zero for an image of one color."""
    directions = []
    for block in blocks(images, size):
        pixels = to_float(block)
        if max(pixels.shape[-2:]) > SIDE:
            pixels = F.adaptive_avg_pool2d(pixels, SIDE)
        flat = pixels.flatten(1)
        directions.append(F.normalize(flat - flat.mean(dim=1, keepdim=True), dim=1, eps=1e-6))
    return torch.cat(directions) if directions else images.new_zeros((0, 1), dtype=torch.float32)


def cached_overlap(out: Path, key: str, count: Callable[[], Json]) -> Json:
    """The overlap of a dataset: read from the output folder, or counted and written there if it cannot be read.

    Args:
        out: the output folder.
        key: what the count depends on: the dataset's fingerprint and subset.
        count: counts the overlap.
    """
    name = hashlib.sha256(f"{VERSION}/{key}".encode()).hexdigest()[:16]
    path = out / f".overlap-{name}.json"
    try:
        stored = json.loads(read_regular(path))
        if stored["sha256"] == _checksum(name, stored["overlap"]):
            overlap: Json = stored["overlap"]
            return overlap
    except (OSError, RecordError, ValueError, KeyError, TypeError, RecursionError):
        pass  # missing or damaged
    overlap = count()
    try:
        with replaced(path, synced=False) as file:
            file.write(json.dumps({"overlap": overlap, "sha256": _checksum(name, overlap)}).encode())
    except RecordError:
        pass  # the next cell counts it again
    return overlap


def _checksum(name: str, overlap: Json) -> str:
    return hashlib.sha256(json.dumps([name, overlap], sort_keys=True).encode()).hexdigest()
