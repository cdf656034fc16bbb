"""Many cells: what is finished is skipped, what failed costs no other, and nothing is redone unasked."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmark.api.catalog import Catalog, Entry, Provider, load_catalog
from benchmark.api.cells import Job, Outcome
from benchmark.api.executors import ExecutorSpec
from benchmark.api.grammar import parse_items
from benchmark.errors import DataError, PluginError, RecordError, UsageError
from benchmark.execution import cell as cells
from benchmark.execution import cell_state as runner
from benchmark.execution import session
from benchmark.execution.plan import plan
from benchmark.execution.request import Request
from benchmark.execution.session import Result, RunOptions
from benchmark.records import index
from benchmark.records.record import read_record, read_records

Run = Callable[..., Result]


@pytest.fixture
def run(third_party: Path, tmp_path: Path) -> Run:
    """`bench run` as a function: inline, one epoch, on the third-party encoder and dataset."""

    def carry_out(
        methods: str = "mean_color",
        *,
        evaluators: str = "centroid",
        datasets: str = "stripes",
        rerun: runner.Rerun = "failed",
        executor: str = "inline",
        catalog: Catalog | None = None,
        **request: Any,
    ) -> Result:
        given = {"epochs": 1, "floors": False, **request}
        asked = Request(
            methods=parse_items([methods]),
            encoders=parse_items(["tiny"]),
            datasets=parse_items([datasets]),
            evaluators=parse_items([evaluators]),
            data_dir=tmp_path / "data",
            **given,
        )
        where = RunOptions(
            out=tmp_path / "runs", data_dir=tmp_path / "data", device="cpu", executor=executor, threads=1, rerun=rerun
        )
        return session.run(asked, where, quiet=True, catalog=catalog)

    return carry_out


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of all cells that were trained, in order."""
    titles: list[str] = []
    real = cells.train

    def noted(task: Any, *arguments: Any) -> Any:
        titles.append(task.title)
        return real(task, *arguments)

    monkeypatch.setattr(cells, "train", noted)
    return titles


def folders(tmp_path: Path) -> dict[str, Path]:
    """Method -> folder, for the cells of seed 0."""
    return {path.name.partition("-")[0]: path for path in sorted((tmp_path / "runs").iterdir()) if path.is_dir()}


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


# --- skipping ---------------------------------------------------------------------------------------------------------


def test_a_second_run_does_nothing_and_gives_the_same_records(run: Run, tmp_path: Path, trainings: list[str]) -> None:
    first = run("mean_color,byol", seeds=(0, 1))
    before = {folder.name: stamps(folder) for folder in (tmp_path / "runs").iterdir() if folder.is_dir()}
    assert len(trainings) == 4
    second = run("mean_color,byol", seeds=(0, 1))
    assert len(trainings) == 4
    assert {folder.name: stamps(folder) for folder in (tmp_path / "runs").iterdir() if folder.is_dir()} == before
    assert second.records == first.records
    assert second.summary[0].startswith("0 cells done, 4 finished before, 0 failed")


def test_another_seed_runs_only_that_seed(run: Run, trainings: list[str]) -> None:
    run()
    run(seeds=(0, 3))
    assert trainings == [f"mean_color / tiny / stripes / seed {seed}" for seed in (0, 3)]


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
def test_another_setting_is_another_cell(run: Run, trainings: list[str], change: dict[str, Any]) -> None:
    run()
    run(**change)
    assert len(trainings) == 2


def test_the_same_setting_in_other_words_is_the_same_cell(run: Run, trainings: list[str]) -> None:
    run()
    run("mean_color[part=center]", overrides={"lr": 0.01}, datasets="stripes[train=48,size=8]")
    assert len(trainings) == 1


