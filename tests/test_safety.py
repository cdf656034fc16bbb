"""What comes from outside runs nothing: no pickle of records or checkpoints, no names as paths, no shell, no open port."""

from __future__ import annotations

import ast
import os
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import THIRD_PARTY, Bench, Launch
from sample_records import sample_record

import benchmark
from benchmark.records.archive import pack, unpack
from benchmark.records.leaderboard import board_name, export
from benchmark.records.record import read_records, write_record
from benchmark.training import checkpoints

ROOT = Path(benchmark.__file__).parent.parent
SOURCES = sorted([*(ROOT / "benchmark").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
WORDS = ("--encoders", "tiny", "--dataset", "stripes", "--evaluators", "centroid", "--no-floors", "--device", "cpu")


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def given(call: ast.Call, name: str) -> str:
    return next((ast.unparse(word.value) for word in call.keywords if word.arg == name), "")


# --- by reading the source --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_unpickles_runs_a_shell_or_evaluates_text(path: Path) -> None:
    for name, call in calls(path):
        assert name not in ("eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads"), name
        assert given(call, "shell") in ("", "False")
        if name == "torch.load":
            assert given(call, "weights_only") == "True", f"line {call.lineno}"
        if name == "np.load":
            assert given(call, "allow_pickle") == "False", f"line {call.lineno}"


def test_the_search_would_see_them(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import torch\ntorch.load(path)\n")
    with pytest.raises(AssertionError):
        test_no_source_unpickles_runs_a_shell_or_evaluates_text(bad)


# --- by trying --------------------------------------------------------------------------------------------------------


class Payload:
    """What runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.mark,))


def test_the_payload_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


def test_a_checkpoint_with_a_payload_is_not_run_and_training_starts_again(
    third_party: Path, bench: Bench, tmp_path: Path
) -> None:
    words = ("run", "--methods", "mean_color", *WORDS, "--executor", "inline", "--epochs", "2")
    assert bench(*words).exit_code == 0
    (cell,) = (tmp_path / "runs").glob("mean_color-*")
    (cell / "record.json").unlink()
    mark = tmp_path / "mark"
    torch.save({"key": "mine", "threads": 1, "method": Payload(mark)}, cell / "checkpoint.pt")
    result = bench(*words)
    assert result.exit_code == 0
    assert "checkpoint.pt is damaged or does not fit" in result.stderr
    assert not mark.exists()
    assert checkpoints.threads_of(cell / "checkpoint.pt", "mine") is None


def test_predictions_with_a_payload_are_not_run(third_party: Path, bench: Bench, tmp_path: Path) -> None:
    words = ("run", "--methods", "mean_color", *WORDS, "--executor", "inline")
    assert bench(*words).exit_code == 0
    (cell,) = (tmp_path / "runs").glob("mean_color-*")
    mark = tmp_path / "mark"
    np.savez(cell / "predictions.npz", x=np.array([Payload(mark)], dtype=object))
    words = tuple("centroid,refuses" if word == "centroid" else word for word in words)
    result = bench(*words)
    assert result.exit_code == 3
    assert "predictions.npz cannot be read" in result.stderr
    assert not mark.exists()


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..", ".", "a/b", "a\\b", "a\0b", "", "ä ö", "con:"])
def test_names_never_become_paths_outside(name: str, tmp_path: Path) -> None:
    record = sample_record(method=name or "x", encoder=name, dataset=name, folder=str(tmp_path / "cell"))
    write_record(tmp_path / "cell", record)
    np.savez(tmp_path / "cell" / "predictions.npz")
    assert "/" not in board_name(record)
    assert board_name(record) not in ("", ".", "..")
    export([record], tmp_path / "results")
    written = {path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "cell"}
    assert written
    assert all(path.parent == tmp_path / "results" for path in written)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "..", "/tmp/evil", "ä", "x" * 300])
def test_a_cells_folder_is_one_name_below_the_output_folder(
    name: str, third_party: Path, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    for split in ("train", "test"):
        for label in ("a", "b"):
            (photos / split / label).mkdir(parents=True)
            for number in range(4):
                from PIL import Image

                Image.new("RGB", (8, 8), (number * 40, 80, 120)).save(photos / split / label / f"{number}.png")
    monkeypatch.setenv("BENCH_PLUGINS", f"{THIRD_PARTY},images")
    before = set(tmp_path.parent.iterdir())
    words = ("run", "--methods", "mean_color", "--encoders", "tiny", "--evaluators", "centroid", "--no-floors")
    result = bench(*words, "--executor", "inline", "--dataset", f'folder[path=photos,name="{name}"]')
    assert result.exit_code in (0, 2), result.output
    assert set(tmp_path.parent.iterdir()) == before
    found = {path.parent.parent for path in tmp_path.rglob("record.json")}
    assert found <= {tmp_path / "runs"}
    assert bool(found) == (result.exit_code == 0)


def test_a_parcel_unpacks_no_name_of_its_own(tmp_path: Path) -> None:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as parcel:
        parcel.writestr("../evil.txt", "x")
        parcel.writestr("/evil.txt", "x")
        parcel.writestr("evil.py", "x")
        parcel.writestr("log.txt", "kept")
    unpack(buffer.getvalue(), tmp_path / "home" / "cell")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["log.txt"]
    (tmp_path / "home" / "cell" / "evil.py").write_text("x")
    assert b"evil" not in pack(tmp_path / "home" / "cell")


def listening(pids: set[int]) -> list[str]:
    """Addresses on which any of the processes listens, from proc(5)."""
    inodes = set()
    for pid in pids:
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(handle.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = []
    for table in ("tcp", "tcp6"):
        path = Path(f"/proc/net/{table}")
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.append(fields[1])
    return found


def of_session(leader: int) -> set[int]:
    found = set()
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                if int((path / "stat").read_text().rpartition(")")[2].split()[3]) == leader:
                    found.add(int(path.name))
            except (OSError, IndexError):
                continue
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="this system does not tell who listens")
def test_a_run_listens_on_no_port(launch: Launch, site: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    process = launch(
        ["run", "--methods", "fault_waits", *WORDS],
        tmp_path,
        PYTHONPATH=str(site),
        BENCH_PLUGINS=THIRD_PARTY,
        THIRD_PARTY_GATE=str(gate),
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "gate.reached").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    members = of_session(process.pid)
    assert len(members) >= 3  # the run, the fork server, the cell
    assert listening(members) == []
    gate.unlink()
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert [record.state for record in read_records(tmp_path / "runs")[0]] == ["done"]


def test_a_port_would_be_seen() -> None:
    import socket

    if not Path("/proc/net/tcp").exists():
        pytest.skip("this system does not tell who listens")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert len(listening({os.getpid()})) >= 1
