"""What an executor plugin needs, besides `benchmark` and `benchmark.progress`.

An executor decides where and when cells run. It gets jobs, and returns one outcome per job. It sees no tensors, and it needs
no other module of the core. The smallest one runs cells in its own process:

    class InOrder:
        def __init__(self, context: benchmark.ExecutorContext) -> None:
            self._device = context.devices[0]

        def run(self, jobs, reporter):
            from benchmark.executors import run_cell

            for job in jobs:
                yield run_cell(job, device=self._device, reporter=reporter)

    @benchmark.hookimpl
    def bench_executors():
        yield benchmark.ExecutorSpec(name="in_order", summary="one cell after another", build=InOrder)

What `run` has to do:

- **Order and devices.** Jobs come longest first. `context` names devices, slots per device, threads per cell and memory per
  device. A job with `exclusive=True` must have its device to itself.
- **Outcomes.** Yield each outcome as soon as it is known, in any order. A failed cell is an outcome, not an exception. For a
  cell whose process returned nothing, make an `Outcome` with state `failed`, a `reason` and, if known, a `cause`: `memory` (it
  ran out of memory), `silence` (it sent no event for `job.timeout` seconds) or `crash`.
- **Events.** Call `reporter` for each event that a cell sends: it drives the progress display. Cells send them through the
  `reporter` of `run_cell`, from any process, as `benchmark.progress.Event`.
- **Stopping.** If the caller closes the iterator, stop the running cells: call `StopRequest.request` in a cell's process, and
  wait for its checkpoint.

What `run` need not do: the runner itself retries a cell that ran out of memory (once, with `exclusive=True`), waits for cells
of other runs (outcome `elsewhere`), records a crash, reports the end of a cell, and handles a job without an outcome.

In the process of a cell:

- `run_cell(job, device=..., reporter=..., stop=...)` runs a job and leaves its record in `job.out_dir/job.folder`
- `StopRequest`: its `request` makes the cell write a checkpoint and stop; pass it as `stop`

To run a cell on another machine:

- `to_json`, `from_json`, `outcome_to_json`, `outcome_from_json`: jobs and outcomes as text
- `pack`, `unpack`: a cell's folder as bytes, for machines that share no disk
- `acquire` locks a cell before it is sent away (`CellLock`, `LostLockError`); not needed where the cell itself writes to the
  output folder, because `run_cell` locks it

To follow a cell and to clean up after it:

- `read_lock`: which process works on a cell, and its stage
- `clear`: removes the lock of a process that has died
- `is_running`: whether a process of this machine is alive
- `OUTPUT`: name of the file in a cell's folder for what its process printed

Only `run_cell` imports torch, when it is called: `bench plan` builds the executor too, and stays quick.
"""

from __future__ import annotations

from benchmark.api.cells import Job, Outcome
from benchmark.execution.serialization import from_json, outcome_from_json, outcome_to_json, to_json
from benchmark.progress import Reporter, silent
from benchmark.records.archive import pack, unpack
from benchmark.records.locks import CellLock, LostLockError, acquire, clear, is_running, read_lock
from benchmark.records.record import OUTPUT
from benchmark.training.stop import StopRequest

__all__ = [
    "OUTPUT",
    "CellLock",
    "LostLockError",
    "StopRequest",
    "acquire",
    "clear",
    "from_json",
    "is_running",
    "outcome_from_json",
    "outcome_to_json",
    "pack",
    "read_lock",
    "run_cell",
    "to_json",
    "unpack",
]


def run_cell(job: Job, *, device: str = "cpu", reporter: Reporter = silent, stop: StopRequest | None = None) -> Outcome:
    """Runs one job in this process and leaves its record in `job.out_dir/job.folder`.

    Args:
        job: the cell, the requested scores, and where and how to run.
        device: `cpu` or `cuda:0`.
        reporter: receives the start, each epoch, each stage and the end.
        stop: asks the cell to write a checkpoint and stop; None: no stop can be requested.

    Returns:
        How the cell ended. A failure is an outcome, not an exception. `elsewhere`: another run works on the cell.

    Raises:
        KeyboardInterrupt: the cell was stopped; its checkpoint and its record say so.
    """
    from benchmark.execution.cell import run_cell as run

    return run(job, device=device, reporter=reporter, stop=stop)
