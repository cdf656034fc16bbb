"""Parameters of each encoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class BlockNetParams:
    """Parameters of `blocknet`."""

    blocks: Literal[3, 4, 5] = field(default=4, metadata={"help": "number of blocks of three convolutions"})
    """AET uses 4. RotNet compares 3, 4 and 5; its supervised network has 3."""
    pool_after_block3: bool = field(
        default=False, metadata={"help": "average pooling after block 3 (needs 4 or 5 blocks)"}
    )
    """Halves the map of conv3: `use_avg_on_conv3` of RotNet's code. It is off in the released settings of both papers."""
    init: Literal["aet", "default"] = field(default="aet", metadata={"help": "initialization: AET's or PyTorch's"})
    """`aet`: convolutions from N(0, 2 / (k^2 Cout)), as in AET's code. `default`: PyTorch's, as in RotNet's runs (RotNet's
    code defines AET's initialization but does not use it)."""

    def __post_init__(self) -> None:
        if self.pool_after_block3 and self.blocks == 3:
            raise ValueError(
                "pool_after_block3=true is not valid with blocks=3, because no block follows the pooling; "
                "use blocks=4 or blocks=5, or leave it out"
            )


@dataclass(frozen=True, kw_only=True)
class ResNetParams:
    """Parameters of `resnet18`."""

    stem: Literal["auto", "small", "imagenet"] = field(
        default="auto",
        metadata={"help": "small: 3x3, stride 1; imagenet: 7x7, stride 2, pooling"},
    )
    """`small` keeps the image's size, as is common on CIFAR; `imagenet` reduces each side to 1/4. `auto` chooses `small` if
    the shorter side has at most 64 pixels."""


@dataclass(frozen=True, kw_only=True)
class DimConvParams:
    """Parameters of `dim_conv`."""

    units: int = field(default=64, metadata={"help": "dimensions of the output y"})
    """1 or more. Deep InfoMax uses 64."""

    def __post_init__(self) -> None:
        if self.units < 1:
            raise ValueError(f"units={self.units} is not valid: must be 1 or more, such as 64")
