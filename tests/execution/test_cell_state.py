"""The state of each planned cell in an output folder."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from session_runs import Session, stamps

from benchmark.api.catalog import Provider, load_catalog
from benchmark.execution import cell_state
from benchmark.execution.cell_state import PendingCell, cells_to_run
from benchmark.records import index


def states_of(cells: Sequence[PendingCell]) -> dict[str, str]:
    return {cell.folder.partition("-")[0]: cell.state for cell in cells}


def settle(out: Path) -> None:
    """Makes records old enough to be trusted by the index, and writes it."""
    for record in out.glob("*/record.json"):
        os.utime(record, ns=(10**18, 10**18))
    index.read(out)


def test_survey_gives_each_state_and_cells_to_run_follow_from_it(session: Session) -> None:
    session.run("mean_color,fault_loss,byol", taps=("conv",))
    (session.folder("byol") / "record.json").write_text("{")
    cells = session.survey("mean_color,fault_loss,byol,fault_waits", taps=("conv",))
    assert states_of(cells) == {
        "mean_color": "done",
        "fault_loss": "failed",
        "byol": "unreadable",
        "fault_waits": "new",
    }
    assert states_of(cells_to_run(cells, "none")) == {"byol": "unreadable", "fault_waits": "new"}
    assert "fault_loss" in states_of(cells_to_run(cells, "failed"))
    assert "mean_color" not in states_of(cells_to_run(cells, "stale"))
    assert states_of(cells_to_run(cells, "all")) == states_of(cells)
    (more,) = session.survey(taps="all")
    assert (more.state, more.detail) == ("scores missing", "centroid at fc")


def test_survey_changes_nothing(session: Session) -> None:
    session.survey()
    assert not session.out.exists()
    session.run()
    before = stamps(session.out)
    session.survey(taps="all")
    assert stamps(session.out) == before


def test_survey_finds_the_cells_that_exist_among_many_that_do_not(session: Session) -> None:
    session.run(seeds=(3, 4))
    cells = session.survey(seeds=tuple(range(40)))
    assert [cell.cell.seed for cell in cells if cell.state != "new"] == [3, 4]


def test_survey_gives_the_same_states_from_the_index_as_from_records(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.run("mean_color,fault_loss,byol", taps=("conv",), evaluators="refuses,centroid")
    session.run("mean_color", seeds=(5,), smoke=True)
    path = session.folder("byol") / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "state": "interrupted", "failure": None}))

    def survey() -> list[PendingCell]:
        return [
            *session.survey("mean_color,fault_loss,byol,fault_waits", taps="all"),
            *session.survey("mean_color", taps=("conv",), evaluators="refuses,centroid"),
            *session.survey("mean_color", seeds=(5,), smoke=True),
        ]

    (session.out / index.INDEX).unlink()
    from_records = survey()
    settle(session.out)
    # The index knows what these files hold, and must not open them.
    monkeypatch.setattr(cell_state, "read_record", lambda folder: pytest.fail(f"{folder} was read"))
    assert survey() == from_records
    assert {cell.state for cell in from_records} == {"scores missing", "failed", "interrupted", "new", "done"}


def test_survey_sees_a_changed_version_from_the_index(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench_third_party

    session.run()
    settle(session.out)
    assert [cell.state for cell in session.survey()] == ["done"]
    monkeypatch.setattr(bench_third_party, "METHOD_VERSION", 2)
    (cell,) = session.survey()
    assert (cell.state, cell.detail) == ("stale", "method mean_color had version 1, now 2")


def test_failed_cell_of_another_version_is_failed_and_not_stale(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without scores there is nothing to keep, so it runs again without --rerun stale."""
    import bench_third_party

    session.run(evaluators="fault_raises")
    monkeypatch.setattr(bench_third_party, "METHOD_VERSION", 2)
    (cell,) = session.survey()
    assert (cell.state, cell.retrain) == ("failed", True)
    assert session.run().records[0].provenance["versions"]["method"] == 2
    assert len(session.trainings) == 2


def test_cell_of_another_distribution_with_the_same_name_is_stale(session: Session) -> None:
    session.run()
    catalog = load_catalog()
    other = Provider(plugin="other", distribution="repbench-other", version="1")
    methods = tuple(dataclasses.replace(entry, provider=other) for entry in catalog.methods)
    (cell,) = session.survey(catalog=dataclasses.replace(catalog, methods=methods))
    assert (cell.state, cell.retrain) == ("stale", True)
    assert cell.detail == "method mean_color came from repbench-third-party, now from repbench-other"


@pytest.mark.parametrize("indexed", [False, True])
def test_cells_whose_folders_were_exchanged_fail_and_keep_their_records(session: Session, indexed: bool) -> None:
    session.run(seeds=(0, 1))
    first, second = sorted(session.out.glob("mean_color-*"))
    for source, target in ((first, first.with_name("third")), (second, first), (first.with_name("third"), second)):
        source.rename(target)
    if indexed:
        settle(session.out)
    bodies = [(folder / "record.json").read_bytes() for folder in (first, second)]
    assert [cell.state for cell in session.survey(seeds=(0, 1))] == ["unreadable"] * 2
    result = session.run(seeds=(0, 1), taps="all")
    assert len(session.trainings) == 2
    assert all("is the record of another cell, mean_color/tiny/stripes/" in each.reason for each in result.failed)
    assert [(folder / "record.json").read_bytes() for folder in (first, second)] == bodies
