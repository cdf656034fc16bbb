"""What `bench speed` does from its options to numbers with their conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from benchmark.api import grammar
from benchmark.api.catalog import Catalog, load_catalog
from benchmark.api.cells import Accelerate, Json
from benchmark.api.parameters import as_dict, bind, label
from benchmark.errors import UnknownNameError, UsageError
from benchmark.execution import devices as cell_room
from benchmark.execution.devices import cores, resolve_devices
from benchmark.execution.plan import plan
from benchmark.execution.provenance import environment
from benchmark.execution.request import Plan, Request
from benchmark.speed import evaluators as speed
from benchmark.speed import timing, training
from benchmark.speed.evaluators import Size, Timed, start_up

PARTS = ("training", "evaluators", "start-up")


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """The command line's options, as typed."""

    methods: Sequence[str] = ("aet,rotation,dim",)
    encoders: Sequence[str] = ("blocknet",)
    datasets: Sequence[str] = ("digits",)
    evaluators: Sequence[str] = ("linear,knn,retrieval",)
    parts: str = ",".join(PARTS)
    batch: int | None = None
    budget: Literal["quick", "paper"] = "quick"
    settings: Sequence[str] = ()
    features: str = "50000,10000,512"
    """Training images, test images and dimensions of the features that evaluators are timed on."""
    device: str = "auto"
    threads: int | None = None
    """None: all cores."""
    accelerate: Accelerate = "auto"
    workers: int = 1
    no_plain: bool = False
    profile: bool = False
    together: int = 1
    rounds: int = 5
    seconds: float = 0.5
    data_dir: Path = Path("data")


def measure(asked: SpeedOptions, catalog: Catalog | None = None) -> tuple[Json, list[training.TrainingTimes]]:
    """Measures what was asked for.

    Returns:
        The conditions, and every number.

    Raises:
        UsageError: something asked for does not exist or cannot be; nothing was measured.
    """
    catalog = catalog or load_catalog()
    parts = _parts(asked.parts)
    size = _size(asked.features)
    devices = resolve_devices(asked.device)
    settings = training.TrainingSettings(
        device=torch.device(devices[0]),
        threads=asked.threads or cores(),
        rounds=asked.rounds,
        least_seconds=asked.seconds,
        accelerate=asked.accelerate,
        workers=asked.workers,
        plain=not asked.no_plain,
        profile=asked.profile,
        together=asked.together,
    )
    planned = _plan(asked, catalog) if "training" in parts else Plan(cells=(), skips=())
    if "training" in parts:
        training.check_trains(planned, catalog)
    requests = _evaluators(asked, catalog) if "evaluators" in parts else []
    with cell_room.threads(settings.threads):
        ceilings, found = speed.device(settings)
        if "training" in parts:
            for numbers in training.trainings(planned, catalog, asked.data_dir.expanduser(), settings, ceilings):
                found += numbers
        if requests:
            found += speed.evaluators(requests, size, settings)
    if "start-up" in parts:
        found += start_up(catalog, settings)
    shared = {
        "rounds": settings.rounds,
        "seconds": settings.least_seconds,
        "workers": settings.workers,
        "accelerate": settings.accelerate,
        "budget": asked.budget,
    }
    there = environment(settings.device, settings.threads)
    if settings.device.type == "cpu":
        there["device_name"] = timing.cpu_name()
    return {**shared, **there}, found


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    for part in parts:
        if part not in PARTS:
            raise UnknownNameError("part", part, PARTS)
    return parts


def _size(text: str) -> Size:
    try:
        train, test, width = (int(number) for number in text.split(","))
    except ValueError:
        train = test = width = 0
    if min(train, test) < 20 or width < 1:
        raise UsageError(
            f"--features {text}: three numbers are wanted, training images and test images (20 or more) and dimensions, "
            "such as 50000,10000,512"
        )
    return Size(train=train, test=test, width=width)


def _plan(asked: SpeedOptions, catalog: Catalog) -> Plan:
    overrides = dict(grammar.parse_assignments(asked.settings))
    if asked.batch is not None:
        overrides["batch"] = asked.batch
    return plan(
        Request(
            methods=grammar.parse_items(asked.methods),
            encoders=grammar.parse_items(asked.encoders),
            datasets=grammar.parse_items(asked.datasets),
            evaluators=(),
            budget=asked.budget,
            overrides=overrides,
            floors=False,
            data_dir=asked.data_dir.expanduser(),
        ),
        catalog,
    )


def _evaluators(asked: SpeedOptions, catalog: Catalog) -> list[Timed]:
    found = []
    for selection in grammar.parse_items(asked.evaluators):
        for entry in catalog.match(catalog.evaluators, "evaluator", selection.name):
            given = dict(selection.params)
            params = bind(entry.spec.params, given, f"evaluator '{entry.spec.name}'")
            found.append(
                Timed(
                    label=label(entry.spec.name, as_dict(params), as_dict(entry.spec.params())),
                    spec=entry.spec,
                    params=params,
                )
            )
    return list({each.label: each for each in found}.values())
