"""What a check is held against: the cells of a leaderboard, and which of them belongs to a cell of a run.

A leaderboard is read from its .jsonl with the outcomes beside it, from its CSV where there is nothing else, or from the same
files in a git revision, `REV:results/digits.csv`.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

from benchmark.analysis import sources
from benchmark.analysis.compare import differing_settings
from benchmark.analysis.sources import SeedGroup, Source
from benchmark.errors import RecordError, UsageError
from benchmark.records.record import Record, Score

CSV = ".csv"
FINISHED = ("done", "did not learn")
"""How a leaderboard's CSV calls a finished cell; a run's own may hold others, such as `smoke`."""


def known(argument: str) -> tuple[list[SeedGroup], str]:
    """Groups of a baseline, and where there are none, why.

    Raises:
        UsageError: the name is that of no leaderboard.
        RecordError: a file is damaged.
    """
    check_name(argument)
    try:
        groups = _board(argument)
    except NoBaselineError as error:
        return [], str(error)
    except (OSError, ValueError, TypeError) as error:
        raise RecordError(f"{argument} is not whole ({error}); restore it from git") from error
    if not groups:
        return [], f"the baseline {argument} holds no finished cell; bench check --update adds this run's"
    for group in groups:
        _check_numbers(group, argument)
    return groups, ""


def check_name(argument: str) -> None:
    """Raises a UsageError where a name can be that of no leaderboard."""
    if not argument.endswith((CSV, sources.BOARD)):
        raise UsageError(
            f"--baseline {argument} cannot be; it is a leaderboard's .csv or .jsonl, or REV: and such a file"
        )


def _check_numbers(group: SeedGroup, argument: str) -> None:
    """Raises a RecordError where a value is no finite number: what is compared with it would be called no evidence."""
    for record in group.records:
        for score in record.scores:
            if not isinstance(score.value, int | float) or not math.isfinite(score.value):
                wrong = f"{score.metric} of {sources.labels(record)} is {score.value!r}"
                raise RecordError(f"{argument} is not whole ({wrong}); restore it from git")


def _board(argument: str) -> list[SeedGroup]:
    """From the .jsonl where there is one, with its outcomes; else from the CSV alone."""
    try:
        return sources.read(argument.removesuffix(CSV) + sources.BOARD if argument.endswith(CSV) else argument, Path())
    except UsageError as error:
        try:
            text = _text(argument) if argument.endswith(CSV) else None
        except UsageError:
            text = None
        if text is None:
            then = "" if ":" in argument else "; bench check --update writes one from this run"
            raise NoBaselineError(f"there is no baseline {argument} yet ({error}){then}") from error
        return _from_csv(text, argument)


def _text(argument: str) -> str | None:
    """A file's text, here or in a git revision; None where it is neither."""
    if Path(argument).is_file():
        return Path(argument).read_text(encoding="utf-8")
    revision, colon, name = argument.partition(":")
    return sources.from_git(revision, name).decode("utf-8") if colon else None


class NoBaselineError(UsageError):
    """A first run: nothing to be held against."""


def _from_csv(text: str, name: str) -> list[SeedGroup]:
    """Groups from a leaderboard's rows: all that a check asks of them, without outcomes.

    Raises:
        RecordError: a row is not whole.
    """
    records: dict[str, Record] = {}
    scores: dict[str, list[Score]] = {}
    try:
        for row in csv.DictReader(io.StringIO(text, newline="")):
            if None in row.values():
                raise ValueError(f"a row of {row['cell']} ends early")
            if row["state"] in FINISHED:
                records.setdefault(row["cell"], _record_of(row))
                scores.setdefault(row["cell"], []).append(_score_of(row))
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise RecordError(f"{name} is not whole ({type(error).__name__}: {error}); restore it from git") from error
    whole = [dataclasses.replace(record, scores=tuple(scores[cell])) for cell, record in records.items()]
    return Source(records=whole, outcomes=lambda *_: None).groups()


def _record_of(row: dict[str, str]) -> Record:
    cell = {
        "method": {"label": row["method"], "params": dict(json.loads(row["method_params"] or "{}"))},
        "encoder": {"label": row["encoder"]},
        "dataset": {"label": row["dataset"], "fingerprint": row["fingerprint"]},
        "seed": int(row["seed"]) if row["seed"] else None,
        "recipe": {"epochs": float(row["epochs"] or 0)},
    }
    return Record(id=row["cell"], state="done", cell=cell, provenance={"versions": row["versions"]})


