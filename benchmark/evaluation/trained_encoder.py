"""Load the trained encoder of a finished cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from benchmark.api.catalog import Catalog, load_catalog
from benchmark.api.cells import Item
from benchmark.api.parameters import bind
from benchmark.encoder import NormalizedEncoder, build_encoder
from benchmark.errors import RecordError
from benchmark.records.record import MODEL, read_record


def entry_of(catalog: Catalog, kind: str, singular: str, item: Item) -> Any:
    """The catalog's entry for a job's item, from the provider that the plan chose."""
    return catalog.find(
        getattr(catalog, kind), singular, f"{item.provider}:{item.name}" if item.provider else item.name
    )


def encoder_of(method: Item, encoder: Item, catalog: Catalog) -> tuple[Any, Any]:
    """(spec, bound parameters) of a cell's encoder, be it the method's own or one that was asked for."""
    own = entry_of(catalog, "methods", "method", method).spec.own_encoder
    spec = own or entry_of(catalog, "encoders", "encoder", encoder).spec
    return spec, bind(spec.params, encoder.params, f"encoder '{spec.name}'")


def load_encoder(folder: Path, device: str = "cpu", catalog: Catalog | None = None) -> NormalizedEncoder:
    """The trained encoder of a cell's folder: see `benchmark.load_encoder`."""
    record = read_record(folder)
    if not record.trained:
        raise RecordError(f"{folder} holds no trained weights (state {record.state}); run the cell again")
    cell = record.cell
    catalog = catalog or load_catalog()
    method = Item(name=cell["method"]["name"], provider=cell["method"]["provider"])
    encoder = Item(name=cell["encoder"]["name"], provider=cell["encoder"]["provider"], params=cell["encoder"]["params"])
    spec, params = encoder_of(method, encoder, catalog)
    channels, height, width = cell["image_shape"]
    ones = [1.0] * channels
    module = build_encoder(spec, params, (channels, height, width), num_images=0, seed=0, mean=ones, std=ones)
    _load_weights(module, folder)
    return module.to(device).eval()


def _load_weights(encoder: NormalizedEncoder, folder: Path) -> None:
    path = folder / MODEL
    try:
        encoder.load_state_dict(safetensors.torch.load_file(path))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise RecordError(f"{path} cannot be loaded ({reason}); train the cell again with --rerun all") from error
