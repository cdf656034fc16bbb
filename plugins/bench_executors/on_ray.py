"""Cells on a Ray cluster whose machines share no disk: a cell's folder travels to a node and back, as bytes.

The head claims each cell in its own output folder before it sends it, so that two runs may share that folder. A cell whose
node dies is sent again, from what the head has of it.
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
from bench_executors import endings, on_node, ray_cluster
from bench_executors.clusters import RayParams
from bench_executors.endings import Cause
from benchmark.executors import CellLock, LostLockError, acquire, outcome_from_json, pack, to_json, unpack
from benchmark.progress import Event, Reporter

POLL_SECONDS = 0.2
GRACE_SECONDS = 15.0
"""How long cells may take, when a run is stopped, to write down where they are and to come home."""
LISTEN_SECONDS = 5.0
"""After which the mailbox is taken for deaf, for now."""
AHEAD = 1
"""Cells that wait for a node beside those that run: a node that is free has something to do, and other runs the rest."""
LOST = (
    *(exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.LocalRayletDiedError),
    *(exceptions.ObjectLostError, exceptions.RaySystemError),
)
"""What a cell meets whose node or process died: worth another try."""


@dataclass(kw_only=True)
class _Sent:
    """A cell that is under way."""

    job: benchmark.Job
    claim: CellLock
    reporter: Reporter
    since: float
    """When it was first sent."""
    tries: int = 1
    reference: Any = None
    """Of the task's result."""
    heard: float | None = None
    """When it last gave a sign of life; None while it waits for a node."""

    @property
    def sender(self) -> str:
        """Name of this try."""
        return f"{self.job.cell.id} {self.tries} {self.job.exclusive}"

    def failed(self, reason: str, cause: Cause, traceback: str = "") -> benchmark.Outcome:
        """An outcome that did not come from a node."""
        return endings.ended(self.job, self.since, "failed", reason, cause=cause, traceback=traceback)


