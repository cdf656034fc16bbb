"""Build the encoder of a cell, and load the trained encoder of a finished one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from benchmark.api.catalog import Catalog, load_catalog
from benchmark.api.cells import Cell, Item
from benchmark.api.encoders import EncoderSpec, ImageShape
from benchmark.api.identity import id_of_settings
from benchmark.api.parameters import bind
from benchmark.encoder import NormalizedEncoder, build_encoder
from benchmark.errors import RecordError, UsageError
from benchmark.evaluation.features import tensors_checksum
from benchmark.plain_text import one_line, shortened
from benchmark.records.record import MODEL, RECORD, Record
from benchmark.records.record_files import read_record
from benchmark.records.weights_file import cannot_load, check_equal, read_weights, recorded_checksum

UNVERIFIED = "the weights were not compared with a checksum, because the record of an earlier version holds none"


def entry_of(catalog: Catalog, kind: str, singular: str, item: Item) -> Any:
    """The catalog entry of a job's item, from the provider that the plan chose.

    Args:
        catalog: the installed plugins.
        kind: `methods`, `encoders`, `datasets` or `evaluators`.
        singular: the same in singular, for messages.
        item: the item.
    """
    name = f"{item.provider}:{item.name}" if item.provider else item.name
    return catalog.find(getattr(catalog, kind), singular, name)


def encoder_of(method: Item, encoder: Item, catalog: Catalog) -> tuple[EncoderSpec, Any]:
    """(spec, bound parameters) of a cell's encoder: the method's own encoder if it has one, else the requested one."""
    own = entry_of(catalog, "methods", "method", method).spec.own_encoder
    spec: EncoderSpec = own or entry_of(catalog, "encoders", "encoder", encoder).spec
    return spec, bind(spec.params, encoder.params, f"encoder '{spec.name}'")


def new_encoder(
    cell: Cell,
    catalog: Catalog,
    *,
    image_shape: ImageShape,
    num_images: int,
    mean: Sequence[float],
    std: Sequence[float],
    device: torch.device,
) -> NormalizedEncoder:
    """The untrained encoder of a cell, on the device. On a GPU that has bfloat16 its network runs in it.

    Args:
        cell: the method, the encoder and the seed.
        catalog: the installed plugins.
        image_shape: (C, H, W).
        num_images: number of training images.
        mean: per channel, for images in [0, 1].
        std: per channel.
        device: where to put it.
    """
    spec, params = encoder_of(cell.method, cell.encoder, catalog)
    encoder = build_encoder(spec, params, image_shape, num_images=num_images, seed=cell.seed, mean=mean, std=std)
    encoder.low_precision = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return encoder.to(device)


def load_encoder(folder: Path, device: str = "cpu", catalog: Catalog | None = None) -> NormalizedEncoder:
    """The trained encoder of a cell's folder, in eval mode: see `benchmark.load_encoder`."""
    record = read_record(folder)
    if not record.trained:
        raise RecordError(f"{folder} holds no trained weights (state {record.state}); run the cell again")
    _check_settings(record)
    cell = record.cell
    method = Item(name=cell["method"]["name"], provider=cell["method"]["provider"])
    encoder = Item(name=cell["encoder"]["name"], provider=cell["encoder"]["provider"], params=cell["encoder"]["params"])
    spec, params = encoder_of(method, encoder, catalog or load_catalog())
    channels, height, width = cell["image_shape"]
    ones = [1.0] * channels  # mean and std are loaded with the weights
    module = build_encoder(spec, params, (channels, height, width), num_images=0, seed=0, mean=ones, std=ones)
    if not load_weights(module, record):
        warnings.warn(f"{folder}: {UNVERIFIED}", stacklevel=3)
    try:
        return module.to(device).eval()
    except (RuntimeError, AssertionError) as error:  # torch without CUDA raises an AssertionError
        raise UsageError(f"device={device} cannot be used: {one_line(shortened(str(error), 200))}") from error


def _check_settings(record: Record) -> None:
    """Checks that the settings of a record give its id: others would build another encoder than was trained.

    Raises:
        RecordError: they do not.
    """
    ids = {record.id, record.stored_id}
    if not any(id_of_settings(record.cell, smoke=smoke) in ids for smoke in (False, True)):
        raise RecordError(
            f"the settings in {record.folder}/{RECORD} are not those that were trained: they do not give the id "
            f"{record.short_id}. Restore the file, or train the cell again with --rerun all"
        )


def load_weights(encoder: NormalizedEncoder, record: Record) -> bool:
    """Loads the weights in a record's folder into an encoder. They are compared with the checksums in the record.

    Returns:
        Whether the record holds a checksum; earlier versions wrote some without.

    Raises:
        RecordError: the file is missing, damaged, of another encoder, or not the one that the training wrote.
    """
    tensors, verified = read_tensors(record)
    try:
        encoder.load_state_dict(tensors)
    except RuntimeError as error:
        raise cannot_load(Path(record.folder) / MODEL, " ".join(str(error).split())) from error
    return verified


def read_tensors(record: Record) -> tuple[dict[str, Tensor], bool]:
    """The weights in a record's folder, and whether they were compared with a checksum in the record.

    Raises:
        RecordError: the file is missing, damaged, or not the one that the training wrote.
    """
    path, body = Path(record.folder) / MODEL, read_weights(record)
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load(body)
    except (RuntimeError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise cannot_load(path, " ".join(str(error).split())) from error
    recorded = record.checks.get("encoder_sha256")
    if recorded is not None:
        check_equal(path, "weights", tensors_checksum(tensors), recorded)
    return tensors, recorded is not None or recorded_checksum(record) is not None
