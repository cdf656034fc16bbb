"""Marks beside numbers that are worth less than they seem: read from a record's checks, and put into words.

A check that is absent was not made, and leaves no mark. A mark is short enough for a table's last column; a note under the
table says what it means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmark.api.cells import Json

Caveat = tuple[str, str]
"""What was found, and where or how much of it: an evaluator's label, or `3+35/360`."""
NOTES = {
    "not frozen": "not frozen: the encoder changed while it was scored.",
    "saw labels": "saw labels: training labels reached a method that does not declare them.",
    "overlap": (
        "overlap a+b/n: of n test images, a are also among the training images and b others are nearly the same as one "
        "of them."
    ),
    "chose on test": "chose on test: the evaluator's predictions depend on the labels of the test images.",
    "augmented": "augmented: the evaluator encoded altered images itself instead of reading each image's features once.",
}
"""Mark -> what it means, in the order in which marks are shown."""
OF_EVALUATOR = ("chose on test", "augmented")
"""Marks that hold for the scores of one evaluator, whose label they carry."""


def caveats_of(checks: Json) -> tuple[Caveat, ...]:
    """All marks that a record's checks call for.

    Args:
        checks: of a record; read are `frozen`, `labels_unseen`, `overlap`, `chosen_on_test` and `augmented`.

    Raises:
        TypeError: a check is of another kind than it should be.
    """
    found: list[Caveat] = []
    if checks.get("frozen") is False:
        found.append(("not frozen", ""))
    if checks.get("labels_unseen") is False:
        found.append(("saw labels", ""))
    overlap = checks.get("overlap") or {}
    exact, near = int(overlap.get("exact", 0)), int(overlap.get("near", 0))
    if exact or near:
        found.append(("overlap", f"{exact}+{near}/{overlap.get('of', '?')}"))
    for mark, key in (("chose on test", "chosen_on_test"), ("augmented", "augmented")):
        found += [(mark, str(label)) for label in checks.get(key) or ()]
    return tuple(found)


def words(marks: Iterable[Caveat], evaluator: str) -> tuple[str, ...]:
    """As they stand beside a row of an evaluator's table: `saw labels`, `overlap 3+35/360`."""
    return tuple(_shown(mark, detail) for mark, detail in marks if mark not in OF_EVALUATOR or detail == evaluator)


def shared(rows: Sequence[Sequence[str]]) -> frozenset[str]:
    """Those that say nothing about one row among others: what every row of a table has of its data or evaluator."""
    if len(rows) < 2:
        return frozenset()
    common = set(rows[0]).intersection(*rows[1:])
    return frozenset(word for word in common if word.partition(" ")[0] == "overlap" or word in OF_EVALUATOR)


def notes(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """What the marks of a table's rows mean, each once; those of every row with what they are."""
    everywhere = shared(rows)
    for mark, note in NOTES.items():
        seen = [word for row in rows for word in row if word == mark or word.startswith(f"{mark} ")]
        if seen:
            yield f"All rows, {seen[0]}. {note}" if seen[0] in everywhere else note


def _shown(mark: str, detail: str) -> str:
    return f"{mark} {detail}" if detail and mark not in OF_EVALUATOR else mark
