"""The program: help, errors and exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from command_line import assert_refused
from conftest import Bench

import benchmark
from benchmark.cli import main as program
from benchmark.cli.command import command as command_of
from benchmark.cli.main import COMMANDS, main
from benchmark.errors import ExitCode

LIGHT = {"torch", "pandas", "sklearn", "faiss", "rich"}


def command(name: str) -> click.Command:
    with click.Context(main) as context:
        existing = main.get_command(context, name)
    assert existing is not None
    return existing


def test_help_shows_every_one_line_help_uncut() -> None:
    text = CliRunner().invoke(main, ["--help"], terminal_width=80).stdout
    commands = text.partition("Commands:")[2]
    assert "..." not in commands
    lines = dict(re.findall(r"^  (\w+)  +(.+)$", commands, flags=re.MULTILINE))
    assert list(lines) == list(COMMANDS)
    assert max(map(len, lines.values())) <= 60
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_fits_80_columns_and_shows_an_example(name: str) -> None:
    text = CliRunner().invoke(main, [name, "--help"], terminal_width=80).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert f"\n    bench {name}" in text
    options = [each for each in command(name).params if isinstance(each, click.Option)]
    assert all(each.help for each in options)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_in_help_use_existing_commands_and_options(name: str) -> None:
    text = CliRunner().invoke(main, [name, "--help"], terminal_width=80).stdout
    for line in re.findall(r"^    bench (.+)$", text, flags=re.MULTILINE):
        assert line.split()[0] == name
        known = {word for each in command(name).params for word in (*each.opts, *each.secondary_opts)}
        assert {word for word in line.split() if word.startswith("-")} <= known


def test_unknown_command_is_a_usage_error(bench: Bench) -> None:
    assert_refused(bench("rum"), "rum")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list"], ["--version"]], ids=" ".join)
def test_help_and_list_import_no_heavy_library(words: list[str], tmp_path: Path) -> None:
    script = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print(sorted({LIGHT!r} & set(sys.modules)), file=sys.stderr))\n"
        "from benchmark.cli.main import main\n"
        f"main({words!r})\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert ran.stderr.splitlines()[-1] == "[]"


def test_python_m_benchmark_is_bench(site: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "benchmark"]
    version = subprocess.run([*words, "--version"], capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    assert version.startswith("repbench, version ")
    environment = {**os.environ, "PYTHONPATH": str(site), "BENCH_PLUGINS": "third_party,executors"}
    refused = subprocess.run(
        [*words, "plan", "--methods", "mean_colour"], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert refused.returncode == 2
    assert refused.stderr.startswith("bench: no method called 'mean_colour'")


def faulty_command(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Adds a command `faulty` that raises an error."""

    @command_of("faulty")
    def faulty() -> None:
        raise error

    monkeypatch.setattr(program, "faulty", faulty, raising=False)
    monkeypatch.setitem(COMMANDS, "faulty", "benchmark.cli.main:faulty")


class _OwnBase(BaseException):
    """An error that is no Exception."""


class _WithoutTextError(Exception):
    """An error whose text cannot be computed."""

    def __str__(self) -> str:
        raise ValueError


class _Regressed(benchmark.BenchError):
    """An error of a plugin that chooses the exit code of `bench check`."""

    exit_code = ExitCode.REGRESSED


@pytest.mark.parametrize(
    "error",
    [
        *(
            ZeroDivisionError("no seed"),
            EOFError(),
            click.Abort(),
            click.ClickException("no"),
            click.exceptions.Exit(0),
        ),
        *(click.exceptions.Exit(1), SystemExit(), SystemExit(0), SystemExit(1), SystemExit("text"), RecursionError()),
        *(MemoryError(), BrokenPipeError(32, "Broken pipe"), OSError(5, "I/O error"), GeneratorExit(), _OwnBase("x")),
        *(
            _WithoutTextError(),
            DeprecationWarning("old"),
            StopIteration(),
            UnicodeEncodeError("ascii", "\xe4", 0, 1, "no"),
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_unexpected_error_exits_with_70_one_line_and_a_file_with_the_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException
) -> None:
    faulty_command(monkeypatch, error)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = CliRunner().invoke(main, ["faulty"])
    assert result.exit_code == ExitCode.INTERNAL
    (line,) = result.stderr.splitlines()
    assert re.match(
        rf"bench: internal error: \S*{type(error).__name__}.* in cli/test_main.py, line \d+; traceback", line
    )
    (file,) = tmp_path.glob("bench-error-*.txt")
    assert str(file) in line
    assert file.read_text().startswith("Traceback")
    assert "Aborted" not in result.output


ARGUMENTS = {
    "run": ("--methods", "dim"),
    "plan": ("--methods", "dim"),
    "check": ("--baseline", "results/digits.csv"),
    "compare": ("a", "b"),
    "explain": ("a", "b"),
    "merge": (".", "--to", "merged"),
    "features": ("a", "-o", "features.npz"),
    "neighbors": ("a",),
    "map": ("a",),
}
"""Command -> the arguments that it requires."""


@pytest.mark.parametrize(
    "error", [EOFError(), SystemExit(0), SystemExit(1), BrokenPipeError(32, "Broken pipe")], ids=repr
)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exits_with_70_after_an_unexpected_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, error: BaseException
) -> None:
    def fails(**arguments: object) -> None:
        raise error

    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(command(name), "callback", fails)
    result = CliRunner().invoke(main, [name, *ARGUMENTS.get(name, ())])
    assert (result.exit_code, result.stderr.count("\n")) == (ExitCode.INTERNAL, 1), result.output
    assert f"bench: internal error: {type(error).__name__}" in result.stderr


def test_verbose_prints_the_traceback_of_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    faulty_command(monkeypatch, ZeroDivisionError("no seed"))
    assert "Traceback" in CliRunner().invoke(main, ["faulty", "-v"]).stderr


def test_error_of_a_plugin_cannot_choose_the_exit_code_of_a_regression(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty_command(monkeypatch, _Regressed("no"))
    assert CliRunner().invoke(main, ["faulty"]).exit_code == ExitCode.INTERNAL


def test_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty_command(monkeypatch, KeyboardInterrupt())
    result = CliRunner().invoke(main, ["faulty"])
    assert (result.exit_code, result.stderr.count("\n")) == (ExitCode.INTERRUPTED, 1)


def test_hidden_characters_of_an_error_text_are_shown_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty_command(monkeypatch, benchmark.UsageError("\x1b[31mred\u202e\n::error::no"))
    assert CliRunner().invoke(main, ["faulty"]).stderr == "bench: \\x1b[31mred\\u202e\n\\x3a:error::no\n"


def test_closed_output_pipe_is_no_error(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; from benchmark.cli.main import main; time.sleep(0.5); main(['list'])"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    message = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), message) == (0, b"")
