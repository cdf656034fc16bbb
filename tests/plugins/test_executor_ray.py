"""Executor `ray` with a replacement for Ray: resources of cells, returned folders, and nodes that die."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sample_jobs import sample_job

import bench_executors
from bench_executors.parameters import RayParams
from benchmark.api.cells import Job, Outcome
from benchmark.api.executors import ExecutorContext
from benchmark.api.parameters import bind
from benchmark.errors import UsageError
from benchmark.execution.serialization import from_json, outcome_to_json
from benchmark.progress import Event
from benchmark.records import archive, locks
from benchmark.records.record import LOG

ray = pytest.importorskip("ray", reason='needs pip install "repbench[ray]"')

from bench_executors import ray_cluster, ray_executor  # noqa: E402  # they import ray


def job(out: Path, number: int = 0, **changes: Any) -> Job:
    return sample_job(number, out=out, **changes)


def context(devices: tuple[str, ...] = ("cpu",), slots: int = 1, **params: Any) -> ExecutorContext:
    return ExecutorContext(params=RayParams(**params), devices=devices, slots=slots, threads=2)


# --- a replacement for Ray ---------------------------------------------------------------------------------------------

Answer = Callable[[Job, bytes, str], Any]
"""(job, packed folder, sender) -> what the task returns, an exception that it raises, or None: it never ends."""


@dataclass
class PlainRay:
    """The part of Ray that the executor uses, without a cluster. Tasks answer when they are waited for."""

    answer: Answer
    messages: list[tuple[str, str]] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)
    canceled: list[bool] = field(default_factory=list)
    """Whether each cancellation was forced."""
    mailbox_is_dead: bool = False

    def remote(self, function: Any) -> PlainRay:
        return self

    def task(self, **options: Any) -> Any:
        self.options.append(options)
        return lambda text, device, here, packed, sender, mailbox: (from_json(text), packed, sender)

    def wait(self, references: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        ready = [each for each in references if self.answer(*each) is not None]
        time.sleep(0 if ready else 0.01)
        return ready, [each for each in references if each not in ready]

    def get(self, reference: Any, timeout: float | None = None) -> Any:
        if reference == "messages":
            if self.mailbox_is_dead:
                raise ray.exceptions.ActorUnavailableError("gone for now", None)
            messages, self.messages = self.messages, []
            return messages
        result = self.answer(*reference)
        if isinstance(result, Exception):
            raise result
        return result

    def cancel(self, reference: Any, force: bool) -> None:
        self.canceled.append(force)


@dataclass
class Calls:
    """`f.options(...).remote(...)` and `actor.take.remote()`."""

    plain: PlainRay

    def options(self, **options: Any) -> Any:
        return type("Task", (), {"remote": staticmethod(self.plain.task(**options))})

    @property
    def take(self) -> Any:
        return type("Take", (), {"remote": staticmethod(lambda: "messages")})


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], PlainRay]:
    """Replaces Ray by a `PlainRay` with capacity for one cell, so that two are sent."""

    def put(answer: Answer) -> PlainRay:
        replacement = PlainRay(answer)
        for name in ("wait", "get", "cancel"):
            monkeypatch.setattr(ray_executor.ray, name, getattr(replacement, name))
        monkeypatch.setattr(ray_executor.ray, "remote", lambda function: Calls(replacement))
        monkeypatch.setattr(ray_cluster.ray, "nodes", lambda: [])
        monkeypatch.setattr(ray_cluster, "connected", lambda *arguments: contextlib.nullcontext())
        monkeypatch.setattr(ray_cluster, "actor_on_head", lambda kind: Calls(replacement))
        monkeypatch.setattr(ray_cluster, "capacity", lambda needed: 1)
        return replacement

    return put


def done(job: Job, packed: bytes, sender: str) -> tuple[str, bytes]:
    """A node that adds a line to the log of the cell."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive.unpack(packed, folder)
        with (folder / LOG).open("a") as log:
            log.write("done\n")
        outcome = Outcome(cell_id=job.cell.id, folder=job.folder, state="done", seconds=1.0)
        return outcome_to_json(outcome), archive.pack(folder)


def outcomes_of(jobs: list[Job], events: list[Event] | None = None, **params: Any) -> list[Outcome]:
    return list(ray_executor.RayExecutor(context(**params)).run(jobs, ([] if events is None else events).append))


def test_folder_of_a_cell_travels_to_its_node_and_back(plain: Any, tmp_path: Path) -> None:
    plain(done)
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / LOG).write_text("before\n")
    events: list[Event] = []
    outcomes = outcomes_of([job(tmp_path), job(tmp_path, 1), job(tmp_path, 2)], events)
    assert [outcome.state for outcome in outcomes] == ["done"] * 3
    assert (tmp_path / "0" / LOG).read_text() == "before\ndone\n"
    assert events == []
    assert not list(tmp_path.glob("*/lock.json"))


