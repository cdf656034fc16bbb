"""One seed, many independent streams: every place that draws gets a seed of its own, derived from names.

Nothing depends on how many numbers another place drew before, so that a resumed epoch draws what it would have drawn.
"""

from __future__ import annotations

import hashlib


def derived_seed(seed: int | None, *names: object) -> int:
    """A seed in [0, 2^63) for the stream of these names, the same on every machine. A seed of None counts as 0."""
    text = "/".join(str(part) for part in (seed or 0, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
