"""Stored numbers put to the proof: what is done again is the same cell, and what does not hold is told."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Bench
from PIL import Image
from sample_records import sample_record, sample_score

from benchmark.api.catalog import Catalog, load_catalog
from benchmark.api.cells import Job, Outcome
from benchmark.errors import UsageError
from benchmark.execution import devices, verify
from benchmark.records.record import RECORD, Record, read_records

CELL = ("--encoders", "tiny", "--dataset", "stripes", "--evaluators", "centroid", "--no-floors", "--device", "cpu")


@pytest.fixture
def runs(third_party: Path, bench: Bench, tmp_path: Path) -> Path:
    """Two finished cells of a third-party method, of two seeds and with a recipe of their own."""
    words = ("run", "--methods", "mean_color", *CELL, "--executor", "inline", "--epochs", "2", "--set", "lr=0.01")
    result = bench(*words, "--seeds", "2", "--quiet", "--out", "runs")
    assert result.exit_code == 0, result.output
    return tmp_path / "runs"


def _state(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _change(folder: Path, change: Any) -> None:
    """Changes each record's parsed file."""
    for path in folder.glob(f"*/{RECORD}"):
        body = json.loads(path.read_text())
        change(body)
        path.write_text(json.dumps(body))


def _findings(runs: Path, **asked: Any) -> list[verify.VerifiedScore]:
    records, _ = read_records(runs)
    return list(verify.verify(records, verify.VerifyOptions(**{"data_dir": runs, **asked}), load_catalog()))


def test_a_cell_done_again_is_the_same_to_the_last_bit_and_nothing_is_changed(runs: Path, bench: Bench) -> None:
    before = _state(runs)
    result = bench("verify", "runs")
    assert result.exit_code == 0, result.output
    assert result.output.count("identical  identical") == 2
    assert _state(runs) == before


def test_a_leaderboard_is_verified_without_its_weights(runs: Path, bench: Bench, tmp_path: Path) -> None:
    assert bench("export", "runs", "--to", "results").exit_code == 0
    result = bench("verify", "results/stripes.jsonl", "--sample", "1")
    assert result.exit_code == 0, result.output
    assert "identical" in result.output


def test_a_score_outside_its_interval_does_not_hold(runs: Path, bench: Bench) -> None:
    def spoil(body: dict[str, Any]) -> None:
        body["scores"][0].update(value=2.0, ci_low=1.9, ci_high=2.1)

    _change(runs, spoil)
    result = bench("verify", "runs", "--sample", "1")
    assert result.exit_code == 1
    assert "does not hold" in result.output
    found = _findings(runs)[0]
    assert (found.verdict, found.outside, found.weights) == ("does not hold", 1, True)
    assert " was 2 and is " in found.reason


def test_a_score_that_moved_within_its_interval_holds_and_says_so(runs: Path) -> None:
    def move(body: dict[str, Any]) -> None:
        body["scores"][0].update(value=2.0, ci_low=-1.0, ci_high=3.0)
        body["checks"]["encoder_sha256"] = "0" * 64
        body["provenance"]["torch"] = "2.0"

    _change(runs, move)
    found = _findings(runs)[0]
    assert (found.verdict, found.holds, found.within, found.weights) == ("within intervals", True, 1, False)
    assert "then 2.0" in found.reason


def test_other_weights_with_equal_scores_are_not_called_identical(runs: Path) -> None:
    _change(runs, lambda body: body["checks"].update(encoder_sha256="0" * 64))
    assert [found.verdict for found in _findings(runs)] == ["equal scores"] * 2


def test_a_score_without_an_interval_that_moved_does_not_hold(runs: Path) -> None:
    _change(runs, lambda body: body["scores"][0].update(value=0.123, ci_low=None, ci_high=None))
    assert [found.verdict for found in _findings(runs)] == ["does not hold"] * 2


