"""Caveats: reasons to trust a number less, read from a record's checks and shown beside the number.

A check that is absent was not made and gives no caveat. A caveat is short enough for a table's last column; a note under
the table explains it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.api.cells import Json
from benchmark.records.record import Record

Caveat = tuple[str, str]
"""Name, and detail: the label of an evaluator, `3+35/360`, or empty."""
NOTES = {
    "altered": (
        "altered: the record was edited or damaged after it was written; it does not match its checksum, its id or its "
        "intervals."
    ),
    "not frozen": "not frozen: the encoder changed while it was scored.",
    "saw labels": "saw labels: training labels reached a method that does not declare that it uses them.",
    "overlap": "overlap a+b/n: of n test images, a are copies of training images and b are near copies.",
    "skipped": "skipped a/n: of the dataset's n image files, a are damaged and were left out (on_error=skip).",
    "chose on test": "chose on test: the evaluator's predictions depend on the labels of the test images.",
    "augmented": "augmented: the evaluator encoded augmented images instead of reading each image's features once.",
    "plugin code changed since": (
        "plugin code changed since (NAME): the source code of this plugin is not the one that gave the number, although no "
        "version was raised. --rerun stale computes it again."
    ),
    "evaluator code changed since": (
        "evaluator code changed since: the same of the plugin that provides the evaluator; only its scores are affected."
    ),
    "benchmark code changed since": (
        "benchmark code changed since: the part of repbench that trains and scores is not the one that gave the number."
    ),
    "weights changed": (
        "weights changed: model.safetensors is not the file that the training wrote. The scores are of the original weights; "
        "restore the file, or train again with --rerun stale."
    ),
    "outcomes changed": (
        "outcomes changed: predictions.npz is not the file that was written with the scores. Comparisons of single images "
        "leave it out; restore the file, or train again with --rerun stale."
    ),
    "unverified": (
        "unverified: an earlier version wrote the record, without a checksum of the weights or of the plugins' code, so that "
        "later changes to them do not show."
    ),
    "unverified, no checksum of": (
        "unverified, no checksum of PARTS: the record holds other checksums, but none of these. They were removed, or an "
        "earlier version wrote the record; changes to these parts do not show. --rerun all trains the cell again."
    ),
}
"""Name -> explanation, in the order in which caveats are shown."""
ALTERED: Caveat = ("altered", "")
INCOMPLETE = "unverified, no checksum of"
"""Name of the caveat of a record that lacks some checksums; its detail names what they are of."""
SHARED = (
    "overlap",
    "skipped",
    *(f"{what} code changed since" for what in ("plugin", "benchmark")),
    "unverified",
    INCOMPLETE,
)
"""Caveats that may concern all rows for one reason: the images, the installed code, the version that wrote the records."""
OF_EVALUATOR = {"chose on test": "chosen_on_test", "augmented": "augmented"}
"""Caveats that concern the scores of one evaluator, whose label is their detail -> key among a record's checks."""
EVALUATOR_CAVEATS = (*OF_EVALUATOR, "evaluator code changed since")
"""All caveats that concern the scores of one evaluator."""


def caveats_of(checks: Json) -> tuple[Caveat, ...]:
    """The caveats that follow from a record's checks.

    Args:
        checks: read are `altered`, `unverified`, `frozen`, `labels_unseen`, `overlap`, `skipped_images`, `chosen_on_test` and
            `augmented`.

    Raises:
        TypeError: a check has the wrong type.
    """
    caveats: list[Caveat] = [ALTERED] if checks.get("altered") is True else []
    if checks.get("unverified"):
        caveats.append((INCOMPLETE, ", ".join(checks["unverified"])))
    if checks.get("frozen") is False:
        caveats.append(("not frozen", ""))
    if checks.get("labels_unseen") is False:
        caveats.append(("saw labels", ""))
    overlap = checks.get("overlap") or {}
    exact, near = int(overlap.get("exact", 0)), int(overlap.get("near", 0))
    if exact or near:
        caveats.append(("overlap", f"{exact}+{near}/{overlap.get('of', '?')}"))
    skipped = checks.get("skipped_images") or {}
    if skipped:
        caveats.append(("skipped", f"{int(skipped.get('count', 0))}/{skipped.get('of', '?')}"))
    for name, key in OF_EVALUATOR.items():
        caveats += [(name, str(label)) for label in checks.get(key) or ()]
    return tuple(caveats)


def doubts_of(records: Iterable[Record]) -> str:
    """Whether any of the records was edited, or lacks checksums, as text; empty if all are as they were written."""
    return doubt_text(caveat for record in records for caveat in caveats_of(record.checks))


def doubt_text(caveats: Iterable[Caveat]) -> str:
    """Those of the caveats that say that records may not be as they were written, as text."""
    names = (ALTERED[0], INCOMPLETE)
    return "; ".join(f"{name} {detail}".strip() for name, detail in dict.fromkeys(caveats) if name in names)


def joined(*remarks: str) -> str:
    """Remarks as one text; empty ones are left out."""
    return "; ".join(remark for remark in remarks if remark)


def caveat_texts(caveats: Iterable[Caveat], evaluator: str) -> tuple[str, ...]:
    """Caveats as shown in a row of an evaluator's table: `saw labels`, `overlap 3+35/360`."""
    return tuple(
        f"{name} {detail}" if detail and name not in EVALUATOR_CAVEATS else name
        for name, detail in caveats
        if name not in EVALUATOR_CAVEATS or detail == evaluator
    )


def shared_caveats(rows: Sequence[Sequence[str]]) -> frozenset[str]:
    """Caveats that all rows of a table have for one reason: a note states them once, and no row repeats them."""
    if len(rows) < 2:
        return frozenset()
    common = set(rows[0]).intersection(*rows[1:])
    return frozenset(text for text in common if text in EVALUATOR_CAVEATS or _name_of(text) in SHARED)


def _name_of(text: str) -> str:
    return next((name for name in NOTES if text == name or text.startswith(f"{name} ")), "")


def caveat_notes(rows: Sequence[Sequence[str]]) -> list[str]:
    """The explanations of the caveats in a table's rows, each once."""
    shared = shared_caveats(rows)
    notes = []
    for name, note in NOTES.items():
        texts = [text for row in rows for text in row if _name_of(text) == name]
        if texts:
            notes.append(f"All rows, {texts[0]}. {note}" if texts[0] in shared else note)
    return notes