def test_cell_whose_node_dies_is_sent_again_with_a_note(plain: Any, tmp_path: Path) -> None:
    tries: Counter[str] = Counter()

    def answer(job: Job, packed: bytes, sender: str) -> Any:
        number = int(sender.split()[1])
        tries[sender] += 1
        return done(job, packed, sender) if number == 3 else ray.exceptions.WorkerCrashedError()

    plain(answer)
    events: list[Event] = []
    (outcome,) = outcomes_of([job(tmp_path)], events)
    assert outcome.state == "done"
    assert len(tries) == 3
    notes = [event.text for event in events if event.kind == "note"]
    assert len(notes) == 2
    assert notes[0].startswith(
        f"sending {job(tmp_path).cell.title} again: the node or process of the cell died (WorkerCrashed"
    )


def test_cell_whose_nodes_die_too_often_fails(plain: Any, tmp_path: Path) -> None:
    plain(lambda *arguments: ray.exceptions.NodeDiedError("the node was lost"))
    (outcome,) = outcomes_of([job(tmp_path)], retries=1)
    assert (outcome.state, outcome.cause) == ("failed", "crash")
    assert outcome.reason == "the node or process of the cell died (NodeDiedError: the node was lost), 2 times"


def test_cell_whose_node_runs_out_of_memory_fails_with_that_cause(plain: Any, tmp_path: Path) -> None:
    plain(lambda *arguments: ray.exceptions.OutOfMemoryError("memory is short"))
    (outcome,) = outcomes_of([job(tmp_path)])
    assert (outcome.state, outcome.cause) == ("failed", "memory")
    assert outcome.reason == "the node of the cell ran out of memory (OutOfMemoryError: memory is short)"


def test_error_of_ray_fails_only_its_cell(plain: Any, tmp_path: Path) -> None:
    def answer(job: Job, packed: bytes, sender: str) -> Any:
        return done(job, packed, sender) if job.cell.seed else ray.exceptions.RuntimeEnvSetupError("no such thing")

    plain(answer)
    outcomes = outcomes_of([job(tmp_path), job(tmp_path, 1)])
    assert {outcome.cell_id: outcome.state for outcome in outcomes} == {f"{0:064d}": "failed", f"{1:064d}": "done"}


def test_damaged_folder_from_a_node_fails_the_cell_and_keeps_the_files(plain: Any, tmp_path: Path) -> None:
    def answer(job: Job, packed: bytes, sender: str) -> Any:
        text, good = done(job, packed, sender)
        return text, good[:-30]

    plain(answer)
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / LOG).write_text("before\n")
    (outcome,) = outcomes_of([job(tmp_path)])
    assert outcome.state == "failed"
    assert "is damaged" in outcome.reason
    assert (tmp_path / "0" / LOG).read_text() == "before\n"


def test_cell_locked_by_another_run_is_not_sent(plain: Any, tmp_path: Path) -> None:
    plain(done)
    lock = locks.acquire(tmp_path / "0", "title", "cpu")
    assert lock is not None
    try:
        outcomes = outcomes_of([job(tmp_path), job(tmp_path, 1)])
    finally:
        lock.release()
    assert [(outcome.folder, outcome.state) for outcome in outcomes] == [("0", "elsewhere"), ("1", "done")]
    assert not (tmp_path / "0" / LOG).exists()


def test_cell_that_another_run_took_over_is_not_written(plain: Any, tmp_path: Path) -> None:
    def answer(job: Job, packed: bytes, sender: str) -> Any:
        (tmp_path / job.folder / locks.LOCK).write_text("{}")
        return done(job, packed, sender)

    plain(answer)
    (outcome,) = outcomes_of([job(tmp_path)])
    assert outcome.state == "elsewhere"
    assert not (tmp_path / "0" / LOG).exists()


def test_events_of_nodes_are_passed_on_in_order(plain: Any, tmp_path: Path) -> None:
    def answer(job: Job, packed: bytes, sender: str) -> Any:
        kinds = ("started", "epoch", "finished")
        fake.messages = [(sender, json.dumps({"kind": kind, "cell": "t", "values": {"loss": 0.5}})) for kind in kinds]
        return done(job, packed, sender)

    fake = plain(answer)
    events: list[Event] = []
    outcomes_of([job(tmp_path)], events)
    assert [event.kind for event in events] == ["started", "epoch", "finished"]
    assert events[1].values == {"loss": 0.5}


def test_dead_mailbox_does_not_fail_a_cell(plain: Any, tmp_path: Path) -> None:
    plain(done).mailbox_is_dead = True
    (outcome,) = outcomes_of([job(tmp_path, timeout=0.0)])
    assert outcome.state == "done"


def test_hung_cell_is_canceled_but_not_one_that_waits_for_a_node(plain: Any, tmp_path: Path) -> None:
    start = time.monotonic()

    def answer(job: Job, packed: bytes, sender: str) -> Any:
        if job.cell.seed == 0:
            if not reported:
                reported.append(1)
                fake.messages = [(sender, '{"kind": "started", "cell": "t"}')]
            return None
        return done(job, packed, sender) if time.monotonic() - start > 0.6 else None

    reported: list[int] = []
    fake = plain(answer)
    outcomes = {outcome.folder: outcome for outcome in outcomes_of([job(tmp_path, n, timeout=0.2) for n in (0, 1)])}
    assert (outcomes["0"].state, outcomes["0"].cause) == ("failed", "silence")
    assert outcomes["0"].reason == "no progress for 0.2 s (--timeout)"
    assert outcomes["1"].state == "done"
    assert fake.canceled == [True]


