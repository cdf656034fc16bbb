"""Values of options: what no command accepts, for every option of every command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from command_line import INLINE, STRIPES, assert_refused
from conftest import Bench
from sample_records import sample_record

from benchmark.cli.main import COMMANDS, main
from benchmark.records.export import export

LONG = "x" * 200_000
HIDDEN = ("a\0b", "a\x1b[31mb", "a\u202eb")
EMPTY = ("", " ", "\t ", "\n")
NO_NUMBER = (*EMPTY, "nan", "inf", "-inf", "-1", "x", "1,5", "0x10", "1e400", "9" * 5000, "true")
INVALID = {
    "integer": (*NO_NUMBER, "1.5", "1e3"),
    "number": NO_NUMBER,
    "text": (*EMPTY, *HIDDEN, LONG),
    "source": (*EMPTY, *HIDDEN, LONG, "a" * 300, "a/" * 3000),
    "items": (*EMPTY, ",", " , ", *HIDDEN, LONG, "a[b", "[b=1]"),
    "item": (*EMPTY, ",", "a,b", "a[b=1|2]", *HIDDEN, LONG),
    "settings": (*EMPTY, ",", *HIDDEN, LONG, "lr", "=1"),
    "folder": (*EMPTY, *HIDDEN, LONG, "~no-such-user/runs", "file.txt", "file.txt/runs"),
    "path": (*EMPTY, *HIDDEN, LONG, "file.txt", "file.txt/runs"),
    "file": (*EMPTY, *HIDDEN, LONG, "folder", "folder/", "file.txt/a.png"),
    "choice": (*EMPTY, *HIDDEN, "x"),
}
"""Kind of value -> values that are never valid. In the folder of the test are a file.txt and a folder."""


def parameters() -> Iterator[tuple[str, click.Parameter]]:
    """(command, parameter) of every option and argument that takes a value."""
    with click.Context(main) as context:
        for name in COMMANDS:
            command = main.get_command(context, name)
            assert command is not None
            for parameter in command.params:
                if not isinstance(parameter.type, click.types.BoolParamType):
                    yield name, parameter


def words_with(command: str, tested: click.Parameter, value: str) -> list[str]:
    """A command line with a value of one parameter, and a valid value of each other one that is required."""
    arguments, options = [], []
    for name, parameter in parameters():
        if name == command and (parameter.required or parameter.name == tested.name):
            valid = "folder" if parameter.name == "sources" else "new"
            text = value if parameter.name == tested.name else valid
            if isinstance(parameter, click.Option):
                options += [parameter.opts[-1], text]
            else:
                arguments.append(text)
    return [command, *options, "--", *arguments]


@pytest.mark.parametrize(("command", "parameter"), list(parameters()), ids=lambda each: getattr(each, "name", each))
def test_invalid_value_of_an_option_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, parameter: click.Parameter
) -> None:
    (tmp_path / "file.txt").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    context = click.Context(main)
    for value in INVALID[parameter.type.name]:
        result = CliRunner().invoke(main, words_with(command, parameter, value))
        assert result.exit_code == 2, (value[:40], result.output)
        name = parameter.opts[-1] if isinstance(parameter, click.Option) else parameter.get_error_hint(context)
        assert name in result.stderr, (value[:40], result.stderr)
        assert "Traceback" not in result.stderr
        assert len(result.stderr) < 4000
        assert "\x1b" not in result.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        *(
            ("smoke = 1", "smoke = 1 is not valid"),
            ('quiet = "x"', "quiet = 'x'"),
            ("no-floors = 2024-01-01", "no-floors"),
        ),
        *(("epochs = 1.5", "--epochs"), ("epochs = true", "--epochs"), ("timeout = nan", "--timeout")),
        *(("timeout = true", "--timeout"), ("threads-per-cell = 0", "--threads-per-cell"), ("out = true", "--out")),
        *(
            ("out = 5", "--out"),
            ('out = ""', "--out"),
            ('evaluators = ""', "--evaluators"),
            ("evaluators = []", "evaluators"),
        ),
        *(
            ('evaluators = [" "]', "--evaluators"),
            ('taps = ""', "--taps"),
            ("seeds = -1", "--seeds"),
            ('set = ""', "--set"),
        ),
        *(("seeds = 1.5", "--seeds"), ("seeds = 1000000000", "--seeds"), ('executor = ""', "--executor")),
        *(("a = " + "[" * 5000, "--config"), ("seeds = [[1, 2]]", "--seeds")),
    ],
)
def test_invalid_value_in_a_config_file_is_a_usage_error(
    third_party: Path, bench: Bench, tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "bench.toml").write_text(line)
    words = _without([*STRIPES, *INLINE], f"--{line.partition(' ')[0]}")
    result = bench("run", "--methods", "mean_color", "--config", "bench.toml", *words)
    assert_refused(result, message)
    assert not (tmp_path / "runs").exists()


def _without(words: list[str], option: str) -> list[str]:
    """Words of a command line without an option and its value."""
    if option not in words:
        return words
    index = words.index(option)
    return words[:index] + words[index + 2 :]


def test_config_file_of_a_windows_editor_is_read(third_party: Path, bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_bytes(b'\xef\xbb\xbfmethods = "mean_color,\\n  byol"\r\nepochs = 1\r\n')
    result = bench("plan", "--config", "bench.toml", *STRIPES)
    assert result.exit_code == 0, result.output
    assert "2 cells" in result.stdout.replace("3 cells", "2 cells")


def test_device_is_not_replaced_by_a_file(bench: Bench) -> None:
    assert_refused(bench("features", "a", "-o", "/dev/null"), "--output", "'/dev/null' is a device or a pipe")
    assert Path("/dev/null").is_char_device()


def test_csv_of_a_leaderboard_means_its_records(bench: Bench, tmp_path: Path) -> None:
    export([sample_record()], tmp_path)
    table = bench("table", "digits.jsonl").stdout
    assert bench("table", "digits.csv").stdout == table
    assert bench("check", "digits.csv", "--baseline", "digits.csv").exit_code == 0
    (tmp_path / "digits.jsonl").unlink()
    for words in (("table",), ("check", "--baseline", "digits.csv"), ("correlate",), ("verify",)):
        assert_refused(bench(*words, "digits.csv"), "OUT", "'digits.csv' holds no records; they are in digits.jsonl")


def test_export_without_a_finished_cell_is_refused(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert_refused(bench("export", "runs"), "no finished cell in runs")
    assert_refused(bench("export", "digits.jsonl"), "OUT", "does not exist")
    assert not (tmp_path / "results").exists()
