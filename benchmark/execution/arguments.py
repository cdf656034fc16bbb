"""The arguments of `benchmark.run` and of `bench run`, checked and turned into a request and its options."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from benchmark.api.cells import Accelerate
from benchmark.api.grammar import Selection, parse_assignments, parse_items, parse_seeds
from benchmark.errors import UsageError
from benchmark.execution.cell_state import Rerun
from benchmark.execution.request import Request
from benchmark.execution.run_options import RunOptions

Items = str | Sequence[str]
"""Items as on the command line: `"dim,aet[transform=affine|projective]"` or a list of such texts."""
Budget = Literal["quick", "paper"]


@dataclass(frozen=True, kw_only=True)
class RunArguments:
    """What to run and where, as typed. `benchmark.run` describes the fields and has the defaults."""

    methods: Items
    encoders: Items
    datasets: Items
    evaluators: Items
    taps: Items
    """`default`, `all`, or names of layers."""
    seeds: int | str | Iterable[int]
    """A number N for seeds 0 to N-1, a list of seeds, or a text as on the command line: `"0,3"`."""
    budget: Budget
    epochs: int | None
    settings: str | Sequence[str] | Mapping[str, object]
    """Recipe settings: `{"lr": 0.05}` or `"lr=.05,batch=128"`."""
    floors: bool
    smoke: bool
    device: str
    executor: str
    threads_per_cell: int
    per_device: int | str
    timeout: float | None
    """Seconds."""
    checkpoint_minutes: float
    checkpoint_epochs: int | None
    accelerate: Accelerate
    out: str | Path
    data_dir: str | Path | None
    """None: $BENCH_DATA, or `data`."""
    rerun: Rerun

    def __post_init__(self) -> None:
        _check_choice("budget", self.budget, get_args(Budget))
        _check_choice("rerun", self.rerun, get_args(Rerun))
        _check_choice("accelerate", self.accelerate, get_args(Accelerate))
        for name in ("epochs", "threads_per_cell", "checkpoint_epochs"):
            _check_count(name, getattr(self, name))
        _check_seconds("timeout", self.timeout, positive=True)
        _check_seconds("checkpoint_minutes", self.checkpoint_minutes, positive=False)

    def request(self) -> Request:
        """What to run.

        Raises:
            UsageError: an item, seed or setting cannot be parsed.
        """
        return Request(
            methods=_items(self.methods),
            encoders=_items(self.encoders),
            datasets=_items(self.datasets),
            evaluators=_items(self.evaluators),
            taps=_taps(self.taps),
            seeds=_seeds(self.seeds),
            budget=self.budget,
            epochs=self.epochs,
            overrides=_overrides(self.settings),
            floors=self.floors,
            smoke=self.smoke,
            data_dir=data_folder(self.data_dir),
        )

    def options(self) -> RunOptions:
        """Where and how to run it."""
        return RunOptions(
            out=Path(self.out).expanduser(),
            data_dir=data_folder(self.data_dir),
            device=self.device,
            executor=self.executor,
            threads=self.threads_per_cell,
            rerun=self.rerun,
            accelerate=self.accelerate,
            per_device=str(self.per_device),
            timeout=self.timeout,
            checkpoint_minutes=self.checkpoint_minutes,
            checkpoint_epochs=self.checkpoint_epochs,
        )


def data_folder(path: str | Path | None) -> Path:
    """The folder of downloaded datasets; None: $BENCH_DATA, or `data`."""
    return Path(path if path is not None else os.environ.get("BENCH_DATA") or "data").expanduser()


def _items(items: Items) -> list[Selection]:
    return parse_items([items] if isinstance(items, str) else items)


def _taps(taps: Items) -> Any:
    text = taps if isinstance(taps, str) else ",".join(taps)
    if text in ("default", "all"):
        return text
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _seeds(seeds: int | str | Iterable[int]) -> tuple[int, ...]:
    if isinstance(seeds, str | int):
        return parse_seeds(str(seeds))
    return parse_seeds(",".join(str(seed) for seed in seeds) + ",")


def _overrides(settings: str | Sequence[str] | Mapping[str, object]) -> dict[str, object]:
    if not isinstance(settings, Mapping):
        return parse_assignments([settings] if isinstance(settings, str) else settings)
    return {key: value_text(value) if isinstance(value, list | tuple) else value for key, value in settings.items()}


def value_text(value: object) -> str:
    """A Python value as the command line spells it: `true`, `1;2`.

    Raises:
        ValueError: the value is a dictionary.
    """
    if isinstance(value, dict):
        raise ValueError("a parameter cannot be a dictionary")
    if isinstance(value, list | tuple):
        return ";".join(value_text(each) for each in value)
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UsageError(f"{name}={value!r} is not valid; choose one of {', '.join(choices)}")


def _check_count(name: str, value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise UsageError(f"{name}={value!r} is not valid; it is a whole number of at least 1")


def _check_seconds(name: str, value: float | None, *, positive: bool) -> None:
    if value is None:
        return
    if value < 0 or (positive and value == 0):
        raise UsageError(f"{name}={value!r} is not valid; it is a number {'above 0' if positive else 'of at least 0'}")
