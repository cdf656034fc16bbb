"""A finished cell read back: its dataset through its frozen encoder, for an .npz file and for pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.api.catalog import Catalog, load_catalog
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
    """What is needed to look at a cell's features: the trained encoder, and the images and labels that it was scored on."""

    title: str
    """Method, encoder, dataset and seed, as a table shows them."""
    encoder: NormalizedEncoder
    """On the CPU, in eval mode."""
    tap: str
    """Where features are read; a tap of the encoder."""
    images: Mapping[str, Tensor]
    """`train` and `test`: (N, C, H, W) uint8; train after the cell's subset."""
    labels: Mapping[str, Tensor]
    """`train` and `test`: (N,) int64, aligned to the images."""
    class_names: tuple[str, ...]
    """Index = label."""

    def features(self, split: str, pool: Pool) -> Tensor:
        """(N, D) float32 features of a split; its images pass through the encoder once a call."""
        source = FrozenFeatures(self.encoder, self.images["train"], self.images["test"], [])
        return source.read(split, self.tap, pool)

    def finite_features(self, split: str, pool: Pool) -> NDArray[np.float32]:
        """As `features`, for what cannot go on with an infinity or no number.

        Raises:
            UsageError: there is one.
        """
        features: NDArray[np.float32] = self.features(split, pool).numpy()
        broken = int((~np.isfinite(features).all(axis=1)).sum())
        if broken:
            raise UsageError(
                f"{self.title}: the features of {broken} of {len(features)} {split} images at tap '{self.tap}' are not "
                "finite, so nothing is near to them; choose another --tap, or train the cell again with a lower rate"
            )
        return features


def read_frozen_cell(
    record: Record,
    *,
    tap: str | None,
    data_dir: Path,
    dataset: str | None = None,
    catalog: Catalog | None = None,
) -> FrozenCell:
    """A trained cell with its dataset.

    Args:
        record: of a trained cell.
        tap: default the encoder's output.
        data_dir: where datasets are.
        dataset: an item such as `folder[path=...]`, for records that do not hold the dataset's path.
        catalog: default: everything installed.

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
    data = _dataset(record, data_dir, dataset, catalog)
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
    """Writes a cell's feature vectors.

    Args:
        cell: whose dataset is read through its encoder.
        output: an .npz file with `train` (N, D) float32, `train_labels` (N,) int64, `test` and `test_labels`.
        pool: `average` or `flat`.

    Returns:
        The shape of each array.

    Raises:
        RecordError: it cannot be written.
    """
    arrays = {split: cell.features(split, pool).numpy() for split in cell.images}
    arrays |= {f"{split}_labels": labels.numpy() for split, labels in cell.labels.items()}
    with replaced(output) as file:
        np.savez(file, allow_pickle=False, **arrays)
    return {key: tuple(array.shape) for key, array in arrays.items()}


def _title(record: Record) -> str:
    labels = [record.cell[kind]["label"] for kind in ("method", "encoder", "dataset")]
    seed = record.cell["seed"]
    return " / ".join(labels if seed is None else [*labels, f"seed {seed}"])


def _dataset(record: Record, data_dir: Path, dataset: str | None, catalog: Catalog) -> CellData:
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
    return load_data(spec, params, data_dir, subset=stored["subset"], device=torch.device("cpu"))
