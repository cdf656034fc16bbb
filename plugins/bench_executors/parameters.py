"""Parameters of the executors. Nothing here imports Ray or Slurm, so that `bench list` is quick."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

REQUEST = re.compile(r"[\w.,:=&|()\[\]*!+/-]*", re.ASCII)
"""A value that goes into the text of a batch job: names, lists of names, expressions of node features."""


@dataclass(frozen=True, kw_only=True)
class LocalParams:
    """Parameters of `local`."""

    patience: float = field(default=60.0, metadata={"help": "seconds to write a checkpoint when the run is stopped"})
    """0 or more. A cell that takes longer is killed and resumes from its last checkpoint."""
    grace: float = field(default=10.0, metadata={"help": "seconds for the process of a finished cell to end"})
    """0 or more. A process that takes longer, because of a thread that a plugin has started, is killed."""

    def __post_init__(self) -> None:
        for name, default in (("patience", 60), ("grace", 10)):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(
                    f"{name}={value} is not possible; write a number of seconds from 0 on, such as {name}={default}"
                )


@dataclass(frozen=True, kw_only=True)
class RayParams:
    """Parameters of `ray`."""

    address: str = field(default="", metadata={"help": "cluster: auto or host:port; default: start Ray here"})
    """A cluster can be joined from a machine on which `ray start` was run. Empty: Ray starts here and ends with the run."""
    gpus: float = field(default=0.0, metadata={"help": "GPUs per cell; 0: by --slots per GPU, none on the CPU"})
    """In [0, 1]: a cell uses one GPU or a part of it."""
    memory: bool = field(default=False, metadata={"help": "reserve the memory that past records predict"})
    """Ray then starts only as many cells on a node as fit in its memory. Cells without past records reserve nothing."""
    retries: int = field(default=3, metadata={"help": "retries of a cell whose node or process died"})
    """0 or more. A cell that fails with an error of its own is not tried again."""
    data_dir: str = field(default="", metadata={"help": "--data-dir on the nodes; default: the path used here"})
    """A dataset that is missing on a node is downloaded by the first cell that needs it there."""

    def __post_init__(self) -> None:
        if not 0 <= self.gpus <= 1:
            raise ValueError(f"gpus={self.gpus} is not possible: a cell uses at most one GPU; write gpus=1 or gpus=0.5")
        if self.retries < 0:
            raise ValueError(f"retries={self.retries} is negative; write retries=3, or 0 for none")


@dataclass(frozen=True, kw_only=True)
class SlurmParams:
    """Parameters of `slurm`: what each cell requests from Slurm."""

    partition: str = field(default="", metadata={"help": "partition; default: Slurm's"})
    gpus: int = field(default=0, metadata={"help": "GPUs per cell: 0 or 1"})
    cpus: int = field(default=0, metadata={"help": "CPUs per cell; 0: as many as threads"})
    memory_gb: float = field(default=0.0, metadata={"help": "memory per cell in GB; 0: Slurm's default"})
    minutes: int = field(default=240, metadata={"help": "time limit per cell; it is then queued again"})
    """A cell that reaches the limit resumes from its checkpoint, up to three times."""
    array_parallelism: int = field(default=256, metadata={"help": "cells at once"})
    account: str = field(default="", metadata={"help": "account to charge; default: Slurm's"})
    qos: str = field(default="", metadata={"help": "quality of service; default: Slurm's"})
    constraint: str = field(default="", metadata={"help": "required node features; default: any node"})
    folder: str = field(default="", metadata={"help": "submitit's files and logs; default: .slurm in --out"})
    """On a disk that all nodes share, as --out is."""
    cluster: Literal["auto", "slurm", "local", "debug"] = field(
        default="auto", metadata={"help": "auto: Slurm; local: processes here; debug: this process"}
    )
    """submitit's name of the cluster; `local` and `debug` are for tests without Slurm."""

    def __post_init__(self) -> None:
        for name in ("partition", "account", "qos", "constraint"):
            if REQUEST.fullmatch(getattr(self, name)) is None:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is not possible; Slurm's names hold no spaces and no quotes"
                )
        if not self.folder.isprintable():
            raise ValueError(f"folder={self.folder!r} is not possible; write a path without control characters")
        if self.gpus not in (0, 1):
            raise ValueError(f"gpus={self.gpus} is not possible: a cell uses one GPU or none; write gpus=1")
        for name in ("cpus", "memory_gb"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} is negative; write {name}=4, or 0 for the default")
        for name in ("minutes", "array_parallelism"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is not possible; write a whole number from 1 on")
