"""What several tests share: strangers' distributions as if installed, and `bench` in this process or in one of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

DATA = Path(__file__).parent / "data"
STRANGERS = "stranger,stranger_faults,teacher,executors"
"""Plugins that need neither scikit-learn nor FAISS: a cell of theirs takes a tenth of a second."""

Bench = Callable[..., Result]
Launch = Callable[..., "subprocess.Popen[str]"]


def install_by_hand(source: Path, target: Path) -> None:
    """Puts a distribution's packages, and the metadata that an installer would write, into a folder of sys.path."""
    settings = tomllib.loads((source / "pyproject.toml").read_text())
    project = settings["project"]
    for package in settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        shutil.copytree(source / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    info = target / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = "".join(f"{name} = {value}\n" for name, value in project["entry-points"]["bench"].items())
    (info / "entry_points.txt").write_text(f"[bench]\n{points}")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of whoever runs the tests play no part in them."""
    for name in ("BENCH_PLUGINS", "BENCH_DATA", "STRANGER_GATE", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds repbench-stranger and repbench-teacher as an installer leaves them."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("stranger", "teacher"):
        install_by_hand(DATA / name, folder)
    return folder


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both distributions are installed, beside repbench, here and in processes started from here."""
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    return site


@pytest.fixture
def strangers(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both are installed, and only what of them is quick and loads is asked for."""
    monkeypatch.setenv("BENCH_PLUGINS", STRANGERS)
    return installed


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Runs `bench` in this process, in an empty folder, and gives what it printed and its exit code."""
    from benchmark.cli.main import main

    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Result:
        result = CliRunner().invoke(main, words)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture(scope="session")
def launch() -> Iterator[Launch]:
    """Starts `bench` in a process of its own; whatever is left of it in the end is ended."""
    started: list[subprocess.Popen[str]] = []

    def start(words: Sequence[str], folder: Path, **environment: str) -> subprocess.Popen[str]:
        # A test run in the background ignores Ctrl-C, and its children would inherit that.
        heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        script = f"{heard}; from benchmark.cli.main import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", script, *words],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
