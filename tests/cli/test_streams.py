"""Closed and full standard streams, and encodings: a command does its work and says what it cannot print."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from launched import command

BENCH = f"{sys.executable} -c 'from benchmark.cli.main import main; main()'"


def shell(line: str, folder: Path, **environment: str) -> tuple[int, str]:
    """Exit code and standard error of `bench`, started by a shell; the first command of a pipe counts."""
    script = f"{line.replace('bench', BENCH)}; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return result.returncode, result.stderr


@pytest.mark.parametrize("words", ["list plugins", "--help"])
@pytest.mark.parametrize(
    ("stream", "reason"),
    [(">&-", "standard output is closed"), (">/dev/full", "No space left on device (the disk is full)")],
)
def test_report_that_cannot_be_printed_is_an_error(tmp_path: Path, words: str, stream: str, reason: str) -> None:
    code, error = shell(f"bench {words} {stream}", tmp_path)
    assert code == 70
    assert error == f"bench: cannot print the report: {reason}; records and files are complete\n"


@pytest.mark.parametrize(
    "line", ["bench --help 2>&-", "bench --help 2>/dev/full", "bench --help <&-", "bench list | head -0"]
)
def test_other_streams_do_not_matter(tmp_path: Path, line: str) -> None:
    assert shell(line, tmp_path) == (0, "")


RUN = " ".join(word if word.isalnum() else f'"{word}"' for word in command("mean_color"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("streams", "code"),
    [
        (">&-", 70),
        ("<&- >&- 2>&-", 70),
        ("2>&-", 0),
        (">/dev/full", 70),
        ("2>/dev/full", 0),
        ("2>&1 | head -1", 0),
    ],
)
@pytest.mark.parametrize("executor", ["local", "inline"])
def test_run_finishes_its_cells_whatever_its_streams_are(
    environment: dict[str, str], tmp_path: Path, streams: str, code: int, executor: str
) -> None:
    assert shell(f"bench {RUN} --executor {executor} {streams}", tmp_path, **environment)[0] == code
    assert '"state": "done"' in next((tmp_path / "runs").glob("*/record.json")).read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "encoding",
    [{"PYTHONIOENCODING": "ascii:strict"}, {"PYTHONIOENCODING": "latin-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}],
)
def test_run_prints_in_every_encoding(environment: dict[str, str], tmp_path: Path, encoding: dict[str, str]) -> None:
    code, error = shell(f"bench {RUN} --executor inline", tmp_path, **environment, **encoding)
    assert code == 0, error


@pytest.mark.slow
def test_deleted_working_directory_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    code, error = shell(f"rmdir {folder}; bench {RUN}", folder, **environment)
    assert (code, error) == (2, "bench: the working directory was deleted; change to another folder\n")
