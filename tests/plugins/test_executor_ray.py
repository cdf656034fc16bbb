"""Cells on Ray: what is asked of it, what comes home, and what becomes of cells whose node dies."""

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

import bench_executors
from bench_executors.clusters import RayParams
from benchmark.api.cells import Cell, Item, Job, Outcome
from benchmark.api.executors import ExecutorContext
from benchmark.api.parameters import bind
from benchmark.api.recipes import Recipe
from benchmark.errors import UsageError
from benchmark.execution.serialization import from_json, outcome_to_json
from benchmark.progress import Event
from benchmark.records import archive, locks
from benchmark.records.record import LOG

ray = pytest.importorskip("ray", reason='needs pip install "repbench[ray]"')

from bench_executors import on_ray, ray_cluster  # noqa: E402  # they import ray

CELL = Cell(
    id="c",
    method=Item(name="aet", label="aet"),
    encoder=Item(name="tiny", label="tiny"),
    dataset=Item(name="stripes", label="stripes"),
    fingerprint="",
    subset=None,
    seed=0,
    recipe=Recipe(),
)


def job(out: Path, number: int = 0, **changed: Any) -> Job:
    cell = replace(CELL, id=f"c{number}", seed=number)
    return Job(cell=cell, scores=(), data_dir="", out_dir=str(out), folder=f"aet-{number}", **changed)


def context(devices: tuple[str, ...] = ("cpu",), slots: int = 1, **params: Any) -> ExecutorContext:
    return ExecutorContext(params=RayParams(**params), devices=devices, slots=slots, threads=2)


# --- a Ray that does as it is told ------------------------------------------------------------------------------------

Answer = Callable[[Job, bytes, str], Any]
"""(job, parcel, sender) -> what the task gives, an exception that it meets, or None: it goes on and on."""


@dataclass
class PlainRay:
    """What `OnRay` uses of Ray, without a cluster: tasks answer when they are looked at."""

    answer: Answer
    letters: list[tuple[str, str]] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)
    canceled: list[bool] = field(default_factory=list)
    """Of each that was canceled, whether by force."""
    deaf: bool = False

    def remote(self, function: Any) -> PlainRay:
        return self

    def task(self, **options: Any) -> Any:
        self.options.append(options)
        return lambda text, device, here, parcel, sender, mailbox: (from_json(text), parcel, sender)

    def wait(self, references: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        ready = [each for each in references if self.answer(*each) is not None]
        time.sleep(0 if ready else 0.01)
        return ready, [each for each in references if each not in ready]

    def get(self, reference: Any, timeout: float | None = None) -> Any:
        if reference == "letters":
            if self.deaf:
                raise ray.exceptions.ActorUnavailableError("gone for now", None)
            letters, self.letters = self.letters, []
            return letters
        found = self.answer(*reference)
        if isinstance(found, Exception):
            raise found
        return found

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
        return type("Take", (), {"remote": staticmethod(lambda: "letters")})


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], PlainRay]:
    """Puts a `PlainRay` with room for two cells, one of them ahead, in Ray's place."""

    def put(answer: Answer) -> PlainRay:
        found = PlainRay(answer)
        for name in ("wait", "get", "cancel"):
            monkeypatch.setattr(on_ray.ray, name, getattr(found, name))
        monkeypatch.setattr(on_ray.ray, "remote", lambda function: Calls(found))
        monkeypatch.setattr(ray_cluster.ray, "nodes", lambda: [])
        monkeypatch.setattr(ray_cluster, "connected", lambda *given: contextlib.nullcontext())
        monkeypatch.setattr(ray_cluster, "beside_me", lambda kind: Calls(found))
        monkeypatch.setattr(ray_cluster, "room", lambda needed: 1)
        return found

    return put


