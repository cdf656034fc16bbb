"""Untrusted input runs nothing: no pickle of records or checkpoints, no names as paths, no shell, no open port."""

from __future__ import annotations

import ast
import io
import os
import pickle
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import THIRD_PARTY, Bench, Launch
from image_samples import make_tree
from launched import command, ended, listening_addresses, living, until
from sample_records import sample_record

import benchmark
from benchmark.records.archive import pack, unpack
from benchmark.records.export import export
from benchmark.records.leaderboard import leaderboard_name
from benchmark.records.record_files import read_records, write_record

ROOT = Path(benchmark.__file__).parent.parent
SOURCES = sorted([*(ROOT / "benchmark").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
OPTIONS = ("--encoders", "tiny", "--evaluators", "centroid", "--no-floors", "--device", "cpu")
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads"}
REQUIRED_ARGUMENTS = {"torch.load": ("weights_only", "True"), "np.load": ("allow_pickle", "False")}


# --- source code ------------------------------------------------------------------------------------------------------


def unsafe_calls(path: Path) -> Iterator[str]:
    """Calls that could run code from a file: unpickling, a shell, evaluation of text."""
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call):
            continue
        name = ast.unparse(call.func)
        arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        key, value = REQUIRED_ARGUMENTS.get(name, ("shell", "False"))
        missing = name in REQUIRED_ARGUMENTS and key not in arguments
        if name in FORBIDDEN_CALLS or missing or arguments.get(key, value) != value:
            yield f"{path.name}:{call.lineno} {ast.unparse(call)}"


def test_source_makes_no_unsafe_call() -> None:
    assert [call for path in SOURCES for call in unsafe_calls(path)] == []


@pytest.mark.parametrize(
    "code",
    [
        *("torch.load(path)", "torch.load(path, weights_only=False)", "np.load(path)", "np.load(path, allow_pickle=x)"),
        *("subprocess.run(text, shell=True)", "eval(text)", "pickle.loads(data)", "os.system(text)"),
    ],
)
def test_unsafe_calls_are_detected(code: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(f"value = {code}\n")
    assert len(list(unsafe_calls(tmp_path / "bad.py"))) == 1


# --- pickles ----------------------------------------------------------------------------------------------------------


class Payload:
    """An object that creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.mark,))


def test_payload_creates_a_file_if_it_is_unpickled(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


@pytest.fixture
def run(third_party: Path, bench: Bench) -> Callable[..., Any]:
    """`bench run` of one quick cell in this process."""

    def start(*options: str, dataset: str = "stripes") -> Any:
        words = ("--methods", "mean_color", "--dataset", dataset, "--executor", "inline")
        return bench("run", *words, *OPTIONS, *options)

    return start


def test_payload_in_a_checkpoint_is_not_run_and_training_restarts(run: Callable[..., Any], tmp_path: Path) -> None:
    assert run("--epochs", "2").exit_code == 0
    (cell,) = (tmp_path / "runs").glob("mean_color-*")
    (cell / "record.json").unlink()
    torch.save({"key": "mine", "threads": 1, "method": Payload(tmp_path / "mark")}, cell / "checkpoint.pt")
    result = run("--epochs", "2")
    assert result.exit_code == 0
    assert "checkpoint" in result.stderr
    assert (cell / "record.json").exists()
    assert not (tmp_path / "mark").exists()


def test_payload_in_predictions_is_not_run(run: Callable[..., Any], tmp_path: Path) -> None:
    assert run().exit_code == 0
    (cell,) = (tmp_path / "runs").glob("mean_color-*")
    np.savez(cell / "predictions.npz", x=np.array([Payload(tmp_path / "mark")], dtype=object))
    result = run("--evaluators", "refuses")
    assert result.exit_code == 3
    assert "predictions.npz" in result.stderr
    assert not (tmp_path / "mark").exists()


# --- names and paths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..", ".", "a/b", "a\\b", "a\0b", "", "ä ö", "con:"])
def test_names_never_become_paths_outside(name: str, tmp_path: Path) -> None:
    record = sample_record(method=name or "x", encoder=name, dataset=name, folder=str(tmp_path / "cell"))
    write_record(tmp_path / "cell", record)
    np.savez(tmp_path / "cell" / "predictions.npz")
    assert "/" not in leaderboard_name(record)
    assert leaderboard_name(record) not in ("", ".", "..")
    export([record], tmp_path / "results")
    written = {path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "cell"}
    assert written
    assert all(path.parent == tmp_path / "results" for path in written)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "..", "/tmp/evil", "ä", "x" * 300])
def test_cell_folder_is_directly_below_the_output_folder(
    name: str, run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tree(tmp_path / "photos")
    monkeypatch.setenv("BENCH_PLUGINS", f"{THIRD_PARTY},images")
    before = set(tmp_path.parent.iterdir())
    result = run(dataset=f'folder[path=photos,name="{name}"]')
    assert result.exit_code in (0, 2), result.output
    assert set(tmp_path.parent.iterdir()) == before
    outputs = {path.parent.parent for path in tmp_path.rglob("record.json")}
    assert outputs <= {tmp_path / "runs"}
    assert bool(outputs) == (result.exit_code == 0)


def test_archive_unpacks_only_known_names(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("../evil.txt", "/evil.txt", "evil.py", "log.txt"):
            archive.writestr(name, "x")
    cell = tmp_path / "home" / "cell"
    unpack(buffer.getvalue(), cell)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["log.txt"]
    (cell / "evil.py").write_text("x")
    assert b"evil" not in pack(cell)


# --- ports ------------------------------------------------------------------------------------------------------------


needs_proc = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc/net to see open ports")


@needs_proc
def test_run_opens_no_port(launch: Launch, environment: dict[str, str], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    process = launch(command("fault_waits"), tmp_path, **environment, THIRD_PARTY_GATE=str(gate))
    until(lambda: (tmp_path / "gate.reached").exists() or process.poll() is not None, "the cell in its step")
    members = living(process.pid)
    assert len(members) >= 3  # the run, the fork server, the cell
    assert listening_addresses(members) == set()
    gate.unlink()
    assert ended(process, tmp_path).code == 0
    assert [record.state for record in read_records(tmp_path / "runs")[0]] == ["done"]


@needs_proc
def test_open_port_is_detected() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert listening_addresses({os.getpid()})