def test_a_new_evaluator_or_tap_scores_without_training(run: Run, trainings: list[str], tmp_path: Path) -> None:
    run(taps=("conv",))
    (folder,) = folders(tmp_path).values()
    weights = (folder / "model.safetensors").read_bytes()
    run(taps="all")
    result = run(taps="all", evaluators="centroid,centroid[pool=flat]")
    assert len(trainings) == 1
    assert (folder / "model.safetensors").read_bytes() == weights
    assert [(score.tap, score.pool) for score in result.records[0].scores] == [
        ("conv", "average"),
        ("fc", "average"),
        ("conv", "flat"),
        ("fc", "flat"),
    ]


# --- failing ----------------------------------------------------------------------------------------------------------


def test_a_failed_cell_stops_no_other(run: Run) -> None:
    result = run("fault_loss,mean_color,fault_build,fault_nan,byol")
    assert [record.cell["method"]["name"] for record in result.records] == ["mean_color", "byol"]
    assert [outcome.folder.partition("-")[0] for outcome in result.failed] == ["fault_loss", "fault_build", "fault_nan"]
    missing = {cell.method: cell.reason for cell in result.missing}
    assert missing["fault_loss"] == "failed: RuntimeError: the third-party loss failed"
    assert result.summary[0].startswith("2 cells done, 0 finished before, 3 failed")
    assert any(line.startswith("failed: fault_nan-tiny-stripes-s0") and "step 3" in line for line in result.summary)


def test_a_failed_cell_is_tried_again_unless_one_says_not_to(run: Run, trainings: list[str]) -> None:
    run("fault_loss")
    again = run("fault_loss")
    assert len(trainings) == 2
    assert len(again.failed) == 1
    left = run("fault_loss", rerun="none")
    assert len(trainings) == 2
    assert left.failed == ()
    assert any("failed, left as it is (--rerun failed)" in line for line in left.summary)
    assert left.missing[0].reason == "failed: RuntimeError: the third-party loss failed"


def test_a_failed_evaluator_is_tried_again_without_training(run: Run, trainings: list[str]) -> None:
    first = run(evaluators="centroid,fault_raises")
    assert len(first.failed) == 1
    assert {score.evaluator for score in first.records[0].scores} == {"centroid"}
    second = run()
    assert len(trainings) == 1
    assert (second.failed, second.missing) == ((), ())


def test_an_evaluator_that_makes_no_sense_for_a_cell_is_told_of_and_not_tried_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(evaluators="refuses,centroid")
    assert (first.failed, first.missing) == ((), ())
    assert {score.evaluator for score in first.records[0].scores} == {"centroid"}
    line = "left out: refuses of mean_color / tiny at fc: these images have no color to speak of"
    assert line in first.summary
    before = stamps(folders(tmp_path)["mean_color"])
    again = run(evaluators="refuses,centroid")
    assert line in again.summary
    assert stamps(folders(tmp_path)["mean_color"]) == before


def test_scores_csv_holds_the_finished_cells_of_all_runs(run: Run, tmp_path: Path) -> None:
    run()
    run("byol,fault_loss")
    rows = (tmp_path / "runs" / "scores.csv").read_text().splitlines()
    assert rows[0].startswith("method,encoder,dataset,seed,epochs,tap")
    assert [row.split(",")[0] for row in rows[1:]] == ["byol", "byol", "mean_color", "mean_color"]


def test_a_smoke_run_is_in_no_csv_and_no_way_of_the_real_one(run: Run, tmp_path: Path, trainings: list[str]) -> None:
    assert [record.state for record in run(smoke=True).records] == ["smoke"]
    assert len((tmp_path / "runs" / "scores.csv").read_text().splitlines()) == 1
    run(smoke=True)
    assert len(trainings) == 1
    assert [record.state for record in run().records] == ["done"]
    assert len(trainings) == 2


def test_a_dataset_that_cannot_be_loaded_is_an_error_in_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_catalog()
    (entry,) = [entry for entry in found.datasets if entry.spec.name == "stripes"]
    broken = dataclasses.replace(entry, spec=dataclasses.replace(entry.spec, load=lambda params, data_dir: 1 / 0))
    with pytest.raises(DataError, match=r"dataset 'stripes' cannot be loaded: ZeroDivisionError"):
        run(catalog=dataclasses.replace(found, datasets=(broken,)))


