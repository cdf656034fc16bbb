"""From a request to records: what runs, what is skipped, and what a summary says."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from session_runs import Session, stamps, with_executor

from benchmark.api.catalog import load_catalog
from benchmark.api.cells import Job, Outcome
from benchmark.errors import DataError, UsageError
from benchmark.execution.cell import run_cell
from benchmark.execution.cell_state import Rerun

# --- skipping ---------------------------------------------------------------------------------------------------------


def test_run_skips_finished_cells_and_returns_the_same_records(session: Session) -> None:
    first = session.run("mean_color,byol", seeds=(0, 1))
    before = {folder.name: stamps(folder) for folder in session.out.iterdir() if folder.is_dir()}
    assert len(session.trainings) == 4
    second = session.run("mean_color,byol", seeds=(0, 1))
    assert len(session.trainings) == 4
    assert {folder.name: stamps(folder) for folder in session.out.iterdir() if folder.is_dir()} == before
    assert second.records == first.records
    assert second.summary[0].startswith("cells: 0 done, 4 finished before, 0 failed")


def test_run_trains_only_new_seeds(session: Session) -> None:
    session.run()
    session.run(seeds=(0, 3))
    assert session.trainings == [f"mean_color / tiny / stripes / seed {seed}" for seed in (0, 3)]


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 2},
        {"overrides": {"lr": 0.02}},
        {"methods": "mean_color[part=left]"},
        {"datasets": "stripes[subset=32]"},
        {"datasets": "stripes[size=12]"},
    ],
    ids=str,
)
def test_run_trains_a_new_cell_for_another_setting(session: Session, change: dict[str, Any]) -> None:
    session.run()
    session.run(**change)
    assert len(session.trainings) == 2


def test_run_recognizes_the_same_setting_written_differently(session: Session) -> None:
    session.run()
    session.run("mean_color[part=center]", overrides={"lr": 0.01}, datasets="stripes[train=48,size=8]")
    assert len(session.trainings) == 1


def test_run_scores_new_taps_and_evaluators_without_training(session: Session) -> None:
    session.run(taps=("conv",))
    weights = (session.folder() / "model.safetensors").read_bytes()
    session.run(taps="all")
    result = session.run(taps="all", evaluators="centroid,centroid[pool=flat]")
    assert len(session.trainings) == 1
    assert (session.folder() / "model.safetensors").read_bytes() == weights
    scored = [(score.tap, score.pool) for score in result.records[0].scores]
    assert scored == [("conv", "average"), ("fc", "average"), ("conv", "flat"), ("fc", "flat")]


def test_run_after_a_smoke_run_trains_the_real_cell(session: Session) -> None:
    assert [record.state for record in session.run(smoke=True).records] == ["smoke"]
    assert len((session.out / "scores.csv").read_text().splitlines()) == 1
    session.run(smoke=True)
    assert len(session.trainings) == 1
    assert [record.state for record in session.run().records] == ["done"]
    assert len(session.trainings) == 2


def test_run_with_rerun_all_trains_finished_cells_again(session: Session) -> None:
    first = session.run()
    second = session.run(rerun="all")
    assert len(session.trainings) == 2
    assert second.records[0].scores == first.records[0].scores
    assert second.summary[0].startswith("cells: 1 done, 0 finished before")


@pytest.mark.parametrize("rerun", ["none", "failed", "stale"])
def test_run_keeps_finished_cells_for_all_other_values_of_rerun(session: Session, rerun: Rerun) -> None:
    session.run()
    session.run(rerun=rerun)
    assert len(session.trainings) == 1


# --- failing ----------------------------------------------------------------------------------------------------------


def test_failed_cell_runs_again_unless_rerun_is_none(session: Session) -> None:
    session.run("fault_loss")
    again = session.run("fault_loss")
    assert len(session.trainings) == 2
    assert len(again.failed) == 1
    kept = session.run("fault_loss", rerun="none")
    assert len(session.trainings) == 2
    assert kept.failed == ()
    assert any("failed, kept (--rerun failed runs it again)" in line for line in kept.summary)
    assert kept.missing[0].reason == "failed: RuntimeError: the third-party loss failed"


def test_failed_evaluator_runs_again_without_training(session: Session) -> None:
    first = session.run(evaluators="centroid,fault_raises")
    assert len(first.failed) == 1
    assert {score.evaluator for score in first.records[0].scores} == {"centroid"}
    second = session.run()
    assert len(session.trainings) == 1
    assert (second.failed, second.missing) == ((), ())


def test_evaluator_that_does_not_apply_is_reported_and_not_tried_again(session: Session) -> None:
    first = session.run(evaluators="refuses,centroid")
    assert (first.failed, first.missing) == ((), ())
    assert {score.evaluator for score in first.records[0].scores} == {"centroid"}
    (line,) = [
        line for line in first.summary if line.startswith("not applicable: refuses of mean_color / tiny at fc: ")
    ]
    before = stamps(session.folder())
    again = session.run(evaluators="refuses,centroid")
    assert line in again.summary
    assert stamps(session.folder()) == before


def test_dataset_that_cannot_be_loaded_is_an_error_with_its_name(session: Session) -> None:
    catalog = load_catalog()
    (entry,) = [entry for entry in catalog.datasets if entry.spec.name == "stripes"]
    broken = dataclasses.replace(entry, spec=dataclasses.replace(entry.spec, load=lambda params, data_dir: 1 / 0))
    with pytest.raises(DataError, match=r"cannot load dataset 'stripes': ZeroDivisionError"):
        session.run(catalog=dataclasses.replace(catalog, datasets=(broken,)))


# --- versions and protocols -------------------------------------------------------------------------------------------


def test_cell_of_another_version_is_kept_and_retrained_only_with_rerun_stale(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench_third_party

    first = session.run()
    monkeypatch.setattr(bench_third_party, "METHOD_VERSION", 2)
    kept = session.run()
    assert len(session.trainings) == 1
    assert kept.records == first.records
    (line,) = [line for line in kept.summary if line.startswith("stale")]
    assert "--rerun stale" in line
    assert "method mean_color had version 1, now 2" in line
    redone = session.run(rerun="stale")
    assert len(session.trainings) == 2
    assert redone.records[0].provenance["versions"]["method"] == 2
    assert not any(line.startswith("stale") for line in session.run().summary)
    assert len(session.trainings) == 2


def test_cell_with_an_encoder_of_another_version_is_stale(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench_third_party

    session.run()
    monkeypatch.setattr(bench_third_party, "ENCODER_VERSION", 3)
    assert any("encoder tiny had version 1, now 3" in line for line in session.run().summary)
    assert len(session.trainings) == 1


def test_new_protocol_is_scored_only_with_rerun_stale_and_the_old_score_is_kept(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench_third_party

    session.run(taps=("conv",))
    monkeypatch.setattr(bench_third_party, "CENTROID_VERSION", 2)
    kept = session.run(taps=("conv",))
    assert [score.protocol for score in kept.records[0].scores] == ["centroid@1"]
    (line,) = [line for line in kept.summary if line.startswith("stale")]
    assert "scored under another protocol than centroid@2" in line
    redone = session.run(taps=("conv",), rerun="stale")
    assert [score.protocol for score in redone.records[0].scores] == ["centroid@1", "centroid@2"]
    assert len(session.trainings) == 1


# --- output folders ---------------------------------------------------------------------------------------------------


def test_plan_without_cells_is_an_error_with_the_reason(session: Session) -> None:
    with pytest.raises(UsageError, match=r"nothing to run: .*no tap"):
        session.run(taps=("nowhere",))


def test_interrupted_run_leaves_finished_cells_in_the_csv(session: Session) -> None:
    def stop(jobs: Sequence[Job]) -> Iterator[Outcome]:
        yield run_cell(jobs[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.run("mean_color,byol", executor="planted", catalog=with_executor(stop))
    rows = (session.out / "scores.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["mean_color", "mean_color"]
