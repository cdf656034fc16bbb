"""Makers of jobs: without any plugin, or planned with the third-party plugins of tests/data, which run in a moment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.api.catalog import Catalog, load_catalog
from benchmark.api.cells import Cell, Item, Job, Outcome
from benchmark.api.grammar import parse_items
from benchmark.api.recipes import Recipe
from benchmark.execution.cell import run_cell
from benchmark.execution.plan import cell_folder, plan
from benchmark.execution.request import PlannedCell, Request
from benchmark.records.record import Record
from benchmark.records.record_files import read_record

JobMaker = Callable[..., Job]
"""(method, **changes) -> the job of `third_party_job`."""


def sample_cell(number: int = 0, **changes: Any) -> Cell:
    """A cell of a method, an encoder and a dataset that do not exist. Cells of different numbers differ in id and seed."""
    item = Item(name="nothing", label="nothing")
    fields: dict[str, Any] = {
        **{"id": f"{number:064d}", "method": item, "encoder": item, "dataset": item, "fingerprint": "digits-1"},
        **{"subset": None, "seed": number, "recipe": Recipe(epochs=1)},
    }
    return Cell(**{**fields, **changes})


def sample_job(number: int = 0, *, out: Path | str = "runs", **changes: Any) -> Job:
    """A job of `sample_cell`, which no process could run."""
    fields: dict[str, Any] = {
        **{"cell": sample_cell(number), "scores": (), "data_dir": "data", "out_dir": str(out), "folder": str(number)},
        **changes,
    }
    return Job(**fields)


def third_party_request(methods: str = "mean_color", **changes: Any) -> Request:
    """A request for third-party plugins: one epoch of three steps per cell. Items are written as on the command line."""
    fields = {
        "encoders": "tiny",
        "datasets": "stripes",
        "evaluators": "centroid",
        "epochs": 1,
        "floors": False,
        **changes,
    }
    for kind in ("encoders", "datasets", "evaluators"):
        fields[kind] = parse_items([fields[kind]])
    return Request(methods=parse_items([methods]), **fields)


def third_party_jobs(
    out: Path, methods: str = "mean_color", catalog: Catalog | None = None, **changes: Any
) -> list[Job]:
    """The jobs of `third_party_request`. Fields of a job are passed on, all others go into the request."""
    names = {field.name for field in dataclasses.fields(Job)} - {"data_dir"}
    fields = {name: changes.pop(name) for name in list(changes) if name in names}
    request = third_party_request(methods, **changes)
    return [job_of(each, out, **fields) for each in plan(request, catalog or load_catalog()).cells]


def third_party_job(out: Path, method: str = "mean_color", **changes: Any) -> Job:
    """The only job of `third_party_jobs`."""
    (job,) = third_party_jobs(out, method, **changes)
    return job


def job_of(planned: PlannedCell, out: Path, **changes: Any) -> Job:
    """The job of a planned cell, with data beside the output folder."""
    fields: dict[str, Any] = {
        **{"cell": planned.cell, "scores": planned.scores, "data_dir": str(out.parent / "data"), "out_dir": str(out)},
        **{"folder": cell_folder(planned.cell), **changes},
    }
    return Job(**fields)


def folder_of(job: Job) -> Path:
    """The folder of a job's cell."""
    return Path(job.out_dir) / job.folder


def run_done(job: Job, **options: Any) -> Record:
    """Runs a job that must succeed; its record."""
    outcome = run_cell(job, **options)
    assert outcome.state in ("done", "smoke"), outcome.traceback
    return read_record(folder_of(job))


def run_failed(job: Job) -> Outcome:
    """Runs a job that must fail."""
    outcome = run_cell(job)
    assert outcome.state == "failed"
    assert outcome.reason
    return outcome


def replace_loss(monkeypatch: pytest.MonkeyPatch, loss: Callable[..., Any]) -> None:
    """Replaces the loss of the third-party method `mean_color`, which must be installed."""
    from bench_third_party.mean_color import MeanColor

    monkeypatch.setattr(MeanColor, "loss", loss)


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, the test fails if `mean_color` trains."""
    replace_loss(monkeypatch, lambda self, batch: pytest.fail("trained again"))
