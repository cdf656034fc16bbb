"""Which images of a folder cannot be decoded, for `on_error=skip`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench_images.cache import stored_json
from bench_images.listing import Listing

if TYPE_CHECKING:
    from bench_images.decoding import Rendering


def damaged(listing: Listing, sha256: str, rendering: Rendering, data_dir: Path) -> dict[str, str]:
    """Name of each image that cannot be decoded -> reason. Decodes every image; cached while no image changes.

    Args:
        listing: the images.
        sha256: of their names and contents.
        rendering: how they are decoded.
        data_dir: where the result is cached.

    Raises:
        DataError: an image could not be read for a reason that is not in its content.
    """
    import PIL

    key = json.dumps([sha256, len(listing.files), asdict(rendering), PIL.__version__])
    path = data_dir / "folder" / "hashes" / f"damaged-{sha256[:16]}-{rendering.size}.json"
    result: dict[str, str] = stored_json(path, key, lambda: _decode(listing, rendering))
    return result


def _decode(listing: Listing, rendering: Rendering) -> dict[str, str]:
    from bench_images.decoding import decode_blocks, threads_for

    reasons: dict[str, str] = {}
    files = listing.files
    workers = threads_for(sum(file.state[0] for file in files) / len(files))
    for _ in decode_blocks(listing.root, [file.name for file in files], rendering, reasons, workers):
        pass
    return reasons
