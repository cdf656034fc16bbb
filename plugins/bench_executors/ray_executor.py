"""Executor `ray`: cells on a Ray cluster whose machines share no disk. A cell's folder travels to its node and back.

The head locks each cell in its own output folder before it sends it, so that two runs may share that folder. A cell whose node
dies is sent again, in the state that is stored on the head.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import exceptions

import benchmark
from bench_executors import outcomes, ray_cluster, ray_node
from bench_executors.parameters import RayParams
from benchmark.executors import CellLock, LostLockError, acquire, outcome_from_json, pack, to_json, unpack
from benchmark.progress import Event, Reporter

POLL_SECONDS = 0.2
GRACE_SECONDS = 15.0
"""Time for cells to write a checkpoint and return their folders when a run is stopped."""
MAILBOX_SECONDS = 5.0
"""Longest wait for the mailbox, which may be restarting."""
EXTRA_CELLS = 1
"""Cells sent beyond the cluster's capacity: a node that becomes free has work, and other runs get the other cells."""
NODE_DIED = (
    exceptions.WorkerCrashedError,
    exceptions.NodeDiedError,
    exceptions.LocalRayletDiedError,
    exceptions.ObjectLostError,
    exceptions.RaySystemError,
)
"""Errors that mean that the node or the process of a cell died. The cell is sent again."""


@dataclass(kw_only=True)
class _Sent:
    """A cell that was sent to the cluster."""

    job: benchmark.Job
    lock: CellLock
    reporter: Reporter
    started: float
    """When it was first sent, by the monotonic clock."""
    tries: int = 1
    reference: Any = None
    """Ray's reference to the task's result."""
    last_event: float | None = None
    """Time of the last event, by the monotonic clock; None while the cell waits for a node."""

    @property
    def sender(self) -> str:
        """Name of this try, which marks its events."""
        return f"{self.job.cell.id} {self.tries} {self.job.exclusive}"

    def failed(self, reason: str, cause: benchmark.Cause, traceback: str = "") -> benchmark.Outcome:
        """An outcome that does not come from a node."""
        return outcomes.failed(self.job, self.started, reason, cause=cause, traceback=traceback)


class RayExecutor:
    """Runs cells on a Ray cluster, or on a Ray that it starts on this machine.

    Args:
        context: slots and devices of a Ray on this machine; threads of each cell.
    """

    def __init__(self, context: benchmark.ExecutorContext) -> None:
        self._context = context
        self._params: RayParams = context.params or RayParams()
        self._needs = ray_cluster.needs(context, self._params)
        self._task = ray.remote(ray_node.run_on_node)

    def run(self, jobs: Sequence[benchmark.Job], reporter: Reporter) -> Iterator[benchmark.Outcome]:
        """Outcomes in the order in which cells return. Closing the iterator stops the running cells.

        Raises:
            UsageError: no Ray answers at the address.
        """
        waiting, sent = list(jobs), list[_Sent]()
        with ray_cluster.connected(self._context, self._params):
            mailbox = ray_cluster.actor_on_head(ray_node.Mailbox)
            ray_cluster.warn_if_too_small(self._needs, reporter)
            try:
                while waiting or sent:
                    while waiting and len(sent) < ray_cluster.capacity(self._needs) + EXTRA_CELLS:
                        outcome = self._begin(waiting.pop(0), sent, mailbox, reporter)
                        if outcome is not None:
                            yield outcome
                    for cell, outcome in self._ended(sent, mailbox):
                        sent.remove(cell)
                        cell.lock.release()
                        yield outcome
            finally:
                _stop(sent)

    # --- to the nodes -------------------------------------------------------------------------------------------------

    def _begin(
        self, job: benchmark.Job, sent: list[_Sent], mailbox: Any, reporter: Reporter
    ) -> benchmark.Outcome | None:
        """Locks a cell and sends it. Returns an outcome if that is not possible."""
        started = time.monotonic()
        try:
            lock = acquire(Path(job.out_dir) / job.folder, job.cell.title, "ray", abandoned_token=job.abandoned_token)
            if lock is None:
                return outcomes.elsewhere(job, started)
            with contextlib.ExitStack() as undo:
                undo.callback(lock.release)
                cell = _Sent(job=job, lock=lock, reporter=lock.record_progress(reporter), started=started)
                self._send(cell, mailbox)
                sent.append(cell)
                undo.pop_all()
        except benchmark.BenchError as error:
            return outcomes.failed(job, started, str(error))
        return None

    def _send(self, cell: _Sent, mailbox: Any) -> None:
        cell.last_event = None
        data_dir = Path(self._params.data_dir) if self._params.data_dir else Path(cell.job.data_dir).absolute()
        text = to_json(dataclasses.replace(cell.job, data_dir=str(data_dir)))
        device = "cuda:0" if self._needs.gpus else "cpu"
        packed = pack(Path(cell.job.out_dir) / cell.job.folder)
        options = ray_cluster.task_options(self._needs, cell.job)
        cell.reference = self._task.options(**options).remote(
            text, device, str(Path.cwd()), packed, cell.sender, mailbox
        )

    # --- from the nodes -----------------------------------------------------------------------------------------------

    def _ended(self, sent: Sequence[_Sent], mailbox: Any) -> Iterator[tuple[_Sent, benchmark.Outcome]]:
        """Waits a short time, passes events on, and returns the cells that have ended."""
        if not sent:
            return
        ready, _ = ray.wait([cell.reference for cell in sent], num_returns=len(sent), timeout=POLL_SECONDS)
        _fetch_events(sent, mailbox)
        for cell in list(sent):
            outcome: benchmark.Outcome | None = None
            if cell.lock.lost:
                ray.cancel(cell.reference, force=True)
                outcome = outcomes.elsewhere(cell.job, cell.started)
            elif cell.reference in ready:
                outcome = self._result(cell, mailbox)
            elif _is_hung(cell):
                ray.cancel(cell.reference, force=True)
                outcome = cell.failed(f"no progress for {cell.job.timeout:g} s (--timeout)", "silence")
            if outcome is not None:
                yield cell, outcome

    def _result(self, cell: _Sent, mailbox: Any) -> benchmark.Outcome | None:
        """How a cell ended; None if it was sent again."""
        try:
            return _returned(cell)
        except NODE_DIED as error:
            reason = f"the node or process of the cell died ({_first_sentence(error)})"
            if cell.tries > self._params.retries:
                return cell.failed(f"{reason}, {cell.tries} times", "crash")
            cell.tries += 1
            title = cell.job.cell.title
            cell.reporter(Event(kind="note", cell=title, text=f"sending {title} again: {reason}"))
            self._send(cell, mailbox)
            return None
        except exceptions.OutOfMemoryError as error:
            return cell.failed(f"the node of the cell ran out of memory ({_first_sentence(error)})", "memory")
        except exceptions.RayError as error:
            return cell.failed(f"Ray could not run the cell ({_first_sentence(error)})", "crash", str(error))


