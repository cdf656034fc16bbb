"""The program: help, errors and exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from command_line import assert_refused
from conftest import Bench

from benchmark.cli import main as program
from benchmark.cli.main import COMMANDS, main

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
    environment = {**os.environ, "PYTHONPATH": str(site), "BENCH_PLUGINS": "third_party"}
    refused = subprocess.run(
        [*words, "plan", "--methods", "mean_colour"], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert refused.returncode == 2
    assert refused.stderr.startswith("bench: no method called 'mean_colour'")


def test_internal_error_exits_with_70_a_message_and_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def faulty() -> None:
        raise ZeroDivisionError("no seed")

    monkeypatch.setattr(program, "faulty", faulty, raising=False)
    monkeypatch.setitem(COMMANDS, "faulty", "benchmark.cli.main:faulty")
    result = CliRunner().invoke(main, ["faulty"])
    assert result.exit_code == 70
    assert "bench: internal error: ZeroDivisionError: no seed" in result.stderr
    assert "Traceback" in result.stderr


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
