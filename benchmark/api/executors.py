"""Executors: the spec that a plugin provides, and the interface through which cells run."""

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
    """The argument of `ExecutorSpec.build`. Later versions may add fields."""

    params: Any
    """Instance of the spec's `params` dataclass."""
    devices: tuple[str, ...]
    """`("cpu",)`, or one name for each GPU: `("cuda:0", "cuda:1")`."""
    slots: int
    """Number of cells that may run at once on each device."""
    threads: int
    """CPU threads for each cell."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """Device -> bytes that its cells may use together; a device without an entry has no known limit."""


class Executor(Protocol):
    """Runs cells. It handles jobs and outcomes, never tensors."""

    def run(self, jobs: Sequence[Job], reporter: Reporter) -> Iterator[Outcome]:
        """Runs each job with `benchmark.executors.run_cell` and yields its outcome as soon as the job ends."""
        ...


@dataclass(frozen=True, kw_only=True)
class ExecutorSpec:
    """An executor that a plugin provides."""

    name: str
    """Name on the command line: lower case, unique among installed executors."""
    summary: str
    """One line for `bench list`."""
    build: Callable[[ExecutorContext], Executor]
    """context -> executor, or a UsageError that says why it cannot be used. It starts nothing: `bench plan` calls it too."""
    params: type = NoParams
    """Frozen dataclass with a default for every field."""
    exclusive: bool = False
    """True: no job shares its device, so a job that runs out of memory is not tried a second time."""
    paper: str = ""
    """Reference; `bench list -v` shows it."""
