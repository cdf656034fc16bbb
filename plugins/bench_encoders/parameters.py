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


@dataclass(frozen=True, kw_only=True)
class ResNetParams:
    """The choices of `resnet18`."""

    stem: Literal["auto", "small", "imagenet"] = field(
        default="auto",
        metadata={"help": "first convolution: small (3x3 at stride 1), imagenet (7x7 at 2, then pooling)"},
    )
    """`small` keeps the image's size, as is the custom on CIFAR; `imagenet` leaves a quarter of it. `auto` takes `small`
    where the shorter side has up to 64 pixels."""


@dataclass(frozen=True, kw_only=True)
class DimConvParams:
    """The choices of `dim_conv`."""

    units: int = field(default=64, metadata={"help": "numbers in the representation"})
    """Width of the output y, 1 or more. Deep InfoMax uses 64."""

    def __post_init__(self) -> None:
        if self.units < 1:
            raise ValueError(f"units={self.units} cannot be: the output has at least one number; Deep InfoMax has 64")
