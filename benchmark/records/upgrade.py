"""Upgrade of schema version 1 records to version 2, in memory.

Version 2 uses American spelling in parameters, recipes and details, calls the integer of a spec `version` (was `law`), and
stores `checks.failed_to_learn` (was `checks.learned`, with the opposite meaning). Scores, intervals and outcomes are
unchanged. The id of a cell hashes its settings and therefore changes with their names: it is recomputed. The name of a
version 1 folder holds the first 10 digits of the old id; `bench run` still finds it (`execution.cell_state`).
"""

from __future__ import annotations

import re
from typing import Any

from benchmark.api.cells import Json
from benchmark.api.identity import canonical_json, cell_id, dataset_json, plugin_json

WORDS = {
    "grey": "gray",
    "optimiser": "optimizer",
    "unlabelled": "unlabeled",
    "labelled_images": "labeled_images",
}
"""Parameter names, parameter values and keys of details that version 2 spells differently."""


def upgrade(body: Json) -> Json:
    """The version 2 contents of a version 1 record; `body` is not changed.

    Raises:
        KeyError, TypeError, AttributeError: the record is incomplete.
    """
    cell = {
        **body["cell"],
        **{kind: _upgrade_item(body["cell"][kind]) for kind in ("method", "encoder", "dataset")},
        "recipe": _respell(body["cell"].get("recipe", {})),
    }
    provenance = {"versions" if key == "law" else key: value for key, value in body.get("provenance", {}).items()}
    checks = dict(body.get("checks", {}))
    if "learned" in checks:
        learned = checks.pop("learned")
        checks["failed_to_learn"] = None if learned is None else not learned
    return {
        **body,
        "schema_version": 2,
        "id": _upgrade_id(body["id"], body["cell"], cell),
        "cell": cell,
        "provenance": provenance,
        "checks": checks,
        "scores": [
            {**score, "params": _respell(score["params"]), "details": _respell(score.get("details", {}))}
            for score in body.get("scores", ())
        ],
    }


def _upgrade_item(item: Json) -> Json:
    name, bracket, words = item["label"].partition("[")
    label = name + bracket + re.sub(r"\w+", lambda match: WORDS.get(match[0], match[0]), words)
    upgraded = {**item, "label": label, "params": _respell(item.get("params", {}))}
    if "law" in upgraded:
        upgraded["version"] = upgraded.pop("law")
    return upgraded


def _respell(value: Any) -> Any:
    if isinstance(value, dict):
        return {WORDS.get(key, key): _respell(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_respell(item) for item in value]
    return WORDS.get(value, value) if isinstance(value, str) else value


def _upgrade_id(old_id: str, old_cell: Json, cell: Json) -> str:
    """The id of the cell under version 2; the old id if it does not follow from the old settings."""
    for smoke in (False, True):
        if _cell_id(old_cell, smoke) == old_id:
            return _cell_id(cell, smoke)
    return old_id


def _cell_id(cell: Json, smoke: bool) -> str:
    dataset = cell["dataset"]
    return cell_id(
        method=plugin_json(cell["method"]["name"], cell["method"].get("params", {})),
        encoder=plugin_json(cell["encoder"]["name"], cell["encoder"].get("params", {})),
        dataset=dataset_json(dataset.get("fingerprint", ""), dataset.get("subset")),
        recipe=canonical_json(cell.get("recipe", {})),
        seed=cell["seed"],
        smoke=smoke,
    )