# --- rerun modes ------------------------------------------------------------------------------------------------------


def test_rerun_all_trains_finished_cells_again(run: Run, trainings: list[str]) -> None:
    first = run()
    second = run(rerun="all")
    assert len(trainings) == 2
    assert second.records[0].scores == first.records[0].scores
    assert second.summary[0].startswith("1 cells done, 0 finished before")


@pytest.mark.parametrize("rerun", ["none", "failed", "stale"])
def test_no_other_mode_does_a_finished_cell_again(run: Run, trainings: list[str], rerun: runner.Rerun) -> None:
    run()
    run(rerun=rerun)
    assert len(trainings) == 1


def standing_of(result: Sequence[runner.PendingCell]) -> dict[str, str]:
    return {errand.folder.partition("-")[0]: errand.standing for errand in result}


@pytest.fixture
def survey(third_party: Path, tmp_path: Path) -> Callable[..., list[runner.PendingCell]]:
    def look(methods: str = "mean_color", evaluators: str = "centroid", **request: Any) -> list[runner.PendingCell]:
        asked = Request(
            methods=parse_items([methods]),
            encoders=parse_items(["tiny"]),
            datasets=parse_items(["stripes"]),
            evaluators=parse_items([evaluators]),
            epochs=1,
            floors=False,
            data_dir=tmp_path / "data",
            **request,
        )
        return runner.survey(plan(asked, load_catalog()), tmp_path / "runs")

    return look


def test_a_survey_tells_each_standing_and_due_what_has_to_run(
    run: Run, survey: Callable[..., list[runner.PendingCell]], tmp_path: Path
) -> None:
    run("mean_color,fault_loss,byol", taps=("conv",))
    (folders(tmp_path)["byol"] / "record.json").write_text("{")
    errands = survey("mean_color,fault_loss,byol,fault_waits", taps=("conv",))
    assert standing_of(errands) == {
        "mean_color": "done",
        "fault_loss": "failed",
        "byol": "unreadable",
        "fault_waits": "new",
    }
    assert standing_of(runner.cells_to_run(errands, "none")) == {"byol": "unreadable", "fault_waits": "new"}
    assert "fault_loss" in standing_of(runner.cells_to_run(errands, "failed"))
    assert "mean_color" not in standing_of(runner.cells_to_run(errands, "stale"))
    assert standing_of(runner.cells_to_run(errands, "all")) == standing_of(errands)
    (more,) = survey(taps="all")
    assert (more.standing, more.detail) == ("scores missing", "centroid at fc")


def test_a_survey_changes_nothing(survey: Callable[..., list[runner.PendingCell]], run: Run, tmp_path: Path) -> None:
    survey()
    assert not (tmp_path / "runs").exists()
    run()
    before = stamps(tmp_path / "runs")
    survey(taps="all")
    assert stamps(tmp_path / "runs") == before


