"""What each encoder can be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class BlockNetParams:
    """The choices of `blocknet`."""

    blocks: Literal[3, 4, 5] = field(default=4, metadata={"help": "blocks of three convolutions"})
    """Number of blocks. AET uses 4; RotNet compares 3, 4 and 5; RotNet's supervised bound has 3."""
    pool_after_block3: bool = field(default=False, metadata={"help": "average pooling after block 3 (blocks 4 or 5)"})
    """Halve the map of conv3, the `use_avg_on_conv3` of RotNet's code. Both papers' released settings leave it off."""
    init: Literal["aet", "default"] = field(default="aet", metadata={"help": "first weights: AET's, or PyTorch's own"})
    """`aet`: convolutions N(0, 2 / (k^2 Cout)) as in AET's code. `default`: PyTorch's, as in RotNet's runs (its code
    defines the same rule as AET's but never calls it)."""

    def __post_init__(self) -> None:
        if self.pool_after_block3 and self.blocks == 3:
            raise ValueError(
                "pool_after_block3=true with blocks=3 would pool the last block, which has no block after it; "
                "give blocks=4 or blocks=5 with it, or leave it out"
            )
