"""Shared fixtures: third-party distributions as if installed, and `bench` in this process or in its own."""

from __future__ import annotations

import gc
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
THIRD_PARTY = "third_party,third_party_faults,teacher,executors"
"""Plugins that need neither scikit-learn nor FAISS: one of their cells takes a tenth of a second."""

Bench = Callable[..., Result]
Launch = Callable[..., "subprocess.Popen[str]"]
PluginMaker = Callable[..., Path]


def install_by_hand(source: Path, target: Path) -> None:
    """Copies a distribution's packages into a folder of sys.path and writes the metadata that an installer would."""
    settings = tomllib.loads((source / "pyproject.toml").read_text())
    project = settings["project"]
    for package in settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        shutil.copytree(source / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    info = target / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = "".join(f"{name} = {value}\n" for name, value in project["entry-points"]["bench"].items())
    (info / "entry_points.txt").write_text(f"[bench]\n{points}")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Takes imported modules and collected tests out of garbage collection, which would visit them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What `bench` remembers of plugins is kept in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the environment variables that change what `bench` does."""
    for name in ("BENCH_PLUGINS", "BENCH_DATA", "THIRD_PARTY_GATE", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds repbench-third-party and repbench-teacher as an installer leaves them."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("third_party", "teacher"):
        install_by_hand(DATA / name, folder)
    return folder


@pytest.fixture(scope="session")
def environment(site: Path) -> dict[str, str]:
    """The variables of a `bench` process with both distributions and only their quick, valid plugins."""
    return {"PYTHONPATH": str(site), "BENCH_PLUGINS": THIRD_PARTY}


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both distributions are installed beside repbench, in this process and in its child processes."""
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    return site


@pytest.fixture
def third_party(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both distributions are installed, and only their quick, valid plugins are loaded."""
    monkeypatch.setenv("BENCH_PLUGINS", THIRD_PARTY)
    return installed


@pytest.fixture
def make_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PluginMaker:
    """Installs a distribution with one plugin of one file; returns its folder in sys.path."""

    def make(body: str, name: str = "made", distribution: str = "repbench-made") -> Path:
        source = tmp_path / distribution
        package = source / f"{name}_package"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"import benchmark\n\n\n{body}")
        (source / "pyproject.toml").write_text(
            f'[project]\nname = "{distribution}"\nversion = "2.0"\n'
            f'[project.entry-points.bench]\n{name} = "{name}_package"\n'
            f'[tool.hatch.build.targets.wheel]\npackages = ["{name}_package"]\n'
        )
        site = tmp_path / f"site-{distribution}"
        site.mkdir()
        install_by_hand(source, site)
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, f"{name}_package", raising=False)
        return site

    return make


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Runs `bench` in this process, in an empty folder; returns its output and exit code."""
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
    """Starts `bench` in its own process; kills the processes that still run when the tests end."""
    started: list[subprocess.Popen[str]] = []

    def start(words: Sequence[str], folder: Path, **environment: str) -> subprocess.Popen[str]:
        # A test that runs in the background ignores Ctrl-C, and its child processes would inherit that.
        interruptible = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        script = f"{interruptible}; from benchmark.cli.main import main; main()"
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
