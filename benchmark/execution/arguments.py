"""The arguments of `benchmark.run` and of `bench run`, checked and turned into a request and its options."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from benchmark.api.cells import Accelerate
from benchmark.api.grammar import MAX_SEEDS, SEPARATORS, Selection, parse_assignments, parse_items, parse_seeds
from benchmark.api.limits import LIMITS, checked_argument, checked_folder, checked_text, shown
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
        for name, limit in LIMITS.items():
            value = getattr(self, name, None)
            if value is not None or name in ("threads_per_cell", "checkpoint_minutes"):
                checked_argument(name, limit.check, value)
        for name in ("device", "executor"):
            checked_argument(name, checked_text, getattr(self, name))
        for name in ("out", "data_dir"):
            value = getattr(self, name)
            if value is not None:
                checked_argument(name, checked_folder, value)

    def request(self) -> Request:
        """What to run.

        Raises:
            UsageError: an item, seed or setting cannot be parsed.
        """
        return Request(
            methods=_items("methods", self.methods),
            encoders=_items("encoders", self.encoders),
            datasets=_items("datasets", self.datasets),
            evaluators=_items("evaluators", self.evaluators),
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
            out=checked_folder(self.out),
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
    """The folder of downloaded datasets; None: $BENCH_DATA, or `data`.

    Raises:
        UsageError: the path is empty, has a control character, or is a file.
    """
    return checked_argument(
        "data_dir", checked_folder, path if path is not None else os.environ.get("BENCH_DATA") or "data"
    )


def _texts(name: str, texts: Items) -> list[str]:
    """The texts of an argument that takes one text or several."""
    each = [texts] if isinstance(texts, str) else list(texts) if isinstance(texts, Iterable) else [texts]
    if not each or not all(isinstance(text, str) and text.strip(SEPARATORS) for text in each):
        raise UsageError(f"{name}={shown(texts)} names nothing; write names, separated by commas, or leave it out")
    return each


def _items(name: str, items: Items) -> list[Selection]:
    return parse_items(_texts(name, items))


def _taps(taps: Items) -> Any:
    text = checked_argument("taps", checked_text, ",".join(_texts("taps", taps)))
    if text in ("default", "all"):
        return text
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _seeds(seeds: int | str | Iterable[int]) -> tuple[int, ...]:
    if isinstance(seeds, str | int):
        return parse_seeds(str(seeds))
    if not isinstance(seeds, Iterable):
        raise UsageError(f"seeds={shown(seeds)} is not valid; write a number of seeds or a list of seeds")
    first = itertools.islice(seeds, MAX_SEEDS + 1)  # a range may be longer than memory
    return parse_seeds(",".join(str(seed) for seed in first) + ",")


def _overrides(settings: str | Sequence[str] | Mapping[str, object]) -> dict[str, object]:
    if isinstance(settings, Mapping):
        return {key: value_text(value) if isinstance(value, list | tuple) else value for key, value in settings.items()}
    return parse_assignments(_texts("settings", settings) if isinstance(settings, str) or settings else ())


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
