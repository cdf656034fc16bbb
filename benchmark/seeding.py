"""Independent random streams from one seed: each stream has its own seed, derived from names.

No stream depends on how many numbers another one drew, so a resumed epoch draws the same numbers as an uninterrupted one.
"""

from __future__ import annotations

import hashlib


def derived_seed(seed: int | None, *names: object) -> int:
    """The seed of the stream with these names, in [0, 2^63) and the same on every machine; None counts as seed 0."""
    text = "/".join(str(part) for part in (seed or 0, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