def done(given: Job, parcel: bytes, sender: str) -> tuple[str, bytes]:
    """A node that adds a line to the cell's log."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive.unpack(parcel, folder)
        with (folder / LOG).open("a") as log:
            log.write("done\n")
        outcome = Outcome(cell_id=given.cell.id, folder=given.folder, state="done", seconds=1.0)
        return outcome_to_json(outcome), archive.pack(folder)


def carried_out(jobs: list[Job], events: list[Event] | None = None, **params: Any) -> list[Outcome]:
    return list(on_ray.OnRay(context(**params)).run(jobs, ([] if events is None else events).append))


def test_a_cells_folder_travels_there_and_back(plain: Any, tmp_path: Path) -> None:
    plain(done)
    (tmp_path / "aet-0").mkdir()
    (tmp_path / "aet-0" / LOG).write_text("before\n")
    events: list[Event] = []
    outcomes = carried_out([job(tmp_path), job(tmp_path, 1), job(tmp_path, 2)], events)
    assert [outcome.state for outcome in outcomes] == ["done"] * 3
    assert (tmp_path / "aet-0" / LOG).read_text() == "before\ndone\n"
    assert [event.kind for event in events] == ["finished"] * 3
    assert not list(tmp_path.glob("*/claim.json"))


def test_a_cell_whose_node_dies_is_sent_again_and_it_is_said(plain: Any, tmp_path: Path) -> None:
    tries: Counter[str] = Counter()

    def answer(given: Job, parcel: bytes, sender: str) -> Any:
        number = int(sender.split()[1])
        tries[sender] += 1
        return done(given, parcel, sender) if number == 3 else ray.exceptions.WorkerCrashedError()

    plain(answer)
    events: list[Event] = []
    (outcome,) = carried_out([job(tmp_path)], events)
    assert outcome.state == "done"
    assert len(tries) == 3
    notes = [event.text for event in events if event.kind == "note"]
    assert len(notes) == 2
    assert notes[0].startswith(
        "aet / tiny / stripes / seed 0 is sent again: its node or its process died (WorkerCrashed"
    )


def test_a_cell_whose_nodes_die_too_often_fails(plain: Any, tmp_path: Path) -> None:
    plain(lambda *given: ray.exceptions.NodeDiedError("the node was lost"))
    (outcome,) = carried_out([job(tmp_path)], retries=1)
    assert (outcome.state, outcome.cause) == ("failed", "crash")
    assert outcome.reason == "its node or its process died (NodeDiedError: the node was lost), 2 times"


def test_a_cell_that_ran_out_of_memory_is_sent_again_alone(plain: Any, tmp_path: Path) -> None:
    alone: list[bool] = []

    def answer(given: Job, parcel: bytes, sender: str) -> Any:
        alone.append(given.exclusive)
        return done(given, parcel, sender) if given.exclusive else ray.exceptions.OutOfMemoryError("memory is short")

    plain(answer)
    (outcome,) = carried_out([job(tmp_path)])
    assert outcome.state == "done"
    assert sorted(set(alone)) == [False, True]


def test_what_ray_cannot_do_fails_the_cell_alone(plain: Any, tmp_path: Path) -> None:
    def answer(given: Job, parcel: bytes, sender: str) -> Any:
        return done(given, parcel, sender) if given.cell.seed else ray.exceptions.RuntimeEnvSetupError("no such thing")

    plain(answer)
    outcomes = carried_out([job(tmp_path), job(tmp_path, 1)])
    assert {outcome.cell_id: outcome.state for outcome in outcomes} == {"c0": "failed", "c1": "done"}


def test_a_damaged_parcel_fails_the_cell_and_leaves_what_was_there(plain: Any, tmp_path: Path) -> None:
    def answer(given: Job, parcel: bytes, sender: str) -> Any:
        text, good = done(given, parcel, sender)
        return text, good[:-30]

    plain(answer)
    (tmp_path / "aet-0").mkdir()
    (tmp_path / "aet-0" / LOG).write_text("before\n")
    (outcome,) = carried_out([job(tmp_path)])
    assert outcome.state == "failed"
    assert "is damaged" in outcome.reason
    assert (tmp_path / "aet-0" / LOG).read_text() == "before\n"


def test_a_cell_that_another_run_has_is_left_to_it(plain: Any, tmp_path: Path) -> None:
    plain(done)
    claim = locks.acquire(tmp_path / "aet-0", "title", "cpu")
    assert claim is not None
    try:
        outcomes = carried_out([job(tmp_path), job(tmp_path, 1)])
    finally:
        claim.release()
    assert [(outcome.folder, outcome.state) for outcome in outcomes] == [("aet-0", "elsewhere"), ("aet-1", "done")]
    assert not (tmp_path / "aet-0" / LOG).exists()


def test_a_cell_that_another_run_took_over_is_not_written_to(plain: Any, tmp_path: Path) -> None:
    def answer(given: Job, parcel: bytes, sender: str) -> Any:
        sign = locks.read_lock(tmp_path / given.folder)
        assert sign is not None
        locks._write(tmp_path / given.folder, replace(sign, token="theirs"))
        return done(given, parcel, sender)

    plain(answer)
    (outcome,) = carried_out([job(tmp_path)])
    assert outcome.state == "elsewhere"
    assert not (tmp_path / "aet-0" / LOG).exists()


def test_events_come_home_and_the_end_is_told_once(plain: Any, tmp_path: Path) -> None:
    def answer(given: Job, parcel: bytes, sender: str) -> Any:
        kinds = ("started", "epoch", "finished")
        found.letters = [(sender, json.dumps({"kind": kind, "cell": "t", "values": {"loss": 0.5}})) for kind in kinds]
        return done(given, parcel, sender)

    found = plain(answer)
    events: list[Event] = []
    carried_out([job(tmp_path)], events)
    assert [event.kind for event in events] == ["started", "epoch", "finished"]
    assert events[1].values == {"loss": 0.5}


def test_a_mailbox_that_is_gone_costs_no_cell(plain: Any, tmp_path: Path) -> None:
    plain(done).deaf = True
    (outcome,) = carried_out([job(tmp_path, timeout=0.0)])
    assert outcome.state == "done"


def test_a_silent_cell_is_ended_and_one_that_waits_for_a_node_is_not(plain: Any, tmp_path: Path) -> None:
    start = time.monotonic()

    def answer(given: Job, parcel: bytes, sender: str) -> Any:
        if given.cell.seed == 0:
            if not spoken:
                spoken.append(1)
                found.letters = [(sender, '{"kind": "started", "cell": "t"}')]
            return None
        return done(given, parcel, sender) if time.monotonic() - start > 0.6 else None

    spoken: list[int] = []
    found = plain(answer)
    outcomes = {outcome.folder: outcome for outcome in carried_out([job(tmp_path, n, timeout=0.2) for n in (0, 1)])}
    assert (outcomes["aet-0"].state, outcomes["aet-0"].cause) == ("failed", "silence")
    assert outcomes["aet-0"].reason == "it gave no sign of life for 0.2 s"
    assert outcomes["aet-1"].state == "done"
    assert found.canceled == [True]


def test_who_stops_listening_stops_the_cells_and_frees_them(plain: Any, tmp_path: Path) -> None:
    def answer(given: Job, parcel: bytes, sender: str) -> Any:
        return done(given, parcel, sender) if given.cell.seed == 0 or found.canceled else None

    found = plain(answer)
    outcomes = on_ray.OnRay(context()).run([job(tmp_path, number) for number in range(3)], lambda event: None)
    assert next(outcomes).folder == "aet-0"
    outcomes.close()  # type: ignore[attr-defined]  # a generator
    assert found.canceled == [False]
    assert (tmp_path / "aet-1" / LOG).read_text() == "done\n"
    assert not (tmp_path / "aet-2").exists()
    assert not list(tmp_path.glob("*/claim.json"))


# --- what is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("devices", "slots", "gpus", "asked"),
    [
        (("cpu",), 2, 0.0, 0.0),
        (("cuda:0",), 1, 0.0, 1.0),
        (("cuda:0", "cuda:1"), 3, 0.0, 0.3333),
        (("cpu",), 1, 0.5, 0.5),
    ],
)
def test_a_cell_asks_for_its_slots_part_of_a_gpu(
    devices: tuple[str, ...], slots: int, gpus: float, asked: float
) -> None:
    given = context(devices, slots, gpus=gpus)
    assert ray_cluster.needs(given, given.params) == ray_cluster.Needs(cpus=2, gpus=asked, memory=False)


def test_a_cell_asks_for_memory_only_where_that_was_wanted_and_is_known(tmp_path: Path) -> None:
    quiet = ray_cluster.Needs(cpus=2, gpus=0.0, memory=False)
    assert "memory" not in ray_cluster.options(quiet, job(tmp_path, memory=100))
    assert "memory" not in ray_cluster.options(replace(quiet, memory=True), job(tmp_path))
    assert "memory" not in ray_cluster.options(replace(quiet, memory=True, gpus=1.0), job(tmp_path, memory=100))
    found = ray_cluster.options(replace(quiet, memory=True), job(tmp_path, memory=100))
    assert (found["memory"], found["num_cpus"], found["max_retries"]) == (100, 2, 0)


def test_there_is_room_for_as_many_cells_as_nodes_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    resources = [{"CPU": 5.0, "GPU": 1.0}, {"CPU": 1.0}, {"CPU": 64.0, "GPU": 2.0}]
    nodes = [{"Alive": True, "Resources": each} for each in resources]
    nodes.append({"Alive": False, "Resources": {"CPU": 100.0, "GPU": 8.0}})
    monkeypatch.setattr(ray_cluster.ray, "nodes", lambda: nodes)
    needed = ray_cluster.Needs(cpus=2, gpus=0.0, memory=False)
    assert ray_cluster.room(needed) == 2 + 0 + 32
    assert ray_cluster.room(replace(needed, gpus=0.3333)) == 2 + 0 + 6
    assert ray_cluster.options(needed, job(tmp_path, exclusive=True))["num_cpus"] == 64.0
    notes: list[Event] = []
    ray_cluster.warn(replace(needed, cpus=65), notes.append)
    assert notes[0].text.startswith("no node of the Ray cluster has 65 CPUs for a cell; waiting")


def test_plugins_and_their_path_are_found_on_nodes_as_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/site")
    monkeypatch.setenv("BENCH_PLUGINS", "aet")
    assert ray_cluster.environment() == {"env_vars": {"PYTHONPATH": "/site", "BENCH_PLUGINS": "aet"}}


def test_a_ray_of_our_own_sees_the_gpus_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,7")
    with ray_cluster._chosen_gpus(("cuda:0", "cuda:2")):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,7"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,6,7"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with ray_cluster._chosen_gpus(("cuda:1",)):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize("given", [{"gpus": 2.0}, {"gpus": -0.5}, {"retries": -1}, {"adress": "auto"}])
def test_parameters_that_cannot_be_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(given))):
        bind(RayParams, given, "executor 'ray'")


def test_a_cluster_that_does_not_answer_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**given: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray_cluster.ray, "init", init)
    given = context(address="auto")
    with (
        pytest.raises(UsageError, match=r"no Ray answers at address=auto \(Could not find any.*run `ray start --head`"),
        ray_cluster.connected(given, given.params),
    ):
        pass


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # put back afterwards: building sets it
    (spec,) = (each for each in bench_executors.bench_executors() if each.name == "ray")
    with pytest.raises(UsageError, match=r'pip install "repbench\[ray\]"'):
        spec.build(context())
