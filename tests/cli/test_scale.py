"""What commands read of large output folders: the index knows all records, and only those that are needed are opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import Bench
from opened_files import opened_files
from peak_memory import PEAK_MEMORY
from sample_cells import AET, ROTATION, write_cell, write_seeds
from sample_records import sample_record, sample_score

from benchmark.records import index
from benchmark.records.export import export
from benchmark.records.output_folder import OutputFolder
from benchmark.records.record import PREDICTIONS, RECORD
from benchmark.records.record_text import as_json, record_text

METHODS = ("aet", "dim", "rotation")
SEEDS = range(3)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with three methods over three seeds and a warm index."""
    out = tmp_path / "runs"
    for number, method in enumerate(METHODS):
        write_seeds(out, method, 0.7 + 0.05 * number, SEEDS)
    for path in out.glob(f"*/{RECORD}"):
        os.utime(path, (1, 1))  # long ago, so that the index need not read it again
    index.read(out)
    return out


def _opened(bench: Bench, *words: str, codes: tuple[int, ...] = (0,)) -> tuple[Counter[str], Counter[str]]:
    """How many records and files of outcomes of each method a command opens."""
    with opened_files() as opened:
        result = bench(*words)
    assert result.exit_code in codes, result.output
    cells = {name: [path.parent.name for path in opened if path.name == name] for name in (RECORD, PREDICTIONS)}
    records, outcomes = (Counter(name.partition("-")[0] for name in cells[file]) for file in (RECORD, PREDICTIONS))
    return records, outcomes


@pytest.mark.parametrize(
    "words",
    [
        ("table", "runs", "--ties", "off"),
        ("table", "runs", "--format", "csv"),
        ("table", "runs", "--sort", "cost"),
        ("correlate", "runs"),
        ("status", "runs"),
    ],
)
def test_tables_open_no_record(words: tuple[str, ...], runs: Path, bench: Bench) -> None:
    assert _opened(bench, *words) == (Counter(), Counter())


def test_compare_opens_the_records_of_both_sides(runs: Path, bench: Bench) -> None:
    records, outcomes = _opened(bench, "compare", AET, ROTATION)
    assert records == outcomes == {"aet": 3, "rotation": 3}
    records, _ = _opened(bench, "compare", f"{AET}/1", f"{ROTATION}/2")
    assert records == {"aet": 1, "rotation": 1}


def test_explain_opens_two_records(runs: Path, bench: Bench) -> None:
    assert _opened(bench, "explain", f"{AET}/1", f"{AET}/2") == ({"aet": 2}, Counter())


def test_check_opens_the_records_of_cells_in_the_baseline(runs: Path, bench: Bench, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier"
    write_seeds(earlier, "aet", 0.7, SEEDS)
    export(OutputFolder(earlier), tmp_path / "results")
    records, outcomes = _opened(bench, "check", "runs", "--baseline", "results/digits.jsonl")
    assert records == outcomes == {"aet": 3}


def test_merge_opens_each_record_to_copy_it(runs: Path, bench: Bench) -> None:
    records, outcomes = _opened(bench, "merge", "runs", "--to", "merged")
    assert (set(records.values()), outcomes) == ({2 * len(SEEDS)}, Counter()), "the source and the copy"


def test_export_packs_only_records_that_have_changed(runs: Path, bench: Bench) -> None:
    everything = {method: len(SEEDS) for method in METHODS}
    assert _opened(bench, "export", "runs", "--to", "results")[1] == everything
    before = {path.name: (path.read_bytes(), path.stat().st_ino) for path in (runs.parent / "results").iterdir()}
    assert _opened(bench, "export", "runs", "--to", "results")[1] == Counter()
    after = {path.name: (path.read_bytes(), path.stat().st_ino) for path in (runs.parent / "results").iterdir()}
    assert before == after
    write_cell(runs, "dim", 1, 0.9)
    assert _opened(bench, "export", "runs", "--to", "results")[1] == {"dim": 1}
    bench("export", "runs", "--to", "at once")
    for path in (runs.parent / "at once").iterdir():
        assert path.read_bytes() == (runs.parent / "results" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("damage", ["line", "arrays", "no arrays", "csv", "no csv"])
def test_export_repairs_a_leaderboard(damage: str, runs: Path, bench: Bench) -> None:
    results = runs.parent / "results"
    bench("export", "runs", "--to", "results")
    before = {path.name: path.read_bytes() for path in results.iterdir()}
    jsonl, npz, csv = (results / f"digits{suffix}" for suffix in (".jsonl", ".outcomes.npz", ".csv"))
    if damage == "line":
        jsonl.write_bytes(before[jsonl.name].replace(b'"value": 0.7}', b'"value": 0.9}', 1))
    elif damage == "arrays":
        with np.load(npz) as file:
            arrays = {name: file[name] for name in file.files[1:]}
        np.savez_compressed(npz, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for options
    elif damage == "csv":
        csv.write_text(before[csv.name].decode().replace("0.7,", "0.9,", 1))
    else:
        (npz if damage == "no arrays" else csv).unlink()
    assert {path.name: path.read_bytes() for path in results.iterdir()} != before
    assert bench("export", "runs", "--to", "results").exit_code == 0
    assert {path.name: path.read_bytes() for path in results.iterdir()} == before


# --- memory -----------------------------------------------------------------------------------------------------------

RECORDS, TAPS, METRICS, IMAGES = 4000, 3, 19, 500
LIMIT = 200
"""MB. All 4,000 records together would take 400 MB more."""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4,000 records of 400 seed groups, with 57 scores each."""
    root = tmp_path_factory.mktemp("many")
    hits = np.arange(IMAGES) % 4 > 0
    names = [(f"conv{tap}", f"accuracy@k={metric}") for tap in range(TAPS) for metric in range(METRICS)]
    scores = tuple(
        sample_score(0.75, tap=tap, metric=metric, n=IMAGES, outcomes=f"{tap}|{metric}", headline=metric.endswith("=0"))
        for tap, metric in names
    )
    np.savez_compressed(root / PREDICTIONS, **{f"{tap}|{metric}": hits for tap, metric in names})
    for number in range(RECORDS):
        record = sample_record(f"aet[x={number // 10}]", seed=number % 10, scores=scores)
        folder = root / "runs" / f"aet-{number:05d}"
        folder.mkdir(parents=True)
        (folder / RECORD).write_bytes(record_text(as_json(record), indent=1))
        (folder / PREDICTIONS).hardlink_to(root / PREDICTIONS)
        os.utime(folder / RECORD, (1, 1))
    index.read(root / "runs")
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("compare", "aet[x=1]/resnet18/digits", "aet[x=2]/resnet18/digits", "--out", "runs"),
        ("export", "runs", "--to", "results"),
        ("check", "runs", "--baseline", "results/digits.jsonl"),
        ("compare", "results/digits.jsonl", "results/digits.jsonl"),
        ("merge", "runs", "--to", "merged"),
        ("table", "runs"),
        ("table", "results/digits.jsonl", "--format", "csv"),
    ],
    ids=" ".join,
)
def test_thousands_of_records_take_little_memory(words: tuple[str, ...], many: Path) -> None:
    report = many / "peak.json"
    code = (
        f"{PEAK_MEMORY}\nimport json; from benchmark.cli.main import main\n"
        f"try: main()\nfinally: json.dump(peak_memory(), open({str(report)!r}, 'w'))"
    )
    result = subprocess.run([sys.executable, "-c", code, *words], cwd=many, capture_output=True, text=True)
    assert result.returncode in (0, 4), result.stderr
    assert json.loads(report.read_text()) < LIMIT * 1e6
