"""Cells, the jobs that executors receive, and the outcomes that they return.

Everything here is a frozen value made of plain data, so that it can be written as JSON and sent to another machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmark.api.encoders import Pool
from benchmark.api.recipes import Recipe

Json = dict[str, Any]
SMOKE_STEPS = 4
"""Training steps of a cell under `--smoke`."""
Accelerate = Literal["auto", "off", "compile"]
"""Acceleration of training steps: `auto` uses what is faster on the device, `off` nothing, `compile` torch.compile."""
State = Literal["done", "failed", "interrupted", "smoke"]
"""State of a record. `smoke`: the cell was trained for a few steps only."""
Cause = Literal["", "memory", "silence", "crash"]
"""Kind of failure that the runner reacts to: out of memory, no progress within the timeout, or a dead process."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A plugin's method, encoder, dataset, evaluator or executor with its resolved parameters."""

    name: str
    """Name of the spec."""
    params: Mapping[str, object] = field(default_factory=dict)
    """Every parameter with its value, as needed to run; may hold a path."""
    identity: Mapping[str, object] = field(default_factory=dict)
    """What is hashed and recorded instead of `params`; holds no path."""
    label: str = ""
    """Name in tables: the name with its non-default parameters, sorted: `aet[transform=affine]`."""
    provider: str = ""
    """Distribution that provides it; needed only if two provide the same name."""
    version: int = 1
    """Version of the spec."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The unit that is trained, skipped and resumed: method x encoder x dataset x seed x recipe."""

    id: str
    """Hash of the training settings, 64 hexadecimal digits; see `benchmark.api.identity`."""
    method: Item
    """Trains the encoder."""
    encoder: Item
    """Label `-` for a method with features of its own."""
    dataset: Item
    """Its label includes the subset."""
    fingerprint: str
    """Identifies the content of the dataset."""
    subset: int | None
    """Number of training images, with the same share of each class; None: all."""
    seed: int | None
    """0 or more; None for a method without randomness."""
    recipe: Recipe
    """Every number resolved."""
    smoke: bool = False
    """Trained for `SMOKE_STEPS` steps only; not a result."""

    @property
    def title(self) -> str:
        """`aet / resnet18 / digits / seed 0`."""
        seed = "no seed" if self.seed is None else f"seed {self.seed}"
        return f"{self.method.label} / {self.encoder.label} / {self.dataset.label} / {seed}"


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """One evaluator at one tap."""

    tap: str
    """Name of the tap."""
    pool: Pool
    """How the tap becomes features."""
    evaluator: Item
    """Scores the features."""
    protocol: str
    """Evaluator and version: `knn@1`."""

    def key(self) -> dict[str, str]:
        """The fields that identify its scores in a record."""
        return {"tap": self.tap, "pool": self.pool, "evaluator": self.evaluator.label, "protocol": self.protocol}


@dataclass(frozen=True, kw_only=True)
class Job:
    """The input of an executor: one cell with its scores and settings."""

    cell: Cell
    """The cell to train."""
    scores: tuple[ScoreRequest, ...]
    """Requested scores. Those that the record has already are not computed again."""
    data_dir: str
    """Folder of datasets."""
    out_dir: str
    """Folder of records."""
    folder: str
    """Name of the cell's folder in `out_dir`."""
    threads: int = 1
    """CPU threads. Recorded, because another number gives other sums."""
    rerun: bool = False
    """Train again although a finished record exists."""
    rescore: tuple[str, ...] = ()
    """Labels of the evaluators whose scores are computed again although the record has them."""
    accelerate: Accelerate = "auto"
    """Acceleration of training steps. Recorded, not part of the cell's identity."""
    checkpoint_seconds: float = 60.0
    """Least number of seconds between two checkpoints."""
    checkpoint_epochs: int | None = None
    """Also write a checkpoint after every N epochs; None: by time only."""
    timeout: float | None = None
    """Seconds without progress (no step, no stage) after which the cell is stopped; None: never."""
    expected_seconds: float | None = None
    """Duration estimated from earlier records; None if there are none. Jobs come longest first."""
    memory: int | None = None
    """Bytes that the cell is expected to use on its device, estimated from earlier records; None if there are none."""
    exclusive: bool = False
    """Second attempt after running out of memory, with no other cell on the device.

    If it runs out of memory again, the failure names the largest batch that fits."""
    abandoned_token: str = ""
    """Token of a lock that a dead run left on the cell; the job may replace that lock."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one job ended."""

    cell_id: str
    """Id of the cell."""
    folder: str
    """Name of the cell's folder in `out_dir`."""
    state: State | Literal["elsewhere"]
    """State of the record; `elsewhere`: another run holds the cell, and nothing was done."""
    seconds: float
    """Wall-clock duration."""
    reason: str = ""
    """Why it failed, one line."""
    traceback: str = ""
    """The whole traceback, also kept in the record and in log.txt."""
    cause: Cause = ""
    """Kind of failure, if an executor reacts to it."""