def test_a_survey_looks_into_those_folders_alone_that_are_there(
    run: Run, survey: Callable[..., list[runner.PendingCell]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(seeds=(3, 4))
    looked: list[Path] = []
    real = runner._cell_state

    def noted(planned: Any, folder: Path) -> Any:
        looked.append(folder)
        return real(planned, folder)

    monkeypatch.setattr(runner, "_standing", noted)
    errands = survey(seeds=tuple(range(40)))
    assert [folder.name.partition("-s")[2].partition("-")[2][:2] for folder in looked] == ["s3", "s4"]
    assert [errand.cell.seed for errand in errands if errand.standing != "new"] == [3, 4]


@pytest.fixture
def remembered(
    run: Run, survey: Callable[..., list[runner.PendingCell]], tmp_path: Path
) -> dict[str, list[runner.PendingCell]]:
    """Surveys of one folder with cells of every standing: of their records, and of an index that knows them."""
    run("mean_color,fault_loss,byol", taps=("conv",), evaluators="refuses,centroid")
    run("mean_color", seeds=(5,), smoke=True)
    path = folders(tmp_path)["byol"] / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "state": "interrupted", "failure": None}))
    ways = [
        {"methods": "mean_color,fault_loss,byol,fault_waits", "taps": "all"},
        {"methods": "mean_color", "taps": ("conv",), "evaluators": "refuses,centroid"},
        {"methods": "mean_color", "seeds": (5,), "smoke": True},
    ]
    found = {"records": [errand for way in ways for errand in survey(**way)]}
    for record in (tmp_path / "runs").glob("*/record.json"):
        os.utime(record, ns=(10**18, 10**18))
    index.read(tmp_path / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_standing", lambda planned, folder: pytest.fail(f"{folder} was read"))
        found["index"] = [errand for way in ways for errand in survey(**way)]
    return found


def test_a_survey_by_the_index_tells_what_a_survey_of_the_records_tells(
    remembered: dict[str, list[runner.PendingCell]],
) -> None:
    assert remembered["index"] == remembered["records"]
    standings = {errand.standing for errand in remembered["records"]}
    assert standings == {"scores missing", "failed", "interrupted", "new", "done"}


def test_a_law_that_changed_is_seen_by_the_index_too(
    run: Run, survey: Callable[..., list[runner.PendingCell]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench_third_party

    run()
    (folder,) = folders(tmp_path).values()
    os.utime(folder / "record.json", ns=(10**18, 10**18))
    index.read(tmp_path / "runs")
    monkeypatch.setattr(runner, "_standing", lambda planned, folder: pytest.fail(f"{folder} was read"))
    assert [errand.standing for errand in survey()] == ["done"]
    monkeypatch.setattr(bench_third_party, "METHOD_VERSION", 2)
    (errand,) = survey()
    assert (errand.standing, errand.detail) == ("stale", "method mean_color had version 1, now 2")


@pytest.mark.parametrize(("cell", "writing", "times"), [(100.0, 1.0, 50), (1.0, 1.0, 3), (1.0, 10.0, 1)])
def test_while_cells_run_the_csv_takes_a_twentieth_of_the_time_at_most(
    cell: float, writing: float, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 cells: where each takes as long as to write the CSV, it is written after the 1st, 21st and 41st."""
    now, written = [0.0], []

    def write_csv(records: object) -> str:
        now[0] += writing
        written.append(now[0])
        return ""

    monkeypatch.setattr(session.tables, "write_csv", write_csv)
    scores = session.Scores(tmp_path, clock=lambda: now[0])
    for _ in range(50):
        now[0] += cell
        scores.refresh()
    assert len(written) == times


# --- stale ------------------------------------------------------------------------------------------------------------


def test_a_cell_of_another_law_is_shown_kept_and_trained_again_only_when_asked(
    run: Run, trainings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench_third_party

    first = run()
    monkeypatch.setattr(bench_third_party, "METHOD_VERSION", 2)
    kept = run()
    assert len(trainings) == 1
    assert kept.records == first.records
    (line,) = [line for line in kept.summary if line.startswith("stale")]
    assert "--rerun stale" in line
    assert "method mean_color had version 1, now 2" in line
    redone = run(rerun="stale")
    assert len(trainings) == 2
    assert redone.records[0].provenance["versions"]["method"] == 2
    assert not any(line.startswith("stale") for line in run().summary)
    assert len(trainings) == 2


def test_an_encoders_law_counts_too(run: Run, trainings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import bench_third_party

    run()
    monkeypatch.setattr(bench_third_party, "ENCODER_VERSION", 3)
    assert any("encoder tiny had version 1, now 3" in line for line in run().summary)
    assert len(trainings) == 1


def test_a_score_of_another_protocol_is_kept_and_joined_by_the_new_one_only_when_asked(
    run: Run, trainings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench_third_party

    run(taps=("conv",))
    monkeypatch.setattr(bench_third_party, "CENTROID_VERSION", 2)
    kept = run(taps=("conv",))
    assert [score.protocol for score in kept.records[0].scores] == ["centroid@1"]
    (line,) = [line for line in kept.summary if line.startswith("stale")]
    assert "scored under another protocol than centroid@2" in line
    redone = run(taps=("conv",), rerun="stale")
    assert [score.protocol for score in redone.records[0].scores] == ["centroid@1", "centroid@2"]
    assert len(trainings) == 1


def test_a_failed_cell_whose_law_was_raised_to_mend_it_is_tried_again(
    run: Run, survey: Callable[..., list[runner.PendingCell]], monkeypatch: pytest.MonkeyPatch, trainings: list[str]
) -> None:
    """Nothing rests on a failed cell, so there is nothing to keep: it is not left alone as stale."""
    import bench_third_party

    run(evaluators="fault_raises")
    monkeypatch.setattr(bench_third_party, "METHOD_VERSION", 2)
    (errand,) = survey()
    assert (errand.standing, errand.retrain) == ("failed", True)
    assert run().records[0].provenance["versions"]["method"] == 2
    assert len(trainings) == 2


def test_another_distributions_method_of_the_same_name_is_not_taken_for_the_first(run: Run, tmp_path: Path) -> None:
    run()
    found = load_catalog()
    other = Provider(plugin="other", distribution="repbench-other", version="1")
    methods = tuple(dataclasses.replace(entry, provider=other) for entry in found.methods)
    asked = Request(
        methods=parse_items(["mean_color"]),
        encoders=parse_items(["tiny"]),
        datasets=parse_items(["stripes"]),
        evaluators=parse_items(["centroid"]),
        epochs=1,
        floors=False,
    )
    (errand,) = runner.survey(plan(asked, dataclasses.replace(found, methods=methods)), tmp_path / "runs")
    assert (errand.standing, errand.retrain) == ("stale", True)
    assert errand.detail == "method mean_color was given by repbench-third-party, now by repbench-other"


# --- other versions and folders ---------------------------------------------------------------------------------------


def test_a_record_of_another_schema_version_stops_the_run_untouched(
    run: Run, tmp_path: Path, trainings: list[str]
) -> None:
    run()
    (folder,) = folders(tmp_path).values()
    path = folder / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 2}))
    before, text = stamps(folder), path.read_text()
    for rerun in ("none", "failed", "stale", "all"):
        with pytest.raises(UsageError, match=r"schema version 2, this repbench reads 1.*another --out"):
            run(rerun=rerun)
    assert (stamps(folder), path.read_text()) == (before, text)
    assert len(trainings) == 1


def test_a_truncated_record_is_set_aside_and_the_cell_done_again(run: Run, tmp_path: Path) -> None:
    first = run()
    (folder,) = folders(tmp_path).values()
    path = folder / "record.json"
    damaged = path.read_bytes()[:200]
    path.write_bytes(damaged)
    second = run()
    assert second.records[0].scores == first.records[0].scores
    assert (folder / "record.json.unreadable-1").read_bytes() == damaged
    assert read_record(folder).state == "done"


def test_an_output_folder_that_cannot_be_written_is_refused_before_anything_runs(
    run: Run, tmp_path: Path, trainings: list[str]
) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    with pytest.raises(UsageError, match=r"--out .*runs cannot be written"):
        run()
    assert trainings == []
    assert (tmp_path / "runs").read_text() == "a file in the way"


def test_a_plan_without_cells_says_why(run: Run, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", "third_party,dim,executors,third_party_faults")
    with pytest.raises(UsageError, match=r"nothing to run: .*no tap"):
        run(taps=("nowhere",))


def test_an_unknown_executor_leaves_no_trace(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no executor called 'inlin'.*did you mean 'inline'"):
        run(executor="inlin")
    assert not (tmp_path / "runs" / "scores.csv").exists()


# --- executors that break the contract --------------------------------------------------------------------------------


def with_executor(carry_out: Callable[[Sequence[Job]], Iterator[Outcome]]) -> Catalog:
    class Planted:
        def run(self, jobs: Sequence[Job], reporter: Any) -> Iterator[Outcome]:
            yield from carry_out(jobs)

    spec = ExecutorSpec(name="planted", summary="", build=lambda context: Planted())
    provider = Provider(plugin="planted", distribution="planted", version="1")
    return dataclasses.replace(load_catalog(), executors=(Entry(spec=spec, provider=provider),))


def test_cells_that_an_executor_forgets_have_failed(run: Run, tmp_path: Path) -> None:
    found = with_executor(lambda jobs: (cells.run_cell(job) for job in jobs[:1]))
    result = run("mean_color,byol", executor="planted", catalog=found)
    assert [record.cell["method"]["name"] for record in result.records] == ["mean_color"]
    (lost,) = result.failed
    assert lost.reason == "executor 'planted' ended without an outcome for it"
    assert read_record(folders(tmp_path)["byol"]).state == "failed"


def test_an_outcome_that_nobody_asked_for_is_an_error_with_a_name(run: Run) -> None:
    unknown = Outcome(cell_id="nobody's", folder="nowhere", state="done", seconds=0.0)
    found = with_executor(lambda jobs: iter([unknown]))
    with pytest.raises(PluginError, match=r"executor 'planted' gave an outcome that nobody waits for: nowhere"):
        run(executor="planted", catalog=found)


def test_a_crash_never_replaces_a_record_that_holds_scores(run: Run, tmp_path: Path) -> None:
    run()

    def crash(jobs: Sequence[Job]) -> Iterator[Outcome]:
        for job in jobs:
            yield Outcome(cell_id=job.cell.id, folder=job.folder, state="failed", seconds=0.0, reason="crashed")

    run(rerun="all", executor="planted", catalog=with_executor(crash))
    record = read_record(folders(tmp_path)["mean_color"])
    assert (record.state, len(record.scores)) == ("done", 2)


def test_what_was_finished_before_an_interrupt_is_in_the_csv(run: Run, tmp_path: Path) -> None:
    def stop(jobs: Sequence[Job]) -> Iterator[Outcome]:
        yield cells.run_cell(jobs[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("mean_color,byol", executor="planted", catalog=with_executor(stop))
    rows = (tmp_path / "runs" / "scores.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["mean_color", "mean_color"]


def test_a_job_can_be_written_as_json(third_party: Path, tmp_path: Path) -> None:
    jobs: list[Job] = []

    def keep(given: Sequence[Job]) -> Iterator[Outcome]:
        jobs.extend(given)
        yield from (cells.run_cell(job) for job in given)

    asked = Request(
        methods=parse_items(["mean_color[part=left]"]),
        encoders=parse_items(["tiny"]),
        datasets=parse_items(["stripes"]),
        evaluators=parse_items(["centroid"]),
        epochs=1,
        floors=False,
    )
    where = RunOptions(
        out=tmp_path / "runs", data_dir=tmp_path, device="cpu", executor="planted", threads=1, rerun="failed"
    )
    session.run(asked, where, quiet=True, catalog=with_executor(keep))
    body = json.loads(json.dumps(dataclasses.asdict(jobs[0])))
    assert body["cell"]["method"]["params"] == {"part": "left"}
    assert body["folder"].startswith("mean_color-part-left-tiny-stripes-s0-")


def test_a_record_that_is_damaged_by_others_stops_no_reading(run: Run, tmp_path: Path) -> None:
    run("mean_color,byol")
    (folders(tmp_path)["byol"] / "record.json").write_text("{")
    records, problems = read_records(tmp_path / "runs")
    assert [record.cell["method"]["name"] for record in records] == ["mean_color"]
    assert len(problems) == 1
    with pytest.raises(RecordError):
        read_record(folders(tmp_path)["byol"])