class OnRay:
    """A Ray of this machine, or a cluster.

    Args:
        context: slots and devices of a Ray of this machine; threads of each cell.
    """

    def __init__(self, context: benchmark.ExecutorContext) -> None:
        self._context = context
        self._params: RayParams = context.params or RayParams()
        self._needs = ray_cluster.needs(context, self._params)
        self._task = ray.remote(on_node.carry_out)

    def run(self, jobs: Sequence[benchmark.Job], reporter: Reporter) -> Iterator[benchmark.Outcome]:
        """Outcomes in the order in which cells come home. When the caller stops listening, running cells are stopped.

        Raises:
            UsageError: no Ray answers at the address.
        """
        waiting, sent = list(jobs), list[_Sent]()
        with ray_cluster.connected(self._context, self._params):
            mailbox = ray_cluster.beside_me(on_node.Mailbox)
            ray_cluster.warn(self._needs, reporter)
            try:
                while waiting or sent:
                    while waiting and len(sent) < ray_cluster.room(self._needs) + AHEAD:
                        outcome = self._begin(waiting.pop(0), sent, mailbox, reporter)
                        if outcome is not None:
                            yield outcome
                    for cell, outcome in self._ended(sent, mailbox):
                        sent.remove(cell)
                        cell.claim.release()
                        yield outcome
            finally:
                self._stop(sent)

    # --- there --------------------------------------------------------------------------------------------------------

    def _begin(
        self, job: benchmark.Job, sent: list[_Sent], mailbox: Any, reporter: Reporter
    ) -> benchmark.Outcome | None:
        """Claims a cell and sends it; an outcome where that cannot be."""
        since = time.monotonic()
        try:
            claim = acquire(Path(job.out_dir) / job.folder, job.cell.title, "ray", left_token=job.left_token)
            if claim is None:
                return endings.ended(job, since, "elsewhere")
            with contextlib.ExitStack() as undo:
                undo.callback(claim.release)
                cell = _Sent(job=job, claim=claim, reporter=claim.told(reporter), since=since)
                self._send(cell, mailbox)
                sent.append(cell)
                undo.pop_all()
        except benchmark.BenchError as error:
            outcome = endings.ended(job, since, "failed", str(error))
            endings.tell(job, outcome, reporter)
            return outcome
        return None

    def _send(self, cell: _Sent, mailbox: Any) -> None:
        cell.heard = None
        data_dir = Path(self._params.data_dir) if self._params.data_dir else Path(cell.job.data_dir).absolute()
        text = to_json(dataclasses.replace(cell.job, data_dir=str(data_dir)))
        device = "cuda:0" if self._needs.gpus else "cpu"
        parcel = pack(Path(cell.job.out_dir) / cell.job.folder)
        options = ray_cluster.options(self._needs, cell.job)
        cell.reference = self._task.options(**options).remote(
            text, device, str(Path.cwd()), parcel, cell.sender, mailbox
        )

    def _again(self, cell: _Sent, mailbox: Any, reason: str) -> None:
        text = f"{cell.job.cell.title} is sent again: {reason}"
        cell.reporter(Event(kind="note", cell=cell.job.cell.title, text=text))
        self._send(cell, mailbox)

    # --- back ---------------------------------------------------------------------------------------------------------

    def _ended(self, sent: Sequence[_Sent], mailbox: Any) -> Iterator[tuple[_Sent, benchmark.Outcome]]:
        """Waits a little, passes events on, and gives the cells that have come to an end."""
        if not sent:
            return
        ready, _ = ray.wait([cell.reference for cell in sent], num_returns=len(sent), timeout=POLL_SECONDS)
        self._listen(sent, mailbox)
        for cell in list(sent):
            outcome: benchmark.Outcome | None = None
            if cell.claim.lost:
                ray.cancel(cell.reference, force=True)
                outcome = endings.ended(cell.job, cell.since, "elsewhere")
            elif cell.reference in ready:
                outcome = self._result(cell, mailbox)
            elif _is_silent(cell):
                ray.cancel(cell.reference, force=True)
                outcome = cell.failed(f"it gave no sign of life for {cell.job.timeout:g} s", "silence")
            if outcome is not None:
                endings.tell(cell.job, outcome, cell.reporter)
                yield cell, outcome

    def _listen(self, sent: Sequence[_Sent], mailbox: Any) -> None:
        try:
            letters = ray.get(mailbox.take.remote(), timeout=LISTEN_SECONDS)
        except exceptions.RayError:
            # Ray starts it anew. Of cells that were not heard of meanwhile, nothing can be said.
            for each in sent:
                each.heard = time.monotonic() if each.heard is not None else None
            return
        senders = {each.sender: each for each in sent}
        for sender, letter in letters:
            cell = senders.get(sender)
            if cell is not None:
                cell.heard = time.monotonic()
                event = Event(**json.loads(letter))
                if event.kind != "finished":  # told once the cell has come home
                    cell.reporter(event)

    def _result(self, cell: _Sent, mailbox: Any) -> benchmark.Outcome | None:
        """How it ended; None where it was sent again."""
        try:
            outcome = _home(cell)
        except LOST as error:
            reason = f"its node or its process died ({_sentence(error)})"
            if cell.tries > self._params.retries:
                return cell.failed(f"{reason}, {cell.tries} times", "crash")
            cell.tries += 1
            self._again(cell, mailbox, reason)
            return None
        except exceptions.OutOfMemoryError as error:
            outcome = cell.failed(f"its node ran out of memory ({_sentence(error)})", "memory")
        except exceptions.RayError as error:
            outcome = cell.failed(f"Ray could not carry it out ({_sentence(error)})", "crash", str(error))
        if outcome.cause == "memory" and not cell.job.exclusive:
            cell.job = dataclasses.replace(cell.job, exclusive=True)
            self._again(cell, mailbox, f"alone on its node, since {outcome.reason}")
            return None
        return outcome

    def _stop(self, sent: Sequence[_Sent]) -> None:
        """Asks cells to write down where they are and takes them home; those that take too long are ended."""
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
                        _home(cell)
        finally:
            for cell in sent:
                cell.claim.release()


def _home(cell: _Sent) -> benchmark.Outcome:
    """Puts what came back into the cell's folder.

    Raises:
        RayError: nothing came back.
    """
    text, parcel = ray.get(cell.reference)
    outcome = outcome_from_json(text)
    try:
        cell.claim.check()
        unpack(parcel, Path(cell.job.out_dir) / cell.job.folder)
    except LostLockError:
        return endings.ended(cell.job, cell.since, "elsewhere")
    except benchmark.BenchError as error:
        return cell.failed(str(error), "")
    return outcome


def _is_silent(cell: _Sent) -> bool:
    timeout, heard = cell.job.timeout, cell.heard
    return timeout is not None and heard is not None and time.monotonic() - heard > timeout


def _sentence(error: Exception) -> str:
    """Ray's own words begin with a sentence and go on with pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    word = type(error).__name__
    if isinstance(error, exceptions.RayTaskError):
        return lines[-1] if lines else word
    return f"{word}: {lines[0][:200]}" if lines else word
