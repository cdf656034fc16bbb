"""A catalog of plugins that can be planned but not run, for tests of planning."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from benchmark.api.catalog import Catalog, Entry, Provider
from benchmark.api.datasets import DatasetInfo, DatasetSpec
from benchmark.api.encoders import EncoderSpec, Layout, Tap
from benchmark.api.evaluators import EvaluatorSpec, Metric
from benchmark.api.grammar import parse_items
from benchmark.api.methods import MethodSpec, Setting
from benchmark.api.recipes import Recipe
from benchmark.errors import UnsupportedError
from benchmark.execution.plan import plan
from benchmark.execution.request import Plan, Request

PROVIDER = Provider(plugin="light", distribution="light", version="1")


@dataclass(frozen=True, kw_only=True)
class MethodParams:
    """A choice and a number."""

    transform: Literal["projective", "affine"] = "projective"
    gamma: float = 1


@dataclass(frozen=True, kw_only=True)
class EncoderParams:
    """A number."""

    blocks: int = 3


@dataclass(frozen=True, kw_only=True)
class FolderParams:
    """A path that is not part of the identity, as in the dataset `folder`."""

    path: str = ""
    name: str = ""
    side: int = 32


@dataclass(frozen=True, kw_only=True)
class FileParams:
    """A path, hashed by content."""

    path: str = ""


@dataclass(frozen=True, kw_only=True)
class KnnParams:
    """A number."""

    k: int = 20


def light_layout(params: Any, shape: tuple[int, int, int]) -> Layout:
    """Three maps, or as many as the parameter says."""
    taps = tuple(Tap(name=f"conv{n + 1}", kind="map", shape=(8, 4, 4)) for n in range(getattr(params, "blocks", 3)))
    return Layout(taps=taps, output=taps[-1].name, probe="conv2")


def vector_layout(params: Any, shape: tuple[int, int, int]) -> Layout:
    """One vector, for square images only."""
    if shape[1] != shape[2]:
        raise UnsupportedError("square images only")
    return Layout(taps=(Tap(name="fc", kind="vector", shape=(4,)),), output="fc", probe="fc")


def light_recipe(setting: Setting) -> Recipe:
    """A schedule with milestones; a paper budget for the encoder `net` only."""
    if setting.budget == "paper" and setting.encoder != "net":
        raise UnsupportedError(f"no paper recipe for {setting.encoder}")
    return Recipe(epochs=10, schedule="milestones", milestones=(4, 8), warmup=2)


def supports_maps(setting: Setting) -> str | None:
    """Rejects encoders whose output is a vector."""
    return "needs a local map" if setting.layout.tap(setting.layout.output).kind == "vector" else None


def never_called(*arguments: object) -> Any:
    """Stands for the functions of a plugin that planning does not use."""
    raise AssertionError("planning builds and loads nothing")


class CountingDataset:
    """The `describe` of a dataset; it keeps its calls."""

    def __init__(self, fingerprint: str = "f" * 64, shape: tuple[int, int, int] | None = None) -> None:
        self.calls: list[Path] = []
        self.fingerprint = fingerprint
        self.shape = shape

    def __call__(self, params: FolderParams, data_dir: Path) -> DatasetInfo:
        self.calls.append(data_dir)
        return DatasetInfo(
            label=params.name or PurePosixPath(params.path).name or "photos",
            fingerprint=f"{self.fingerprint}-{params.side}",
            image_shape=self.shape or (3, params.side, params.side),
            num_train=100,
            num_test=20,
            class_names=("a", "b", "c"),
        )


def _methods(version: int) -> tuple[MethodSpec, ...]:
    pixels = EncoderSpec(name="-", summary="pixels", build=never_called, layout=vector_layout, min_side=1)
    untrained: dict[str, Any] = {"summary": "", "build": never_called, "trains": False}
    return (
        MethodSpec(
            name="aet", summary="", build=never_called, params=MethodParams, recipe=light_recipe, version=version
        ),
        MethodSpec(name="local", summary="", build=never_called, supports=supports_maps),
        MethodSpec(
            name="weights",
            params=FileParams,
            seeded=False,
            identity=lambda params: {"sha256": "0123456789abcdef" * 4} if params.path else {},
            **untrained,
        ),
        MethodSpec(name="pixels", seeded=False, floor=True, own_encoder=pixels, **untrained),
        MethodSpec(name="untrained", floor=True, **untrained),
    )


def light_catalog(describe: CountingDataset | None = None, **versions: int) -> Catalog:
    """Four kinds of plugins that can be planned but not run."""
    version = versions.get("version", 1)
    unused: dict[str, Any] = {"summary": "", "build": never_called}
    encoders = (
        EncoderSpec(name="net", layout=light_layout, params=EncoderParams, version=version, **unused),
        EncoderSpec(name="big", layout=light_layout, min_side=64, **unused),
        EncoderSpec(name="vec", layout=vector_layout, **unused),
    )
    metrics = (Metric(name="accuracy"),)
    evaluators = (
        EvaluatorSpec(name="knn", summary="", evaluate=never_called, metrics=metrics, params=KnnParams),
        EvaluatorSpec(name="linear", summary="", evaluate=never_called, metrics=metrics, version=2),
    )
    folder = DatasetSpec(
        name="folder",
        summary="",
        describe=describe or CountingDataset(),
        load=never_called,
        params=FolderParams,
        version=version,
    )

    def entries(specs: Sequence[Any]) -> Any:
        return tuple(Entry(spec=spec, provider=PROVIDER) for spec in specs)

    return Catalog(
        methods=entries(_methods(version)),
        encoders=entries(encoders),
        evaluators=entries(evaluators),
        datasets=entries([folder]),
        plugins=(PROVIDER,),
    )


def light_request(
    methods: str = "aet", encoders: str = "net", datasets: str = "folder", evaluators: str = "knn", **more: Any
) -> Request:
    """A request with one item of each kind, written as on the command line."""
    more.setdefault("floors", False)
    return Request(
        methods=parse_items([methods]),
        encoders=parse_items([encoders]),
        datasets=parse_items([datasets]),
        evaluators=parse_items([evaluators]),
        **more,
    )


def light_plan(*words: str, catalog: Catalog | None = None, **more: Any) -> Plan:
    """The plan of `light_request`."""
    return plan(light_request(*words, **more), catalog or light_catalog())


def ids_of(*words: str, **more: Any) -> list[str]:
    """The ids of the cells of `light_plan`."""
    return [planned.cell.id for planned in light_plan(*words, **more).cells]


def titles_of(result: Plan) -> list[str]:
    """The titles of a plan\'s cells."""
    return [planned.cell.title for planned in result.cells]


def with_methods(*methods: tuple[MethodSpec, str]) -> Catalog:
    """The light catalog with further methods, each from a distribution of its own."""
    result = light_catalog()
    more = tuple(
        Entry(spec=spec, provider=Provider(plugin="p", distribution=name, version="1")) for spec, name in methods
    )
    return dataclasses.replace(result, methods=(*result.methods, *more))
