"""Executors: what a plugin provides and the context it is built from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from benchmark.api.cells import Job, Outcome
from benchmark.api.encoders import NoParams

if TYPE_CHECKING:
    from benchmark.progress import Reporter


@dataclass(frozen=True, kw_only=True)
class ExecutorContext:
    """What an executor is built from. May grow."""

    params: Any
    devices: tuple[str, ...]
    """`("cpu",)` or one name for each visible GPU: `("cuda:0", "cuda:1")`."""
    slots: int
    """Cells at once on the CPU; on GPUs: per device."""
    threads: int
    """CPU threads for each cell."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """Device -> bytes that cells may hold there together; none for a device of which that is not known."""


class Executor(Protocol):
    """Where cells run."""

    def run(self, jobs: Sequence[Job], reporter: Reporter) -> Iterator[Outcome]:
        """Carries out each job with `benchmark.executors.run_cell` and yields its outcome as soon as it is there."""
        ...


@dataclass(frozen=True, kw_only=True)
class ExecutorSpec:
    """An executor that a plugin provides."""

    name: str
    summary: str
    build: Callable[[ExecutorContext], Executor]
    params: type = NoParams
    paper: str = ""
