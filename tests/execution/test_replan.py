"""Cells planned again from their records alone."""

from __future__ import annotations

from pathlib import Path

from conftest import Bench
from image_samples import make_tree
from verified_runs import change_records, verified

from benchmark.api.catalog import load_catalog
from benchmark.errors import UsageError
from benchmark.execution.replan import replan
from benchmark.records.leaderboard import read_leaderboard


def test_replan_rejects_a_record_of_another_version(runs: Path, bench: Bench) -> None:
    change_records(runs, lambda body: body["provenance"]["versions"].update(method=7))
    (cell, _) = verified(runs)
    assert (cell.verdict, cell.holds) == ("not run", False)
    assert "another version, which gives other numbers: method version 7, installed 1" in cell.reason
    assert bench("verify", "runs").exit_code == 4, "no score was confirmed"


def test_replan_rejects_settings_that_give_another_id(runs: Path) -> None:
    change_records(runs, lambda body: body["cell"]["recipe"].update(lr=0.5))
    assert ["another cell id" in cell.reason for cell in verified(runs)] == [True, True]


def test_replan_names_a_method_that_is_not_installed(runs: Path) -> None:
    change_records(runs, lambda body: body["cell"]["method"].update(name="gone"))
    assert ["gone" in cell.reason for cell in verified(runs)] == [True, True]


def test_replan_needs_the_path_of_a_folder_dataset_and_checks_its_contents(bench: Bench, tmp_path: Path) -> None:
    photos = make_tree(tmp_path / "photos")
    dataset = f"folder[path={photos},size=8]"
    words = ("run", "--methods", "pixels", "--dataset", f"folder[path={photos},size=8,subset=4]", "--no-floors")
    how = ("--evaluators", "knn[k=1;3]", "--executor", "inline", "--device", "cpu", "--quiet")
    result = bench(*words, *how)
    assert result.exit_code == 0, result.output
    result = bench("verify", "runs")
    assert (result.exit_code, "not run" in result.output) == (4, True)
    result = bench("verify", "runs", "--dataset", dataset)
    assert result.exit_code == 0, result.output
    next((photos / "train" / "blue").iterdir()).unlink()
    result = bench("verify", "runs", "--dataset", dataset)
    assert result.exit_code == 4
    assert "havechangedsincethetraining" in "".join(result.output.split())


RESULTS = Path(__file__).parents[2] / "results"


def test_replan_gives_the_ids_of_the_digits_leaderboard(tmp_path: Path) -> None:
    catalog = load_catalog()
    for record in read_leaderboard(RESULTS / "digits.jsonl"):
        try:
            planned = replan(record, tmp_path, None, catalog)
        except UsageError as error:
            expected = ("another version", "no score of the record has a protocol that is installed")
            if not any(reason in str(error) for reason in expected):
                raise
            continue
        assert planned.cell.id == record.id
        assert planned.scores
