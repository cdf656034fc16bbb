"""Identity of a cell: the SHA-256 of its resolved training settings.

The hashed text is one JSON object with sorted keys and no spaces:

    dataset   {"fingerprint", "subset"}
    encoder   {"name", "params"}
    method    {"name", "params"}
    recipe    every field of `Recipe`
    seed      integer, or null for a method without randomness
    smoke     number of training steps; present only under `--smoke`

`params` are the identity parameters of an `Item`: a checksum instead of a path. Versions, commit, device, precision and
threads are recorded but not hashed. A record holds everything that is hashed, so its id can be recomputed:

    >>> cell_id(
    ...     method=plugin_json("aet", {"transform": "projective"}),
    ...     encoder=plugin_json("resnet18", {}),
    ...     dataset=dataset_json("digits-1", None),
    ...     recipe=canonical_json({"epochs": 6, "lr": 0.001}),
    ...     seed=0,
    ... )[:10]
    '921fb32821'
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from benchmark.api.cells import SMOKE_STEPS, Json


def canonical_json(value: object) -> str:
    """The JSON text that is hashed: sorted keys, no spaces, tuples as lists.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plugin_json(name: str, params: Mapping[str, object]) -> str:
    """The hashed text of a method or an encoder: its name and its identity parameters."""
    return canonical_json({"name": name, "params": params})


def dataset_json(fingerprint: str, subset: int | None) -> str:
    """The hashed text of a dataset: its content, not its name; `subset` is a number of training images, None for all."""
    return canonical_json({"fingerprint": fingerprint, "subset": subset})


def cell_id(*, method: str, encoder: str, dataset: str, recipe: str, seed: int | None, smoke: bool = False) -> str:
    """The cell's id, 64 hexadecimal digits.

    The texts are arguments, not the settings, because a plan writes each text once for thousands of cells.

    Args:
        method: from `plugin_json`.
        encoder: from `plugin_json`.
        dataset: from `dataset_json`.
        recipe: `canonical_json` of every field of the recipe.
        seed: None for a method without randomness.
        smoke: whether the cell is trained for `SMOKE_STEPS` steps only.
    """
    text = f'{{"dataset":{dataset},"encoder":{encoder},"method":{method},"recipe":{recipe},"seed":{json.dumps(seed)}'
    text += f',"smoke":{SMOKE_STEPS}}}' if smoke else "}"
    return hashlib.sha256(text.encode()).hexdigest()


def id_of_settings(cell: Json, *, smoke: bool) -> str:
    """The id of a cell from the settings that its record holds.

    Args:
        cell: method, encoder, dataset, seed and recipe, as in a record.
        smoke: see `cell_id`.

    Raises:
        KeyError, TypeError, AttributeError: a setting is missing or has the wrong type.
    """
    dataset = cell["dataset"]
    return cell_id(
        method=plugin_json(cell["method"]["name"], cell["method"].get("params", {})),
        encoder=plugin_json(cell["encoder"]["name"], cell["encoder"].get("params", {})),
        dataset=dataset_json(dataset.get("fingerprint", ""), dataset.get("subset")),
        recipe=canonical_json(cell.get("recipe", {})),
        seed=cell["seed"],
        smoke=smoke,
    )
