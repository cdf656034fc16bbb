"""Reads a finished cell: its frozen encoder and its dataset, for features, similarity search and maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.api.catalog import load_catalog
from benchmark.api.encoders import Pool
from benchmark.api.grammar import parse_items
from benchmark.api.parameters import bind
from benchmark.encoder import NormalizedEncoder
from benchmark.errors import UsageError
from benchmark.evaluation.cell_data import CellData, load_data
from benchmark.evaluation.features import FrozenFeatures
from benchmark.evaluation.trained_encoder import load_encoder
from benchmark.records.atomic import replaced
from benchmark.records.record import Record


@dataclass(frozen=True, kw_only=True)
class FrozenCell:
    """A trained encoder with the images and labels of its cell."""

    title: str
    """Method / encoder / dataset / seed, for headings and messages."""
    encoder: NormalizedEncoder
    """On the CPU, in eval mode."""
    tap: str
    """Layer of the encoder where features are read."""
    images: Mapping[str, Tensor]
    """`train` and `test`: (N, C, H, W) uint8; `train` is the cell's subset."""
    labels: Mapping[str, Tensor]
    """`train` and `test`: (N,) int64, in the order of the images."""
    class_names: tuple[str, ...]
    """Index = label."""

    def features(self, split: str, pool: Pool) -> Tensor:
        """(N, D) float32 features of a split, computed at each call."""
        source = FrozenFeatures(self.encoder, self.images["train"], self.images["test"], [])
        return source.read(split, self.tap, pool)

    def finite_features(self, split: str, pool: Pool) -> NDArray[np.float32]:
        """The features of a split as a NumPy array, checked to be finite.

        Raises:
            UsageError: a feature is infinite or NaN.
        """
        features: NDArray[np.float32] = self.features(split, pool).numpy()
        not_finite = int((~np.isfinite(features).all(axis=1)).sum())
        if not_finite:
            raise UsageError(
                f"{self.title}: the features of {not_finite} of {len(features)} {split} images at tap '{self.tap}' are not "
                "finite; choose another --tap, or train the cell again with a lower learning rate"
            )
        return features


def read_frozen_cell(
    record: Record,
    *,
    tap: str | None,
    data_dir: Path,
    dataset: str | None = None,
) -> FrozenCell:
    """The encoder and the dataset of a trained cell.

    Args:
        record: of a trained cell.
        tap: layer where features are read; None: the encoder's output.
        data_dir: where datasets are stored.
        dataset: an item such as `folder[path=...]`, for records that do not store the dataset's path.

    Raises:
        UsageError: no such tap, or the dataset has changed since the training.
    """
    encoder = load_encoder(Path(record.folder))
    name = tap or encoder.layout.output
    try:
        encoder.layout.tap(name)
    except KeyError as error:
        raise UsageError(str(error.args[0])) from None
    data = _load_dataset(record, data_dir, dataset)
    shape = tuple(data.train.images.shape[1:])
    if shape != tuple(record.cell["image_shape"]):
        raise UsageError(
            f"{_title(record)}: the record says images of {record.cell['image_shape']}, but the dataset has {list(shape)}"
        )
    splits = {"train": data.train, "test": data.test}
    return FrozenCell(
        title=_title(record),
        encoder=encoder,
        tap=name,
        images={split: labeled.images for split, labeled in splits.items()},
        labels={split: labeled.labels for split, labeled in splits.items()},
        class_names=data.class_names,
    )


def write_features(cell: FrozenCell, output: Path, *, pool: Pool) -> dict[str, tuple[int, ...]]:
    """Writes the features of a cell's images to a file.

    Args:
        cell: encoder and images.
        output: an .npz file with `train` (N, D) float32, `train_labels` (N,) int64, `test` and `test_labels`.
        pool: `average` or `flat`.

    Returns:
        The shape of each array.

    Raises:
        RecordError: the file cannot be written.
    """
    arrays = {split: cell.features(split, pool).numpy() for split in cell.images}
    arrays |= {f"{split}_labels": labels.numpy() for split, labels in cell.labels.items()}
    with replaced(output) as file:
        np.savez(file, allow_pickle=False, **arrays)
    return {key: tuple(array.shape) for key, array in arrays.items()}


def _title(record: Record) -> str:
    return " / ".join(record.labels if record.seed is None else [*record.labels, f"seed {record.seed}"])


def _load_dataset(record: Record, data_dir: Path, dataset: str | None) -> CellData:
    """The dataset that a record names, or the one named by `dataset` if it is the same by its fingerprint."""
    catalog = load_catalog()
    stored = record.cell["dataset"]
    item = parse_items([dataset or stored["name"]])[0]
    provider = stored.get("provider")
    name = f"{provider}:{item.name}" if provider and dataset is None else item.name
    spec = catalog.find(catalog.datasets, "dataset", name).spec
    item_params = {key: value for key, value in item.params if key != "subset"}
    params = bind(spec.params, item_params or stored["params"], f"dataset '{spec.name}'")
    info = spec.describe(params, data_dir)
    if info.fingerprint != stored["fingerprint"]:
        raise UsageError(
            f"dataset '{info.label}' differs from the one that this cell was trained on (fingerprint "
            f"{info.fingerprint[:12]}, expected {stored['fingerprint'][:12]}); name it with --dataset 'name[key=value]'"
        )
    return load_data(spec, params, data_dir, subset=stored["subset"], device=torch.device("cpu"))
