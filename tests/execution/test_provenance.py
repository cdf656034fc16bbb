"""The conditions of a measurement, and the commit of the code that runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

import benchmark
from benchmark.execution.provenance import checkout, environment


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package two folders below the root of its repository."""
    package = tmp_path / "source" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return package


def test_checkout_finds_the_commit_however_deep_the_package_lies(package: Path) -> None:
    assert checkout(package) == (git(package, "rev-parse", "HEAD"), False)


def test_checkout_reports_modified_files(package: Path) -> None:
    (package / "__init__.py").write_text("changed = True")
    assert checkout(package) == (git(package, "rev-parse", "HEAD"), True)


def test_checkout_ignores_a_repository_that_does_not_track_the_package(package: Path) -> None:
    installed = package.parent / "venv" / "installed"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert checkout(installed) == (None, None)


def test_checkout_outside_of_a_repository_is_unknown(tmp_path: Path) -> None:
    assert checkout(tmp_path) == (None, None)


def test_environment_names_the_commit_that_this_code_is_from() -> None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    commit = environment(torch.device("cpu"), 1)["commit"]
    assert commit is not None
    assert len(commit.rstrip("+")) == 10
    tracked = checkout(Path(benchmark.__file__).parent)[0]
    assert tracked is not None
    assert tracked.startswith(commit.rstrip("+"))
    assert git(root, "cat-file", "-t", tracked) == "commit"
