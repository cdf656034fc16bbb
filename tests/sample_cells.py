"""Finished and failed cells on disk, with per-image outcomes: for the tests of comparisons and checks."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sample_records import sample_record, sample_score

from benchmark.records.record import PREDICTIONS, Record, Score
from benchmark.records.record_files import read_record, write_record

IMAGES = 1000
BASELINE = "results/digits.csv"
AET, ROTATION = "aet/resnet18/digits", "rotation/resnet18/digits"
Json = dict[str, Any]
Check = Callable[..., tuple[int, Json]]
"""Runs `bench check` with further options: its exit code and JSON."""
Compare = Callable[..., list[Json]]
"""Runs `bench compare`: its rows, one for each score and question."""


def outcomes_of(seed: int, share: float) -> NDArray[np.bool_]:
    """(IMAGES,) of which exactly `share` are correct. Images become harder with their index, with noise from the seed."""
    generator = np.random.default_rng(seed)
    ease = np.linspace(1, 0, IMAGES)
    return np.asarray(np.argsort(np.argsort(-(ease + generator.normal(0, 0.1, IMAGES)))) < share * IMAGES)


def cell_score(value: float, **changes: Any) -> Score:
    """A score over IMAGES images with its own array of outcomes."""
    fields = {"tap": "layer4", "protocol": "knn@1", "metric": "accuracy@k=20", "n": IMAGES, **changes}
    name = f"{fields['tap']}|average|{fields.get('evaluator', 'knn')}|{fields['protocol']}|{fields['metric']}"
    return sample_score(value, **{"outcomes": name, **fields})


def write_cell(
    out: Path,
    method: str,
    seed: int | None,
    *scores: Score | float,
    arrays: dict[str, NDArray[Any]] | None = None,
    **changes: Any,
) -> Record:
    """Writes a cell into `out` and reads it back.

    Args:
        out: folder of records.
        method: its label.
        seed: None for a method without randomness.
        scores: a number is an accuracy from `cell_score`.
        arrays: outcomes by name; None: drawn, so that their mean is each score's value.
        changes: see `sample_record`.
    """
    all_scores = tuple(cell_score(score) if isinstance(score, float) else score for score in scores)
    record = sample_record(method, seed=seed, scores=all_scores, **changes)
    folder = out / f"{record.cell['method']['name']}-s{seed}-{record.id[:8]}"
    write_record(folder, record)
    if arrays is None:
        noise = sum(map(ord, method)) * 100 + (seed or 0)
        arrays = {each.outcomes: outcomes_of(noise, each.value)[: each.n] for each in all_scores if each.outcomes}
    np.savez_compressed(folder / PREDICTIONS, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for options
    return read_record(folder)


def write_seeds(out: Path, method: str, value: float, seeds: range = range(3), **changes: Any) -> None:
    """Writes one method over several seeds, whose scores differ by a few images."""
    for seed in seeds:
        write_cell(out, method, seed, round(value + 0.002 * (seed % 3), 6), **changes)


def write_failed(out: Path, method: str, seed: int | None, **changes: Any) -> None:
    """Writes a cell that did not finish."""
    failure = {"stage": "train", "reason": "loss is NaN", "traceback": ""}
    write_cell(out, method, seed, **{"state": "failed", "failure": failure, **changes})


def changed_cell(method: str = "aet", /, **fields: Json) -> Json:
    """The cell of a method with other settings of `dataset`, `encoder`, `method` or `recipe`."""
    cell: Json = json.loads(json.dumps(sample_record(method).cell))
    for part, values in fields.items():
        cell[part].update(values)
    return cell


def write_changed_seeds(out: Path, value: float, **fields: Json) -> None:
    """Writes three seeds of method `aet` under its label, but with other settings."""
    for seed in range(3):
        cell = {**changed_cell(**fields), "seed": seed}
        write_cell(out, "aet", seed, value + 0.002 * seed, cell=cell, id=f"{seed}" * 64)


def verdicts_of(body: Json) -> dict[str, str]:
    """Cell -> verdict in the JSON of a check, for cells with one score."""
    return {row["cell"]: row["verdict"] for row in body["rows"]}


def commit_all(folder: Path) -> None:
    """Makes a git repository of a folder, with one commit of everything in `results/`."""
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "results"), ("commit", "-q", "-m", "before")):
        subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)
