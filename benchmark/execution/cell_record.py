"""A cell's settings and cost as JSON, in the form of its record."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.api.cells import Cell, Item, Json
from benchmark.api.parameters import as_dict
from benchmark.errors import BenchError
from benchmark.plain_text import error_text, shortened

TRACEBACK_CHARACTERS = 20_000
"""Length of a traceback in a record."""


def cell_json(cell: Cell, image_shape: Sequence[int] | None = None) -> Json:
    """The settings of a cell.

    Args:
        cell: method, encoder, dataset, seed and recipe.
        image_shape: (C, H, W); None where the dataset was not loaded.
    """
    return {
        "method": _item_json(cell.method),
        "encoder": _item_json(cell.encoder),
        "dataset": {**_item_json(cell.dataset), "fingerprint": cell.fingerprint, "subset": cell.subset},
        "seed": cell.seed,
        "recipe": as_dict(cell.recipe),
        "image_shape": None if image_shape is None else list(image_shape),
    }


def failure_json(stage: str, reason: str, traceback: str) -> Json:
    """A failure as JSON: its stage, its reason in one line, and its traceback; long texts without their middle."""
    return {"stage": stage, "reason": shortened(reason), "traceback": shortened(traceback, TRACEBACK_CHARACTERS)}


def _item_json(item: Item) -> Json:
    return {
        "name": item.name,
        "label": item.label,
        "params": dict(item.identity),
        "provider": item.provider,
        "version": item.version,
    }


def sentence(error: BaseException) -> str:
    """An error in one line, without the middle of a long one. The class is named unless it is a BenchError."""
    text = error_text(error)
    return text if isinstance(error, BenchError) and text else f"{type(error).__name__}: {text}"
