"""What can be set about `ray` and `slurm`; neither is imported here, so that listing stays fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class RayParams:
    """Parameters of `ray`."""

    address: str = field(default="", metadata={"help": "of a cluster: auto or host:port; none: a Ray of this machine"})
    """A cluster is joined from a machine on which `ray start` was run. Empty: Ray is started here, and ended with the run."""
    gpus: float = field(
        default=0.0, metadata={"help": "GPUs a cell; 0: as many cells a GPU as --slots, none on the CPU"}
    )
    """In [0, 1]: a cell uses one GPU or a part of it."""
    memory: bool = field(
        default=False, metadata={"help": "ask nodes for the memory that a cell on the CPU is expected to hold"}
    )
    """Ray then starts no more cells on a node than fit by past records. Cells of which none is known ask for nothing."""
    retries: int = field(default=3, metadata={"help": "how often a cell is tried again whose node or process died"})
    """0 or more. A cell that fails by its own error is not tried again."""
    data_dir: str = field(default="", metadata={"help": "--data-dir on the nodes; none: the same path as here"})
    """Datasets that are not there are fetched by the first cell of a node that wants them."""

    def __post_init__(self) -> None:
        if not 0 <= self.gpus <= 1:
            raise ValueError(
                f"gpus={self.gpus} cannot be: a cell uses one GPU or a part of it. Write gpus=0.5, for instance"
            )
        if self.retries < 0:
            raise ValueError(f"retries={self.retries} cannot be. Write retries=3, for instance, or 0 for none")


@dataclass(frozen=True, kw_only=True)
class SlurmParams:
    """Parameters of `slurm`: what is asked of Slurm for each cell."""

    partition: str = field(default="", metadata={"help": "partition; none: Slurm's default"})
    gpus: int = field(default=0, metadata={"help": "GPUs a cell: 0 or 1"})
    cpus: int = field(default=0, metadata={"help": "CPUs a cell; 0: as many as its threads"})
    memory_gb: float = field(default=0.0, metadata={"help": "GB of memory a cell; 0: Slurm's default"})
    minutes: int = field(default=240, metadata={"help": "time limit of a cell, after which it is queued again"})
    """A cell goes on from its checkpoint, up to three times."""
    array_parallelism: int = field(default=256, metadata={"help": "cells at once"})
    account: str = field(default="", metadata={"help": "account that pays; none: Slurm's default"})
    qos: str = field(default="", metadata={"help": "quality of service; none: Slurm's default"})
    constraint: str = field(default="", metadata={"help": "features that nodes must have; none: any node"})
    folder: str = field(default="", metadata={"help": "of submitit's files and logs; none: .slurm below --out"})
    """On a disk that all nodes share, as --out must be."""
    cluster: Literal["auto", "slurm", "local", "debug"] = field(
        default="auto",
        metadata={"help": "auto: Slurm; to try it, local: processes of this machine, debug: this process"},
    )
    """As submitit names them."""

    def __post_init__(self) -> None:
        if self.gpus not in (0, 1):
            raise ValueError(f"gpus={self.gpus} cannot be: a cell uses one GPU or none. Write gpus=1")
        for name in ("cpus", "memory_gb"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} cannot be. Write {name}=4, or 0 for the default")
        for name in ("minutes", "array_parallelism"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} cannot be. Write {name}=60, for instance")
