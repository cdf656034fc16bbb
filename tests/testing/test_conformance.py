"""Every built-in plugin and the third-party plugins of tests/data pass the conformance checks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import benchmark
from benchmark.api.catalog import Catalog, Entry, load_catalog
from benchmark.api.grammar import parse_items
from benchmark.api.parameters import bind
from benchmark.execution.plan import plan
from benchmark.execution.request import Request
from benchmark.testing import SMALL_ENCODER, check_dataset, check_encoder, check_evaluator, check_method

BUILT_IN = load_catalog("aet,bounds,dim,encoders,images,probes,rotation")
METHODS = [entry for entry in BUILT_IN.methods if entry.spec.name != "pretrained"]  # pretrained needs a file: below
VARIANTS: dict[str, list[dict[str, object]]] = {
    "aet": [{}, {"transform": "affine"}, {"transform": "similarity"}],
    "dim": [
        *(
            {"units": 32, "scope": scope, "estimator": estimator}
            for scope, estimator in itertools.product(("local", "global", "both"), ("jsd", "dv", "nce", "nwj"))
        ),
        *({"critic": critic, "scope": "both", "local_samples": 2} for critic in ("concat", "linear", "bilinear")),
        {"units": 32, "gamma": 0},
        {"units": 32, "local_samples": 2},
    ],
    "rotation": [{}, {"turns": 2}, {"turns": 8}],
}
"""Method -> parameters to check; every other method is checked with its defaults."""


def params_of(entry: Entry[Any], values: dict[str, object]) -> Any:
    return bind(entry.spec.params, values, entry.spec.name)


def entry_of(catalog: Catalog, kind: str, name: str) -> Entry[Any]:
    return catalog.find(getattr(catalog, kind), kind, name)


def method_cases() -> Iterator[Any]:
    for entry in METHODS:
        for values in VARIANTS.get(entry.spec.name, [{}]):
            words = ",".join(f"{key}={value}" for key, value in values.items())
            yield pytest.param(entry, values, id=f"{entry.spec.name}[{words}]" if words else entry.spec.name)


# --- built-in plugins -------------------------------------------------------------------------------------------------


def test_built_in_plugins_load_without_clashes() -> None:
    assert BUILT_IN.broken == ()
    assert BUILT_IN.clashes() == []


@pytest.mark.parametrize(("entry", "values"), list(method_cases()))
def test_built_in_method_conforms(entry: Entry[Any], values: dict[str, object]) -> None:
    check_method(entry.spec, params_of(entry, values))


@pytest.mark.parametrize("entry", METHODS, ids=lambda entry: entry.spec.name)
def test_built_in_method_conforms_on_small_gray_images(entry: Entry[Any]) -> None:
    values = VARIANTS.get(entry.spec.name, [{}])[0]
    check_method(entry.spec, params_of(entry, values), image_shape=(1, 8, 8))


def test_pretrained_conforms(tmp_path: Path) -> None:
    entry = entry_of(BUILT_IN, "methods", "pretrained")
    network = SMALL_ENCODER.build(benchmark.EncoderContext(params=None, image_shape=(3, 16, 16)))
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    check_method(entry.spec, params_of(entry, {"path": str(tmp_path / "weights.pt")}))


@pytest.mark.parametrize("entry", BUILT_IN.encoders, ids=lambda entry: entry.spec.name)
def test_built_in_encoder_conforms(entry: Entry[Any]) -> None:
    check_encoder(entry.spec)


@pytest.mark.parametrize("values", [{"blocks": 3}, {"blocks": 5}, {"pool_after_block3": True}], ids=str)
def test_blocknet_of_other_depths_conforms(values: dict[str, object]) -> None:
    entry = entry_of(BUILT_IN, "encoders", "blocknet")
    check_encoder(entry.spec, params_of(entry, values), image_shapes=[(3, 32, 32)])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dim", "aet"])
@pytest.mark.parametrize("entry", BUILT_IN.encoders, ids=lambda entry: entry.spec.name)
def test_built_in_encoder_trains_with_dim_and_aet(entry: Entry[Any], method: str) -> None:
    check_method(entry_of(BUILT_IN, "methods", method).spec, encoder=entry.spec, image_shape=(3, 32, 32))


@pytest.mark.parametrize("entry", BUILT_IN.evaluators, ids=lambda entry: entry.spec.name)
def test_built_in_evaluator_conforms(entry: Entry[Any]) -> None:
    assert check_evaluator(entry.spec).measurements


def test_digits_conforms(tmp_path: Path) -> None:
    check_dataset(entry_of(BUILT_IN, "datasets", "digits").spec, data_dir=tmp_path)


def test_folder_of_images_conforms(tmp_path: Path) -> None:
    for split, label, number in itertools.product(("train", "test"), ("cat", "dog"), range(3)):
        folder = tmp_path / "photos" / split / label
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 9), (number * 40, 80, len(label))).save(folder / f"{number}.png")
    entry = entry_of(BUILT_IN, "datasets", "folder")
    check_dataset(entry.spec, params_of(entry, {"path": str(tmp_path / "photos"), "size": 8}), tmp_path / "cache")


# --- third-party plugins ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["center", "left"])
def test_third_party_method_conforms(installed: Path, part: str) -> None:
    entry = entry_of(load_catalog("third_party"), "methods", "mean_color")
    check_method(entry.spec, params_of(entry, {"part": part}))


def test_third_party_method_trains_third_party_encoder(installed: Path) -> None:
    catalog = load_catalog("third_party")
    check_method(entry_of(catalog, "methods", "mean_color").spec, encoder=entry_of(catalog, "encoders", "tiny").spec)


def test_third_party_encoder_dataset_and_evaluator_conform(installed: Path) -> None:
    catalog = load_catalog("third_party")
    check_encoder(entry_of(catalog, "encoders", "tiny").spec)
    check_dataset(entry_of(catalog, "datasets", "stripes").spec)
    check_evaluator(entry_of(catalog, "evaluators", "centroid").spec)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_moving_average_teacher_conforms(installed: Path, momentum: float) -> None:
    entry = entry_of(load_catalog("teacher"), "methods", "byol")
    check_method(entry.spec, params_of(entry, {"momentum": momentum}))


def test_moving_average_teacher_trains_built_in_encoder(installed: Path) -> None:
    catalog = load_catalog("teacher,encoders")
    encoder = entry_of(catalog, "encoders", "dim_conv").spec
    check_method(entry_of(catalog, "methods", "byol").spec, encoder=encoder, image_shape=(3, 16, 16))


def test_third_party_and_built_in_plugins_make_one_plan(installed: Path, tmp_path: Path) -> None:
    request = Request(
        methods=parse_items(["mean_color,byol,rotation,dim"]),
        encoders=parse_items(["tiny,dim_conv"]),
        datasets=parse_items(["stripes,digits"]),
        evaluators=parse_items(["centroid,knn"]),
        data_dir=tmp_path,
    )
    planned = plan(request, load_catalog("-third_party_*"))
    # 4 methods x 2 encoders x 2 datasets; for each dataset, pixels once and untrained twice.
    assert (len(planned.cells), planned.skips) == (16 + 2 + 4, ())