def test_closing_the_iterator_stops_the_cells_and_releases_their_locks(plain: Any, tmp_path: Path) -> None:
    def answer(job: Job, packed: bytes, sender: str) -> Any:
        return done(job, packed, sender) if job.cell.seed == 0 or fake.canceled else None

    fake = plain(answer)
    outcomes = ray_executor.RayExecutor(context()).run(
        [job(tmp_path, number) for number in range(3)], lambda event: None
    )
    assert next(outcomes).folder == "0"
    outcomes.close()  # type: ignore[attr-defined]  # a generator
    assert fake.canceled == [False]
    assert (tmp_path / "1" / LOG).read_text() == "done\n"
    assert not (tmp_path / "2").exists()
    assert not list(tmp_path.glob("*/lock.json"))


# --- what cells need ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("devices", "slots", "gpus", "reserved"),
    [
        (("cpu",), 2, 0.0, 0.0),
        (("cuda:0",), 1, 0.0, 1.0),
        (("cuda:0", "cuda:1"), 3, 0.0, 0.3333),
        (("cpu",), 1, 0.5, 0.5),
    ],
)
def test_needs_are_a_slots_part_of_a_gpu(devices: tuple[str, ...], slots: int, gpus: float, reserved: float) -> None:
    made = context(devices, slots, gpus=gpus)
    assert ray_cluster.needs(made, made.params) == ray_cluster.Needs(cpus=2, gpus=reserved, memory=False)


def test_task_reserves_memory_only_if_requested_and_known(tmp_path: Path) -> None:
    quiet = ray_cluster.Needs(cpus=2, gpus=0.0, memory=False)
    assert "memory" not in ray_cluster.task_options(quiet, job(tmp_path, memory=100))
    assert "memory" not in ray_cluster.task_options(replace(quiet, memory=True), job(tmp_path))
    assert "memory" not in ray_cluster.task_options(replace(quiet, memory=True, gpus=1.0), job(tmp_path, memory=100))
    options = ray_cluster.task_options(replace(quiet, memory=True), job(tmp_path, memory=100))
    assert (options["memory"], options["num_cpus"], options["max_retries"]) == (100, 2, 0)


def test_capacity_counts_the_cells_that_fit_on_living_nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    resources = [{"CPU": 5.0, "GPU": 1.0}, {"CPU": 1.0}, {"CPU": 64.0, "GPU": 2.0}]
    nodes = [{"Alive": True, "Resources": each} for each in resources]
    nodes.append({"Alive": False, "Resources": {"CPU": 100.0, "GPU": 8.0}})
    monkeypatch.setattr(ray_cluster.ray, "nodes", lambda: nodes)
    needed = ray_cluster.Needs(cpus=2, gpus=0.0, memory=False)
    assert ray_cluster.capacity(needed) == 2 + 0 + 32
    assert ray_cluster.capacity(replace(needed, gpus=0.3333)) == 2 + 0 + 6
    assert ray_cluster.task_options(needed, job(tmp_path, exclusive=True))["num_cpus"] == 64.0
    notes: list[Event] = []
    ray_cluster.warn_if_too_small(replace(needed, cpus=65), notes.append)
    assert notes[0].text.startswith("no node of the Ray cluster has the 65 CPUs that a cell needs; waiting")


def test_environment_forwards_plugins_and_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/site")
    monkeypatch.setenv("BENCH_PLUGINS", "aet")
    assert ray_cluster.environment() == {"env_vars": {"PYTHONPATH": "/site", "BENCH_PLUGINS": "aet"}}


def test_local_ray_sees_only_the_requested_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,7")
    with ray_cluster.visible_gpus(("cuda:0", "cuda:2")):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,7"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,6,7"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with ray_cluster.visible_gpus(("cuda:1",)):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize("params", [{"gpus": 2.0}, {"gpus": -0.5}, {"retries": -1}, {"adress": "auto"}])
def test_impossible_parameters_are_rejected(params: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(params))):
        bind(RayParams, params, "executor 'ray'")


def test_cluster_that_does_not_answer_is_reported_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**options: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray_cluster.ray, "init", init)
    made = context(address="auto")
    with (
        pytest.raises(UsageError, match=r"no Ray answers at address=auto \(Could not find any.*run `ray start --head`"),
        ray_cluster.connected(made, made.params),
    ):
        pass


def test_missing_ray_is_reported_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # put back afterwards: building sets it
    (spec,) = (each for each in bench_executors.bench_executors() if each.name == "ray")
    with pytest.raises(UsageError, match=r'pip install "repbench\[ray\]"'):
        spec.build(context())