def test_a_cell_is_done_with_the_threads_and_acceleration_that_its_record_names(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(body: dict[str, Any]) -> None:
        body["provenance"]["threads"] = 3
        body["cost"]["acceleration"] = {"compile": "switched off"}

    jobs: list[Job] = []

    def noted(job: Job, **words: Any) -> Outcome:
        jobs.append(job)
        return Outcome(cell_id=job.cell.id, folder=job.folder, state="failed", seconds=0.0, reason="no disk")

    _change(runs, made)
    monkeypatch.setattr(verify, "run_cell", noted)
    found = _findings(runs)
    assert {(job.threads, job.accelerate) for job in jobs} == {(3, "off")}
    assert {job.cell.id for job in jobs} == {each.record.id for each in found}
    assert found[0].reason == "done again, it failed: no disk"
    assert not found[0].holds


# --- what cannot be done again ----------------------------------------------------------------------------------------


def test_a_cell_of_another_law_is_not_done_again(runs: Path, bench: Bench) -> None:
    _change(runs, lambda body: body["provenance"]["version"].update(method=7))
    (found, _) = _findings(runs)
    assert (found.verdict, found.holds) == ("not run", False)
    assert "another version (method 7, installed 1" in found.reason
    assert bench("verify", "runs").exit_code == 1, "nothing was shown to hold"


def test_a_record_whose_settings_give_another_identity_is_not_done_again(runs: Path) -> None:
    _change(runs, lambda body: body["cell"]["recipe"].update(lr=0.5))
    assert ["another identity" in found.reason for found in _findings(runs)] == [True, True]


def test_a_method_that_is_not_installed_is_named(runs: Path) -> None:
    _change(runs, lambda body: body["cell"]["method"].update(name="gone"))
    assert ["gone" in found.reason for found in _findings(runs)] == [True, True]


def test_a_device_that_is_not_here_is_told_unless_another_is_named(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_gpus", lambda: 0)
    _change(runs, lambda body: body["provenance"].update(device="cuda", device_name="NVIDIA H100"))
    (found, _) = _findings(runs)
    assert found.verdict == "not run"
    assert "NVIDIA H100" in found.reason
    (found, _) = _findings(runs, device="cpu")
    assert found.holds
    assert "then NVIDIA H100" in found.reason


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A tree of small images, brighter in one class."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 4)):
        for name, light in (("cat", 0), ("dog", 128)):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 128, (8, 8, 3), dtype=np.uint8) + light
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_a_folder_whose_path_no_record_holds_is_asked_for(photos: Path, bench: Bench, tmp_path: Path) -> None:
    dataset = f"folder[path={photos},size=8]"
    words = ("run", "--methods", "pixels", "--dataset", f"folder[path={photos},size=8,subset=10]", "--no-floors")
    how = ("--evaluators", "knn[k=1;3]", "--executor", "inline", "--device", "cpu", "--quiet")
    result = bench(*words, *how)
    assert result.exit_code == 0, result.output
    result = bench("verify", "runs")
    assert (result.exit_code, "not run" in result.output) == (1, True)
    result = bench("verify", "runs", "--dataset", dataset)
    assert result.exit_code == 0, result.output
    next((photos / "train" / "cat").iterdir()).unlink()
    result = bench("verify", "runs", "--dataset", dataset)
    assert result.exit_code == 1
    assert "othercontents" in "".join(result.output.split())


# --- which cells ------------------------------------------------------------------------------------------------------


def test_cells_are_drawn_by_the_seed_among_those_that_are_finished() -> None:
    records = [sample_record(seed=seed) for seed in range(20)]
    records += [sample_record(seed=seed, state="failed") for seed in range(20, 40)]

    def drawn(seed: int, of: list[Record]) -> list[str]:
        return [record.id for record in verify.sample(of, 3, seed)]

    assert drawn(0, records) == drawn(0, records[::-1])
    assert len(set(drawn(0, records))) == 3
    assert any(drawn(seed, records) != drawn(0, records) for seed in range(1, 5))
    assert len(verify.sample(records, 99, 0)) == 20
    with pytest.raises(UsageError, match="no finished cell"):
        verify.sample(records[20:], 3, 0)


def test_a_score_that_was_not_made_again_is_outside() -> None:
    one, other = sample_score(), sample_score(metric="map")
    before = sample_record(scores=(one, other))
    found = verify.compared(before, dataclasses.replace(before, scores=(one,)))
    assert (found.verdict, found.equal, found.outside, found.weights) == ("does not hold", 1, 1, None)
    assert "is no number" in found.reason


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


RESULTS = Path(__file__).parents[2] / "results"


def test_every_cell_of_the_digits_leaderboard_can_be_planned_from_its_record(catalog: Catalog, tmp_path: Path) -> None:
    from benchmark.records.leaderboard import read_leaderboard

    for record in read_leaderboard(RESULTS / "digits.jsonl"):
        try:
            planned = verify.planned_again(record, verify.VerifyOptions(data_dir=tmp_path), catalog)
        except UsageError as error:
            if "another version" not in str(error) and "of a protocol that is installed" not in str(error):
                raise
            continue
        assert planned.cell.id == record.id
        assert planned.scores
