"""The feature vectors of a finished cell as an .npz file, for whatever one wants to do with them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from benchmark.atomic import replaced
from benchmark.catalog import Catalog, load_catalog
from benchmark.cell import load_encoder
from benchmark.errors import UsageError
from benchmark.features import FrozenFeatures
from benchmark.grammar import parse_items
from benchmark.images import stratified_subset
from benchmark.parameters import bind
from benchmark.records import Record


def write_features(
    record: Record,
    output: Path,
    *,
    tap: str | None,
    pool: Literal["average", "flat"] | str,
    data_dir: Path,
    dataset: str | None = None,
    catalog: Catalog | None = None,
) -> dict[str, tuple[int, ...]]:
    """Reads a cell's dataset through its frozen encoder and writes the vectors.

    Args:
        record: of a trained cell.
        output: an .npz file with `train` (N, D) float32, `train_labels` (N,) int64, `test` and `test_labels`.
        tap: default the encoder's output.
        pool: `average` or `flat`.
        data_dir: where datasets are.
        dataset: an item such as `folder[path=...]`, for records that do not hold the dataset's path.
        catalog: default: everything installed.

    Returns:
        The shape of each array.

    Raises:
        UsageError: no such tap, or the dataset has changed since.
    """
    catalog = catalog or load_catalog()
    encoder = load_encoder(Path(record.folder))
    name = tap or encoder.layout.output
    try:
        encoder.layout.tap(name)
    except KeyError as error:
        raise UsageError(str(error.args[0])) from None
    images = _dataset(record, data_dir, dataset, catalog)
    source = FrozenFeatures(encoder, images["train"][0], images["test"][0], [])
    kind: Literal["average", "flat"] = "flat" if pool == "flat" else "average"
    arrays = {split: source.read(split, name, kind).numpy() for split in images}
    arrays |= {f"{split}_labels": labels.numpy() for split, (_, labels) in images.items()}
    with replaced(output) as file:
        np.savez(file, allow_pickle=False, **arrays)
    return {key: tuple(array.shape) for key, array in arrays.items()}


def _dataset(
    record: Record, data_dir: Path, dataset: str | None, catalog: Catalog
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    stored = record.cell["dataset"]
    asked = parse_items([dataset or stored["name"]])[0]
    given_by = stored.get("provider")
    name = f"{given_by}:{asked.name}" if given_by and dataset is None else asked.name
    spec = catalog.find(catalog.datasets, "dataset", name).spec
    given = {key: value for key, value in asked.params if key != "subset"}
    params = bind(spec.params, given or stored["params"], f"dataset '{spec.name}'")
    info = spec.describe(params, data_dir)
    if info.fingerprint != stored["fingerprint"]:
        raise UsageError(
            f"dataset '{info.label}' is not the one that this cell was trained on (fingerprint {info.fingerprint[:12]}, "
            f"then {stored['fingerprint'][:12]}); name it with --dataset 'name[key=value]'"
        )
    data = spec.load(params, data_dir)
    found = {
        split: (torch.from_numpy(np.array(part.images)), torch.from_numpy(np.array(part.labels)).long())
        for split, part in (("train", data.train), ("test", data.test))
    }
    if stored["subset"] is not None:
        images, labels = found["train"]
        chosen = stratified_subset(labels, stored["subset"])
        found["train"] = (images[chosen], labels[chosen])
    return found
