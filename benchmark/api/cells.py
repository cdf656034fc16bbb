"""What plugins give to the core, and what the core's rooms hand to each other.

Everything here is a frozen value or a Protocol; nothing imports torch, so that `bench list` answers at once.
Shapes: N images, C channels, H x W pixels, D features. Images are uint8 NCHW at rest and float32 NCHW in [0, 1] in motion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from benchmark.api.encoders import Pool
from benchmark.api.recipes import Recipe

if TYPE_CHECKING:
    pass
Json = dict[str, Any]
SMOKE_STEPS = 4
"""Training steps of a cell under --smoke."""


Accelerate = Literal["auto", "off", "compile"]
"""Of training steps. `auto`: what pays on the device; `off`: the plain step; `compile`: compile the network in any case."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A named thing with its resolved parameters."""

    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    """Every parameter with its value, as needed to run: may hold a path."""
    identity: Mapping[str, object] = field(default_factory=dict)
    """What is hashed and recorded instead of `params`: no path."""
    label: str = ""
    """As shown: the name with its non-default parameters, sorted."""
    provider: str = ""
    """Distribution that gives it; needed only where two give the same name."""
    version: int = 1


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The unit that is trained, skipped and resumed: method x encoder x dataset x seed x recipe."""

    id: str
    """Hash of the training settings alone: 64 hexadecimal digits."""
    method: Item
    encoder: Item
    dataset: Item
    fingerprint: str
    """The dataset's."""
    subset: int | None
    """Stratified number of training images; None: all."""
    seed: int | None
    """None where chance plays no part."""
    recipe: Recipe
    smoke: bool = False
    """A few batches only: not a result."""

    @property
    def title(self) -> str:
        """`aet / resnet18 / digits / seed 0`."""
        seed = "no seed" if self.seed is None else f"seed {self.seed}"
        return f"{self.method.label} / {self.encoder.label} / {self.dataset.label} / {seed}"


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """One evaluator at one tap."""

    tap: str
    pool: Pool
    evaluator: Item
    protocol: str

    def key(self) -> dict[str, str]:
        """Under which its scores stand in a record."""
        return {"tap": self.tap, "pool": self.pool, "evaluator": self.evaluator.label, "protocol": self.protocol}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One cell's errand, made of plain values: it can be written as JSON and carried out on another machine."""

    cell: Cell
    scores: tuple[ScoreRequest, ...]
    """Asked for; those that the record already has are not computed again."""
    data_dir: str
    out_dir: str
    folder: str
    """Name of the cell's folder under `out_dir`."""
    threads: int = 1
    """CPU threads, recorded: another number gives other sums."""
    rerun: bool = False
    """Train again even though there is a finished record."""
    accelerate: Accelerate = "auto"
    """How training steps may be made faster; recorded, no part of a cell's identity."""
    checkpoint_seconds: float = 60.0
    """Least time between two checkpoints."""
    checkpoint_epochs: int | None = None
    """Also after every so many epochs; None: by time alone."""
    timeout: float | None = None
    """Seconds of silence (no step, no stage) after which the cell counts as hung; None: never."""
    expected_seconds: float | None = None
    """As past records have it; None where there are none. Jobs come longest first."""
    memory: int | None = None
    """Bytes that it is expected to hold, of the GPU or of the host, as past records have it."""
    alone: bool = False
    """Second try of a cell that ran out of memory, with the device to itself: if it does again, the batch that would fit
    is looked for."""
    left_token: str = ""
    """Of another run's claim on the cell which was seen to be left behind: it may be taken."""


State = Literal["done", "failed", "interrupted", "smoke"]
Cause = Literal["", "memory", "silence", "crash"]
"""Why a cell failed, where an executor does something about it: it ran out of memory, hung, or its process died."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one job ended."""

    cell_id: str
    folder: str
    state: State | Literal["elsewhere"]
    """`elsewhere`: another run works on the cell; nothing was done."""
    seconds: float
    reason: str = ""
    """Why it failed, one line."""
    traceback: str = ""
    """What was caught, whole; kept in the record and in log.txt."""
    cause: Cause = ""
