"""Records of schema version 1, upgraded in memory to version 2.

Version 2 uses American spelling in parameters and recipes and calls the integer of a spec `version` (it was `law`).
Scores, intervals and outcomes are taken over unchanged.
"""

from __future__ import annotations

from typing import Any

from benchmark.api.cells import Json

WORDS = {"grey": "gray", "optimiser": "optimizer", "unlabelled": "unlabeled"}
"""Parameter names and values that version 1 spelled differently."""


def upgraded(body: Json) -> Json:
    """The body of a version 2 record with the contents of a version 1 record; `body` itself is not changed."""
    cell = {key: _respelled(value) for key, value in body["cell"].items()}
    for kind in ("method", "encoder", "dataset"):
        if kind in cell and "law" in cell[kind]:
            cell[kind] = {**cell[kind], "version": cell[kind]["law"]}
            del cell[kind]["law"]
    provenance = dict(body.get("provenance") or {})
    if "law" in provenance:
        provenance["versions"] = provenance.pop("law")
    return {**body, "schema_version": 2, "cell": cell, "provenance": provenance}


def _respelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {_word(key): _respelled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_respelled(item) for item in value]
    return _word(value) if isinstance(value, str) else value


def _word(text: str) -> str:
    for old, new in WORDS.items():
        text = text.replace(old, new)
    return text
