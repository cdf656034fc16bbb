"""Options that several commands share, and the --config file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from benchmark.cli import values
from benchmark.errors import RecordError, UnknownNameError, UsageError
from benchmark.records.stored_file import read_regular
from benchmark.reports.render import FORMATS

Command = TypeVar("Command", bound=Callable[..., Any])


def combined(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options as one decorator; the help lists them in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def path_option(*names: str, default: str, kind: values.Value, **settings: Any) -> Callable[[Command], Command]:
    """An option that takes a path and has a default; `kind` is one of `benchmark.cli.values`."""
    return click.option(*names, type=kind, default=Path(default), show_default=True, **settings)


ITEMS: dict[str, Any] = {"type": values.ITEMS, "multiple": True, "metavar": "ITEMS", "show_default": True}
"""Settings of an option that takes items."""
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="Output format. csv and json have one row per result.",
)
records_argument = click.argument("out", type=values.RECORDS, default=Path("runs"))
data_dir_option = click.option(
    "--data-dir",
    type=values.FOLDER,
    envvar="BENCH_DATA",
    show_envvar=True,
    default=Path("data"),
    show_default=True,
    help="Folder of downloaded datasets.",
)
dataset_option = click.option(
    "--dataset",
    type=values.ITEM,
    metavar="ITEM",
    help="Dataset, if the record does not name its files: 'folder[path=...]'.",
)


def read_config(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    """Makes the keys of a TOML file the defaults of a command's options."""
    if value is None:
        return
    try:
        settings = tomllib.loads(read_regular(value).decode("utf-8-sig"))
    except (OSError, RecordError, ValueError, RecursionError) as error:
        raise UsageError(f"--config {value}: {error}") from error
    options = {**_options_of_run(ctx), **_options(ctx.command)}
    defaults: dict[str, Any] = {}
    for key, setting in settings.items():
        option = options.get(key.replace("_", "-"))
        if option is None:
            raise UnknownNameError("key", key, options, f"in {value}")
        try:
            defaults[str(option.name)] = _as_option(option, setting)
        except ValueError:
            raise UsageError(
                f"--config {value}: {key} = {setting!r} is not valid; write the value as for --{key}"
            ) from None
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def _options_of_run(ctx: click.Context) -> Mapping[str, click.Parameter]:
    """The options of `bench run`. Every command accepts a file written for `bench run` and ignores further
    options.
    """
    group = ctx.parent.command if ctx.parent else None
    run = group.get_command(ctx, "run") if isinstance(group, click.Group) else None
    return _options(run) if run else {}


def _options(command: click.Command) -> Mapping[str, click.Parameter]:
    """Each long option of a command without its dashes -> the option."""
    return {
        word.removeprefix("--"): option
        for option in command.params
        for word in option.opts
        if word.startswith("--") and option.name != "config"
    }


def _as_option(option: click.Parameter, setting: Any) -> Any:
    """A TOML value as the command line would pass it.

    Raises:
        ValueError: the value is not valid for the option.
    """
    from benchmark.execution.arguments import value_text

    name = option.name
    if getattr(option, "is_flag", False):
        if not isinstance(setting, bool):
            raise ValueError
        return setting
    if name == "settings" and isinstance(setting, dict):
        return [f"{key}={value_text(value)}" for key, value in setting.items()]
    if getattr(option, "multiple", False):
        return [value_text(each) for each in (setting if isinstance(setting, list) else [setting])]
    if name == "seeds" and isinstance(setting, list):
        return ",".join(map(value_text, setting)) + ","
    if name == "taps" and isinstance(setting, list):
        return ",".join(map(value_text, setting))
    if isinstance(setting, list | dict):
        raise ValueError
    return setting
