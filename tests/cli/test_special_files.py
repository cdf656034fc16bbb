"""FIFOs, folders, devices and links in a circle in place of stored files: no command blocks or fails unexpectedly."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import INLINE, STRIPES
from conftest import Bench

RUN = ("run", "--methods", "mean_color,byol", *STRIPES, *INLINE)
KINDS: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link in a circle": lambda path: path.symlink_to(path.name),
    "link to nothing": lambda path: path.symlink_to("nowhere/file"),
    "empty file": Path.touch,
}
READERS: tuple[tuple[str, ...], ...] = (
    ("table", "runs"),
    ("status", "runs"),
    ("plan", *RUN[1:7]),
    ("check", "runs", "--baseline", "boards/stripes.jsonl"),
    ("table", "boards/stripes.jsonl"),
    ("export", "runs", "--to", "boards"),
    ("merge", "runs", "--to", "made"),
    ("verify", "runs", "--files"),
    RUN,
    (*RUN, "--rerun", "all"),
)
CELL_FILES = (
    "record.json",
    "model.safetensors",
    "predictions.npz",
    "lock.json",
    "log.txt",
    "output.txt",
    "checkpoint.pt",
)
OUT_FILES = (
    "scores.csv",
    ".guard",
    ".index.npz",
    ".runs",
    ".runs/run.json",
    ".merge-a",
    ".scores.csv-0123abcd",
    "other",
)


def put(path: Path, kind: str) -> None:
    """Puts a special file in place of a file."""
    path.parent.mkdir(exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    KINDS[kind](path)


@pytest.fixture
def exported(finished: Bench, bench: Bench) -> Bench:
    """Two finished cells in runs/, and their leaderboard in boards/."""
    assert bench("export", "runs", "--to", "boards").exit_code == 0
    return bench


@pytest.mark.parametrize("kind", ["FIFO", "device", "link in a circle", "folder"])
def test_special_file_is_named_by_the_command_that_needs_it(kind: str, exported: Bench, tmp_path: Path) -> None:
    (board,) = tmp_path.glob("boards/*.csv")
    board.with_suffix(".jsonl").unlink()
    for path, words in (
        (tmp_path / "runs" / ".guard", (*RUN, "--rerun", "all")),
        (tmp_path / "config.toml", ("plan", *RUN[1:], "--config", "config.toml")),
        (board, ("export", "runs", "--to", "boards")),
    ):
        put(path, kind)
        result = exported(*words)
        assert result.exit_code in (1, 2, 3), (path, result.output)
        assert path.name in result.stderr, result.output


def test_every_entry_of_an_output_folder_may_be_a_link_in_a_circle(exported: Bench, tmp_path: Path) -> None:
    for name in ("loop", "scores.csv", ".guard", ".overlap-0123456789abcdef.json"):
        put(tmp_path / "runs" / name, "link in a circle")
    result = exported("status", "runs")
    assert result.exit_code == 0, result.output
    assert re.search(r"done +2 ", result.stdout), result.stdout
    assert "runs/loop" in result.stderr


@pytest.mark.parametrize("name", ["log.txt", "checkpoint.pt"])
def test_file_of_a_cell_that_is_a_fifo_does_not_block_a_run(name: str, exported: Bench, tmp_path: Path) -> None:
    for record in list(tmp_path.glob("runs/*/record.json")):
        put(record.with_name(name), "FIFO")
    assert exported(*RUN, "--rerun", "all").exit_code == 0


def test_merge_into_a_link_in_a_circle_is_refused(exported: Bench, tmp_path: Path) -> None:
    put(tmp_path / "loop", "link in a circle")
    for words in (("--to", "loop"), ("--to", "made", "--prefer", "loop")):
        result = exported("merge", "runs", *words)
        assert (result.exit_code, "loop" in result.stderr) == (2, True), result.output


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_special_file_in_place_of_any_stored_file_is_no_unexpected_error(
    kind: str, exported: Bench, tmp_path: Path
) -> None:
    cell = min(path.parent.name for path in tmp_path.glob("runs/*/record.json"))
    files = [f"runs/{cell}", *(f"runs/{cell}/{name}" for name in CELL_FILES), *(f"runs/{name}" for name in OUT_FILES)]
    files += [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.glob("boards/*"))]
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("runs", "boards"):
        shutil.copytree(tmp_path / name, kept / name)
    for file in files:
        for words in READERS:
            for name in ("runs", "boards", "made"):
                shutil.rmtree(tmp_path / name, ignore_errors=True)
            shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
            put(tmp_path / file, kind)
            result = exported(*words)
            assert result.exit_code != 70, (file, words, result.output)
            assert result.exception is None or isinstance(result.exception, SystemExit), (file, words)
