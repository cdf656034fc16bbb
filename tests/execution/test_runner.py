"""Jobs and executors: forgotten, unknown and crashed cells, and the second try after running out of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from sample_jobs import sample_job
from session_runs import Session, with_executor

from benchmark.api.cells import Job, Outcome
from benchmark.errors import PluginError
from benchmark.execution.cell import run_cell
from benchmark.execution.runner import longest_first
from benchmark.records.record_files import read_record


def failure(job: Job, cause: str = "") -> Outcome:
    return Outcome(cell_id=job.cell.id, folder=job.folder, state="failed", seconds=0.0, reason="crashed", cause=cause)  # type: ignore[arg-type]


def test_longest_first_puts_jobs_without_an_estimate_first_in_their_order() -> None:
    jobs = [sample_job(number, expected_seconds=seconds) for number, seconds in enumerate((5.0, None, 50.0, None, 0.0))]
    assert [job.cell.seed for job in longest_first(jobs)] == [1, 3, 2, 0, 4]


def test_cell_that_an_executor_forgets_has_failed(session: Session) -> None:
    catalog = with_executor(lambda jobs: (run_cell(job) for job in jobs[:1]))
    result = session.run("mean_color,byol", executor="planted", catalog=catalog)
    assert [record.cell["method"]["name"] for record in result.records] == ["mean_color"]
    (forgotten,) = result.failed
    assert forgotten.reason == "executor 'planted' ended without an outcome for this cell"
    assert read_record(session.folder("byol")).state == "failed"


def test_outcome_for_an_unknown_job_is_an_error_of_the_executor(session: Session) -> None:
    unknown = Outcome(cell_id="unknown", folder="nowhere", state="done", seconds=0.0)
    with pytest.raises(PluginError, match=r"executor 'planted' returned an outcome for an unknown job: nowhere"):
        session.run(executor="planted", catalog=with_executor(lambda jobs: iter([unknown])))


def test_crash_keeps_a_record_with_scores(session: Session) -> None:
    session.run()
    session.run(rerun="all", executor="planted", catalog=with_executor(lambda jobs: (failure(job) for job in jobs)))
    record = read_record(session.folder())
    assert (record.state, len(record.scores)) == ("done", 2)


def test_crash_of_a_new_cell_leaves_a_record_with_its_settings(session: Session) -> None:
    session.run(executor="planted", catalog=with_executor(lambda jobs: (failure(job) for job in jobs)))
    record = read_record(session.folder())
    assert (record.state, record.cell["recipe"]["epochs"]) == ("failed", 1)
    assert (record.failure or {})["stage"] == "process"


# --- memory -----------------------------------------------------------------------------------------------------------


def ends(session: Session) -> list[tuple[str, str]]:
    return [(event.cell.partition(" ")[0], event.stage) for event in session.events if event.kind == "finished"]


def test_cell_that_runs_out_of_memory_runs_once_more_with_the_device_to_itself(session: Session) -> None:
    rounds: list[list[tuple[str, bool]]] = []

    def crowded(jobs: Sequence[Job]) -> Iterator[Outcome]:
        rounds.append([(job.cell.method.name, job.exclusive) for job in jobs])
        for job in jobs:
            shared = job.cell.method.name == "byol" and not job.exclusive
            yield failure(job, "memory") if shared else run_cell(job)

    result = session.run("mean_color,byol", executor="planted", catalog=with_executor(crowded))
    assert rounds == [[("mean_color", False), ("byol", False)], [("byol", True)]]
    assert result.failed == ()
    assert ends(session) == [("mean_color", "done"), ("byol", "done")]
    notes = [event.text for event in session.events if event.kind == "note"]
    assert notes == ["byol / tiny / stripes / seed 0 runs once more with the device to itself: crashed"]


@pytest.mark.parametrize(("exclusive", "expected"), [(False, [False, True]), (True, [True])])
def test_cell_that_always_runs_out_of_memory_fails_once_it_had_the_device_to_itself(
    session: Session, exclusive: bool, expected: list[bool]
) -> None:
    tries: list[bool] = []

    def too_small(jobs: Sequence[Job]) -> Iterator[Outcome]:
        for job in jobs:
            tries.append(job.exclusive)
            yield failure(job, "memory")

    result = session.run(executor="planted", catalog=with_executor(too_small, exclusive=exclusive))
    assert tries == expected
    assert [outcome.cause for outcome in result.failed] == ["memory"]
    assert read_record(session.folder()).state == "failed"
    assert ends(session) == [("mean_color", "failed")]


@pytest.mark.parametrize("cause", ["", "silence", "crash"])
def test_cell_that_fails_otherwise_is_not_tried_again(session: Session, cause: str) -> None:
    rounds: list[int] = []

    def broken(jobs: Sequence[Job]) -> Iterator[Outcome]:
        rounds.append(len(jobs))
        yield from (failure(job, cause) for job in jobs)

    session.run(executor="planted", catalog=with_executor(broken))
    assert rounds == [1]


def test_third_party_executor_gets_the_second_try_without_code_of_its_own(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THIRD_PARTY_ACTIVITY", str(session.out.parent / "activity"))
    result = session.run("fault_memory[times=1]", executor="in_order")
    assert [record.state for record in result.records] == ["done"]
    assert len(session.trainings) == 2
    assert ends(session) == [("fault_memory[times=1]", "done")]
