"""README.md and CONTRIBUTING.md: commands exist, code runs, numbers match the records, links work."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from benchmark.api.catalog import load_catalog
from benchmark.cli.main import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMMANDS = [command.strip() for command in re.findall(r"\bbench [a-z]+ [^#&`\n]*(?=[#&\n])", README)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that holds the files that commands in the README name."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            (tmp_path / "photos" / split / name / "a.png").write_bytes(b"not decoded by a plan")
    (tmp_path / "weights.safetensors").write_bytes(b"hashed only")
    (tmp_path / "runs").mkdir()
    return tmp_path


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith(("bench run", "bench plan"))])
def test_every_run_in_the_readme_can_be_planned(command: str, folder: Path) -> None:
    words = shlex.split(command)[2:]
    result = CliRunner().invoke(main, ["plan", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "to run" in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_in_the_readme_have_valid_options(command: str, folder: Path) -> None:
    name, *words = shlex.split(command)[1:]
    found = main.get_command(click.Context(main), name)
    assert found is not None
    found.make_context(name, words)


def test_readme_has_the_promised_install_and_test_lines() -> None:
    first = 'pip install -e ".[test]" && bench run --methods dim,aet --encoders resnet18,blocknet\n    pytest\n'
    assert first in README


def test_readme_names_existing_commands_and_everything_installed() -> None:
    existing = set(main.list_commands(click.Context(main)))
    assert set(re.findall(r"\bbench ([a-z]+)", README)) <= existing
    catalog = load_catalog()
    for entry in (*catalog.methods, *catalog.encoders, *catalog.datasets, *catalog.evaluators, *catalog.executors):
        if entry.provider.distribution.startswith("repbench"):
            assert f"`{entry.spec.name}`" in README, entry.spec.name


def test_readme_fits_its_limits() -> None:
    lines = README.splitlines()
    assert 60 <= len(lines) <= 120
    assert max(map(len, lines)) <= 120
    assert lines.index("## Install and run") < 24, "the first screen shows how to install"


RESULT = {
    "Deep InfoMax, local, InfoNCE": ("dim[estimator=nce,units=512]", "4"),
    "Deep InfoMax, local, JSD": ("dim[units=512]", "4"),
    "Deep InfoMax, global, JSD": ("dim[gamma=1.0,scope=global]", "4"),
    "untrained encoder (floor)": ("untrained", "0"),
}
"""Row of the README's table -> label and epochs in the leaderboard."""


def test_result_in_the_readme_is_that_of_the_records() -> None:
    with (ROOT / "results" / "cifar10-jpeg.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["dataset"], row["encoder"], row["tap"], row["seed"], row["pool"])
            == ("cifar10-jpeg[subset=20000]", "dim_conv", "y", "0", "average")
        ]
    shown = [
        f"| {name} | {score(rows, label, epochs, 'linear', 'accuracy')} | "
        f"{score(rows, label, epochs, 'knn', 'accuracy@k=20')} |"
        for name, (label, epochs) in RESULT.items()
    ]
    table = [line for line in README.splitlines() if line.startswith("|")]
    assert table[2:] == shown
    used = [row for row in rows if (row["method"], row["epochs"]) in RESULT.values()]
    assert {row["commit"][:7] for row in used} == {"2d7843a"}
    assert {row["n"] for row in used} == {"10000"}
    assert {(row["device"], row["precision"]) for row in used} == {("cpu", "float32")}
    conditions = " ".join(README.split())
    for condition in ("n = 10,000", "1 seed", "4 epochs", "20,000 training images", "commit 2d7843a", "torch 2.15.0"):
        assert condition in conditions, condition


def score(rows: list[dict[str, str]], label: str, epochs: str, evaluator: str, metric: str) -> str:
    (row,) = [
        row
        for row in rows
        if (row["method"], row["epochs"], row["evaluator"], row["metric"]) == (label, epochs, evaluator, metric)
    ]
    return f"{float(row['value']):.4f} [{float(row['ci_low']):.3f}, {float(row['ci_high']):.3f}]"


def test_python_example_in_the_readme_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(example.split("\n")) <= 7
    script = tmp_path / "example.py"  # a script without a main guard
    script.write_text(example)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "rotation" in done.stdout
    assert (tmp_path / "runs" / "scores.csv").is_file()


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "plugins/README.md", "results/README.md"]
)
def test_links_to_files_work(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (path.parent / target).exists(), f"{document} links to {target}"


def test_contributing_lists_every_package_and_public_module() -> None:
    for path in (ROOT / "benchmark").iterdir():
        if (path / "__init__.py").is_file() or (path.suffix == ".py" and path.stem != "__main__"):
            assert f"`{path.stem}`" in CONTRIBUTING, path.name


def test_changelog_has_one_line_per_change() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("## [Unreleased]")[1].splitlines()
    for line in lines:
        assert not line or line.startswith(("### ", "- ")), line
        assert len(line) <= 120, line
