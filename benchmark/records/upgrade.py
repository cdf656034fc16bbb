"""Upgrade of schema version 1 records to version 2, in memory.

Version 2 uses American spelling in parameters, recipes and details, calls the integer of a spec `version` (was `law`), and
stores `checks.failed_to_learn` (was `checks.learned`, with the opposite meaning). Scores, intervals and outcomes are
unchanged. The id of a cell hashes its settings and therefore changes with their names: it is recomputed. The name of a
version 1 folder holds the first 10 digits of the old id; `bench run` still finds it (`records.earlier_folders`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from benchmark.api.cells import Json
from benchmark.api.identity import id_of_settings

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
        "recipe": respell(body["cell"].get("recipe", {})),
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
            {**score, "params": respell(score["params"]), "details": respell(score.get("details", {}))}
            for score in body.get("scores", ())
        ],
    }


def _upgrade_item(item: Json) -> Json:
    upgraded = {**item, "label": _upgrade_label(item["label"]), "params": respell(item.get("params", {}))}
    if "law" in upgraded:
        upgraded["version"] = upgraded.pop("law")
    return upgraded


def _upgrade_label(label: str) -> str:
    name, bracket, words = label.partition("[")
    return name + bracket + re.sub(r"\w+", lambda match: WORDS.get(match[0], match[0]), words)


def upgrade_csv_row(fields: Mapping[str, str]) -> dict[str, str]:
    """A row of a leaderboard CSV under the column names and spelling of version 2; a row of version 2 is unchanged.

    Raises:
        KeyError, ValueError: the row is incomplete.
    """
    if "law" not in fields:
        return dict(fields)
    params = respell(json.loads(fields["method_params"] or "{}"))
    return {
        **fields,
        **{name: _upgrade_label(fields[name]) for name in ("method", "encoder", "dataset", "evaluator")},
        "versions": fields["law"],
        "repbench_version": fields.get("version", ""),
        "method_params": json.dumps(params, sort_keys=True),
    }


def respell(value: Any) -> Any:
    """Parameters or details of version 1 in the spelling of version 2."""
    if isinstance(value, dict):
        return {WORDS.get(key, key): respell(item) for key, item in value.items()}
    if isinstance(value, list):
        return [respell(item) for item in value]
    return WORDS.get(value, value) if isinstance(value, str) else value


def _upgrade_id(old_id: str, old_cell: Json, cell: Json) -> str:
    """The id of the cell under version 2; the old id if it does not follow from the old settings."""
    for smoke in (False, True):
        if id_of_settings(old_cell, smoke=smoke) == old_id:
            return id_of_settings(cell, smoke=smoke)
    return old_id