def _fetch_events(sent: Sequence[_Sent], mailbox: Any) -> None:
    """Passes on the events in the mailbox."""
    try:
        messages = ray.get(mailbox.take.remote(), timeout=MAILBOX_SECONDS)
    except exceptions.RayError:
        # Ray restarts the mailbox. Events were lost, so their absence does not mean that a cell hangs.
        for each in sent:
            each.last_event = time.monotonic() if each.last_event is not None else None
        return
    senders = {each.sender: each for each in sent}
    for sender, message in messages:
        cell = senders.get(sender)
        if cell is not None:
            cell.last_event = time.monotonic()
            cell.reporter(Event(**json.loads(message)))


def _returned(cell: _Sent) -> benchmark.Outcome:
    """Unpacks the folder that a node returned, and reads the outcome.

    Raises:
        RayError: nothing was returned.
    """
    text, packed = ray.get(cell.reference)
    outcome = outcome_from_json(text)
    try:
        unpack(packed, Path(cell.job.out_dir) / cell.job.folder, cell.lock)
    except LostLockError:
        return outcomes.elsewhere(cell.job, cell.started)
    except benchmark.BenchError as error:
        return cell.failed(str(error), "")
    return outcome


def _stop(sent: Sequence[_Sent]) -> None:
    """Asks cells to write a checkpoint, and stores the folders that return in time."""
    try:
        for cell in sent:
            ray.cancel(cell.reference, force=False)
        late = [cell.reference for cell in sent]
        if late:
            _, late = ray.wait(late, num_returns=len(late), timeout=GRACE_SECONDS)
        for cell in sent:
            with contextlib.suppress(exceptions.RayError):
                if cell.reference in late:
                    ray.cancel(cell.reference, force=True)
                else:
                    _returned(cell)
    finally:
        for cell in sent:
            cell.lock.release()


def _is_hung(cell: _Sent) -> bool:
    timeout, last_event = cell.job.timeout, cell.last_event
    return timeout is not None and last_event is not None and time.monotonic() - last_event > timeout


def _first_sentence(error: Exception) -> str:
    """The informative line of an error of Ray, which can be pages long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    name = type(error).__name__
    if isinstance(error, exceptions.RayTaskError):
        return lines[-1] if lines else name
    return f"{name}: {lines[0][:200]}" if lines else name
