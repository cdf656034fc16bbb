"""Run `bench speed`: from its options to measurements with their conditions."""

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
from benchmark.execution.devices import cores, resolve_devices, threads
from benchmark.execution.plan import plan
from benchmark.execution.provenance import environment
from benchmark.execution.request import Plan, Request
from benchmark.speed.device_limits import cpu_name, measure_device
from benchmark.speed.evaluators import FeatureSize, TimedEvaluator, measure_evaluators
from benchmark.speed.measurement import Measurement, MeasurementSettings, SpeedResults
from benchmark.speed.startup import measure_startup
from benchmark.speed.training import check_any_trains, measure_trainings
from benchmark.training.memory import free_memory

PARTS = ("training", "evaluators", "start-up")
"""Valid names for `--parts`."""


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """The options of `bench speed`, unparsed."""

    methods: Sequence[str] = ("aet,rotation,dim",)
    encoders: Sequence[str] = ("blocknet",)
    datasets: Sequence[str] = ("digits",)
    evaluators: Sequence[str] = ("linear,knn,retrieval",)
    parts: str = ",".join(PARTS)
    """Names out of `PARTS`, separated by commas."""
    batch: int | None = None
    """Images per step; None: the recipe's batch size."""
    budget: Literal["quick", "paper"] = "quick"
    settings: Sequence[str] = ()
    """Recipe settings, as `--set` takes them."""
    features: str = "50000,10000,512"
    """Training images, test images and dimensions of the features that evaluators are timed on."""
    device: str = "auto"
    threads: int | None = None
    """CPU threads; None: all cores."""
    accelerate: Accelerate = "auto"
    workers: int = 1
    """Worker processes of the plain data loader."""
    no_plain: bool = False
    """Do not measure the plain PyTorch pipeline."""
    profile: bool = False
    """Report the operations that take most of a step's time."""
    together: int = 1
    """Number of processes that train the same cell at once; 1: not measured."""
    rounds: int = 5
    """Number of measurements of each call; the median is reported."""
    seconds: float = 0.5
    """Shortest duration of one training measurement."""
    data_dir: Path = Path("data")


def measure_speed(options: SpeedOptions, catalog: Catalog | None = None) -> SpeedResults:
    """Measures what the options name.

    Raises:
        UsageError: an option names something that does not exist or cannot be measured. Nothing was measured then.
    """
    catalog = catalog or load_catalog()
    parts = _parse_parts(options.parts)
    size = _parse_size(options.features)
    settings = _settings(options)
    planned = plan_trainings(options, catalog) if "training" in parts else None
    if planned is not None:
        check_any_trains(planned, catalog)
    evaluators = _selected_evaluators(options, catalog) if "evaluators" in parts else []
    measurements: list[Measurement] = []
    with threads(settings.threads):
        limits, entries = measure_device(settings)
        measurements += entries
        if planned is not None:
            for entries in measure_trainings(planned, catalog, options.data_dir.expanduser(), settings, limits):
                measurements += entries
        if evaluators:
            measurements += measure_evaluators(evaluators, size, settings)
    if "start-up" in parts:
        measurements += measure_startup(catalog, settings)
    return SpeedResults(conditions=_conditions(options, settings), measurements=tuple(measurements))


def plan_trainings(options: SpeedOptions, catalog: Catalog) -> Plan:
    """The cells whose training the options name."""
    overrides = dict(grammar.parse_assignments(options.settings))
    if options.batch is not None:
        overrides["batch"] = options.batch
    return plan(
        Request(
            methods=grammar.parse_items(options.methods),
            encoders=grammar.parse_items(options.encoders),
            datasets=grammar.parse_items(options.datasets),
            evaluators=(),
            budget=options.budget,
            overrides=overrides,
            floors=False,
            data_dir=options.data_dir.expanduser(),
        ),
        catalog,
    )


def _settings(options: SpeedOptions) -> MeasurementSettings:
    return MeasurementSettings(
        device=torch.device(resolve_devices(options.device)[0]),
        threads=options.threads or cores(),
        rounds=options.rounds,
        min_seconds=options.seconds,
        accelerate=options.accelerate,
        workers=options.workers,
        with_plain=not options.no_plain,
        with_profile=options.profile,
        processes=options.together,
    )


def _conditions(options: SpeedOptions, settings: MeasurementSettings) -> Json:
    conditions = {
        "rounds": settings.rounds,
        "seconds": settings.min_seconds,
        "workers": settings.workers,
        "accelerate": settings.accelerate,
        "budget": options.budget,
        **environment(settings.device, settings.threads),
    }
    if settings.device.type == "cpu":
        conditions["device_name"] = cpu_name()
    return conditions


def _parse_parts(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    for part in parts:
        if part not in PARTS:
            raise UnknownNameError("part", part, PARTS)
    if not parts:
        raise UsageError(f"--parts {text}: names nothing; available: {', '.join(PARTS)}")
    return parts


def _parse_size(text: str) -> FeatureSize:
    try:
        train, test, width = (int(number) for number in text.split(","))
    except ValueError:
        train = test = width = 0
    if min(train, test) < 20 or width < 1:
        raise UsageError(
            f"--features {text}: must be three numbers: training images (20 or more), test images (20 or more) and "
            "dimensions (1 or more), such as 50000,10000,512"
        )
    size, free = 4 * (train + test) * width, free_memory(torch.device("cpu"))
    if size > free:
        raise UsageError(
            f"--features {text}: {size / 1e9:.0f} GB of features, but {free / 1e9:.0f} GB of memory are free"
        )
    return FeatureSize(train=train, test=test, width=width)


def _selected_evaluators(options: SpeedOptions, catalog: Catalog) -> list[TimedEvaluator]:
    """The evaluators that the options name, each once."""
    selected = {}
    for selection in grammar.parse_items(options.evaluators):
        for entry in catalog.match(catalog.evaluators, "evaluator", selection.name):
            spec = entry.spec
            params = bind(spec.params, dict(selection.params), f"evaluator '{spec.name}'")
            name = label(spec.name, as_dict(params), as_dict(spec.params()))
            selected[name] = TimedEvaluator(label=name, spec=spec, params=params)
    return list(selected.values())