def _score_of(row: dict[str, str]) -> Score:
    return Score(
        tap=row["tap"],
        pool=row["pool"],  # type: ignore[arg-type]  # a word of the CSV; compared with others, never acted on
        evaluator=row["evaluator"],
        protocol=row["protocol"],
        metric=row["metric"],
        params={},
        value=float(row["value"]),
        ci_low=None,
        ci_high=None,
        n=int(float(row["n"])),
        outcomes=None,
        headline=True,
    )


# --- which cell is meant ----------------------------------------------------------------------------------------------


def counterpart(group: SeedGroup, known: Sequence[SeedGroup]) -> SeedGroup | str:
    """The baseline of a cell, or why there is none; an empty reason where the baseline does not know it at all.

    Of several with the same settings, as a leaderboard keeps them after a dataset or a version has changed: one that can be
    compared, of the same version if there is one, else of the latest.
    """
    record = group.records[0]
    same = of_same_name(record, known)
    differences = [_other_settings(record, other.records[0]) for other in same]
    alike = [other for other, names in zip(same, differences, strict=True) if not names]
    if alike:
        return max(alike, key=lambda other: _nearness(record, other.records[0]))
    return min(zip(map(len, differences), map(_in_words, differences), strict=True), default=(0, ""))[1]


def of_same_name(record: Record, known: Sequence[SeedGroup]) -> list[SeedGroup]:
    """Those of the same method, encoder and dataset by label, whatever their settings."""
    return [other for other in known if sources.labels(other.records[0]) == sources.labels(record)]


def _nearness(record: Record, baseline: Record) -> tuple[bool, bool, str]:
    return not wrong(record, baseline), _version(record) == _version(baseline), _version(baseline)


def _version(record: Record) -> str:
    """As a leaderboard's CSV has it: `1.1.1`."""
    version = record.provenance.get("versions") or {}
    if isinstance(version, str):
        return version
    return ".".join(str(version.get(kind, "")) for kind in ("method", "encoder", "dataset"))


def is_told_by_csv(baseline: Record) -> bool:
    """A CSV holds of a recipe its epochs alone, of an encoder its label, and of a dataset the beginning of its fingerprint."""
    return "params" not in baseline.cell["encoder"]


def epochs_of(record: Record) -> float:
    """0 where nothing was trained."""
    epochs: float = (record.cell.get("recipe") or {}).get("epochs", 0)
    return epochs


def _other_settings(record: Record, baseline: Record) -> dict[str, tuple[object, object]]:
    """What is another budget or parameter: its name, with the run's value and the baseline's."""
    mine, theirs = _settings(record), _settings(baseline)
    names = [name for name in dict.fromkeys((*theirs, *mine)) if mine.get(name) != theirs.get(name)]
    if is_told_by_csv(baseline):
        names = [name for name in names if name == "epochs" or name.startswith("method ")]
    return {name: (mine.get(name), theirs.get(name)) for name in names}


def _settings(record: Record) -> dict[str, object]:
    parts = {
        f"{kind} {name}": value
        for kind in ("method", "encoder")
        for name, value in (record.cell[kind].get("params") or {}).items()
    }
    return {**(record.cell.get("recipe") or {}), "epochs": epochs_of(record), **parts}


def _in_words(settings: dict[str, tuple[object, object]]) -> str:
    told = [f"{name}={plain(mine)} (baseline {plain(theirs)})" for name, (mine, theirs) in settings.items()]
    rest = f" and {len(told) - 4} more" if len(told) > 4 else ""
    return f"another budget or other parameters: {', '.join(told[:4])}{rest}"


def plain(value: object) -> str:
    """A setting in words: 6 epochs, not 6.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def wrong(record: Record, baseline: Record) -> str:
    """Why no score of two cells can be compared; else empty."""
    known, mine = (str(each.cell["dataset"].get("fingerprint", "")) for each in (baseline, record))
    if is_told_by_csv(baseline):
        return "" if known and mine.startswith(known) else f"other dataset fingerprint: {mine[:12]} and {known[:12]}"
    return differing_settings(record, baseline)
