"""Finished cells run again from their records and compared."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import assert_refused
from conftest import Bench
from flipped_bits import flip_bit
from sample_records import sample_record, sample_score
from verified_runs import change_records, verified

from benchmark.api.cells import Job, Outcome
from benchmark.errors import UsageError
from benchmark.execution import verify
from benchmark.records.index import INDEX
from benchmark.records.record import Record


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the index, which is derived from them."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != INDEX]
    return {str(path): path.read_bytes() for path in files}


def test_verify_reproduces_a_cell_to_the_last_bit_and_changes_nothing(runs: Path, bench: Bench) -> None:
    before = contents(runs)
    result = bench("verify", "runs")
    assert result.exit_code == 0, result.output
    assert result.output.count("identical  identical") == 2
    assert contents(runs) == before


def test_verify_reads_a_leaderboard_without_weights(runs: Path, bench: Bench, tmp_path: Path) -> None:
    assert bench("export", "runs", "--to", "results").exit_code == 0
    result = bench("verify", "results/stripes.jsonl", "--sample", "1")
    assert result.exit_code == 0, result.output
    assert "identical" in result.output


def test_score_outside_its_interval_does_not_hold(runs: Path, bench: Bench) -> None:
    def spoil(body: dict[str, Any]) -> None:
        body["scores"][0].update(value=0.123, ci_low=0.12, ci_high=0.13)

    change_records(runs, spoil)
    result = bench("verify", "runs", "--sample", "1")
    assert result.exit_code == 1
    assert "does not hold" in result.output
    cell = verified(runs)[0]
    assert (cell.verdict, cell.outside, cell.weights) == ("does not hold", 1, True)
    assert ": 0.123 then, " in cell.reason


def test_score_within_its_interval_holds_with_the_conditions_that_differ(runs: Path) -> None:
    def move(body: dict[str, Any]) -> None:
        body["scores"][0].update(value=0.123, ci_low=0.0, ci_high=1.0)
        body["checks"]["encoder_sha256"] = "0" * 64
        body["provenance"]["torch"] = "2.0"

    change_records(runs, move)
    cell = verified(runs)[0]
    assert (cell.verdict, cell.holds, cell.within, cell.weights) == ("within intervals", True, 1, False)
    assert "torch: 2.0 then, " in cell.reason


def test_different_weights_with_equal_scores_are_not_identical(runs: Path) -> None:
    change_records(runs, lambda body: body["checks"].update(encoder_sha256="0" * 64))
    assert [cell.verdict for cell in verified(runs)] == ["equal scores"] * 2


def test_score_without_an_interval_holds_only_if_it_is_equal(runs: Path) -> None:
    change_records(runs, lambda body: body["scores"][0].update(value=0.123, ci_low=None, ci_high=None))
    assert [cell.verdict for cell in verified(runs)] == ["does not hold"] * 2


def test_verify_uses_the_threads_and_acceleration_of_the_record(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(body: dict[str, Any]) -> None:
        body["provenance"]["threads"] = 3
        body["cost"]["acceleration"] = {"compile": "switched off"}

    jobs: list[Job] = []

    def run(job: Job, **options: Any) -> Outcome:
        jobs.append(job)
        return Outcome(cell_id=job.cell.id, folder=job.folder, state="failed", seconds=0.0, reason="no disk")

    change_records(runs, made)
    monkeypatch.setattr(verify, "run_cell", run)
    cells = verified(runs)
    assert {(job.threads, job.accelerate) for job in jobs} == {(3, "off")}
    assert {job.cell.id for job in jobs} == {each.record.id for each in cells}
    assert cells[0].reason == "the cell failed when it was run again: no disk"
    assert not cells[0].holds


def test_files_of_all_cells_are_compared_without_running_one(
    runs: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "run_cell", lambda *_, **__: pytest.fail("a cell ran"))
    intact = bench("verify", "runs", "--files")
    assert (intact.exit_code, intact.stdout.count("files intact")) == (0, 2)
    first, second = sorted(runs.glob("*/model.safetensors"))
    flip_bit(first)
    os.utime(first, (0, 0))  # older than its record
    second.unlink()
    damaged = bench("verify", "runs", "--files")
    assert damaged.exit_code == 1
    assert "cannot load" in damaged.stdout
    assert "there is no model.safetensors" in " ".join(damaged.stdout.split())
    flip_bit(first)
    outcomes = next(runs.glob("*/predictions.npz"))
    outcomes.write_bytes(outcomes.read_bytes()[:-100])
    assert bench("verify", "runs", "--files").exit_code == 1
    assert_refused(bench("verify", "results.jsonl", "--files"), "results.jsonl")


@pytest.mark.parametrize("checks", [(), ("model_file",)], ids=["present", "earlier version"])
def test_damaged_weights_are_named_and_the_other_cells_verified(runs: Path, bench: Bench, checks: tuple[str]) -> None:
    change_records(runs, lambda body: [body["checks"].pop(check) for check in checks])
    first, _ = sorted(runs.glob("*/model.safetensors"))
    flip_bit(first)
    result = bench("verify", "runs")
    assert result.exit_code == 1
    assert "damaged files: " in result.stderr
    cells = verified(runs)
    assert sorted(cell.verdict for cell in cells) == ["damaged files", "identical"]
    assert f"cannot load {first}" in next(cell.reason for cell in cells if not cell.holds)


def test_verify_on_a_missing_device_needs_another_one(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    change_records(runs, lambda body: body["provenance"].update(device="cuda", device_name="NVIDIA H100"))
    (cell, _) = verified(runs)
    assert cell.verdict == "not run"
    assert "NVIDIA H100" in cell.reason
    (cell, _) = verified(runs, device="cpu")
    assert cell.holds
    assert "device_name: NVIDIA H100 then, " in cell.reason


def test_sample_draws_finished_cells_by_seed() -> None:
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


def test_score_without_a_new_number_is_outside() -> None:
    one, other = sample_score(), sample_score(metric="map")
    before = sample_record(scores=(one, other))
    cell = verify.compare_records(before, dataclasses.replace(before, scores=(one,)))
    assert (cell.verdict, cell.equal, cell.outside, cell.weights) == ("does not hold", 1, 1, None)
    assert "missing now" in cell.reason
