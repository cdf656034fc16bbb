"""Reads the baseline of a check from a leaderboard, and finds the baseline cell of a cell.

A leaderboard is read from its .jsonl with the outcomes next to it, else from its CSV, or from the same files in a git revision:
`REV:results/digits.csv`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.analysis import sources
from benchmark.analysis.baseline_csv import read_baseline_csv
from benchmark.analysis.seed_groups import AnyGroup, SeedGroup, cell_mismatch, epochs_of, label_of, seed_groups
from benchmark.errors import RecordError, UsageError
from benchmark.records.csv_text import CsvError
from benchmark.records.dataframe import csv_chunks
from benchmark.records.export import export
from benchmark.records.leaderboard import CSV, JSONL, leaderboard_name
from benchmark.records.output_folder import OutputFolder
from benchmark.records.record import KINDS, Record
from benchmark.records.store import RecordStore

LARGEST_COMPARED = 50_000_000
"""Bytes of a CSV that is compared with the records beside it."""
SHOWN_SETTINGS = 4
"""Differing settings that a reason lists."""


class NoBaselineError(UsageError):
    """The baseline does not exist yet, as in a first run."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What a run is compared with."""

    groups: tuple[AnyGroup, ...] = ()
    """Its cells, by seed group."""
    missing: str = ""
    """Why there are none; empty if there are."""
    notes: tuple[str, ...] = ()
    """What a CSV that was edited by hand was understood as."""

    @functools.cached_property
    def _by_label(self) -> dict[str, list[AnyGroup]]:
        by_label: dict[str, list[AnyGroup]] = {}
        for group in self.groups:
            by_label.setdefault(group.label, []).append(group)
        return by_label

    def with_label(self, label: str) -> Sequence[AnyGroup]:
        """The groups of a cell (method/encoder/dataset), whatever their settings."""
        return self._by_label.get(label, ())

    @functools.cached_property
    def first_records(self) -> Callable[[str], Sequence[Record]]:
        """The first record of each group of a cell; those of the last cells are kept."""
        return functools.lru_cache(maxsize=8)(lambda label: [group.first for group in self.with_label(label)])


def read_baseline(argument: str) -> Baseline:
    """The baseline that an argument names.

    Raises:
        UsageError: the argument does not name a leaderboard file.
        RecordError: a file is damaged, or a field of a CSV has no meaning or several.
    """
    check_name(argument)
    try:
        baseline = _read_leaderboard(argument)
    except NoBaselineError as error:
        return Baseline(missing=str(error))
    except CsvError as error:
        raise RecordError(f"{argument} cannot be read: {error}. Correct it, or restore it from git") from error
    except (OSError, ValueError, TypeError) as error:
        raise RecordError(f"{argument} is damaged ({error}); restore it from git") from error
    if not baseline.groups:
        return Baseline(
            missing=f"baseline {argument} has no finished cell; bench check --update adds those of this run"
        )
    return baseline


def check_name(argument: str) -> None:
    """Raises a UsageError if the argument does not name a leaderboard file."""
    if not argument.endswith((CSV, JSONL)):
        raise UsageError(
            f"--baseline {argument} is not a leaderboard; give its .csv or .jsonl file, or REV:FILE from a git revision"
        )
    if Path(argument).is_dir():
        raise UsageError(f"--baseline {argument} is not a leaderboard, but a folder; give a .csv or .jsonl file in it")


def _check_values(group: SeedGroup, argument: str) -> None:
    """Raises a RecordError if a value is not finite: a comparison with it would always find no evidence."""
    for record in group.records:
        for score in record.scores:
            if not isinstance(score.value, int | float) or not math.isfinite(score.value):
                problem = f"{score.metric} of {label_of(record)} is {score.value!r}"
                raise RecordError(f"{argument} is damaged ({problem}); restore it from git")


def _read_leaderboard(argument: str) -> Baseline:
    """From the .jsonl and its outcomes if there is one, else from the CSV."""
    try:
        board = argument.removesuffix(CSV) + JSONL if argument.endswith(CSV) else argument
        leaderboard = sources.read_leaderboard(board, strict=True)
        notes = _notes_on_csv(Path(argument), leaderboard) if argument.endswith(CSV) else ()
        return Baseline(groups=tuple(sources.leaderboard_groups(leaderboard)), notes=notes)
    except UsageError as error:
        data = _read_csv(argument) if argument.endswith(CSV) else None
        if data is None:
            remedy = "" if ":" in argument else "; bench check --update writes one from this run"
            raise NoBaselineError(f"no baseline {argument} yet ({error}){remedy}") from error
        table = read_baseline_csv(data)
        groups = seed_groups(table.records, lambda *_: None)
        for group in groups:
            _check_values(group, argument)
        return Baseline(groups=tuple(groups), notes=table.notes)


def _notes_on_csv(path: Path, leaderboard: RecordStore) -> tuple[str, ...]:
    """A note if a CSV is not the table of the records beside it, which are read instead: it may have been edited by hand.

    Nothing is said of a table with the columns of another version.
    """
    if not path.is_file() or path.stat().st_size > LARGEST_COMPARED:
        return ()
    stored = path.read_bytes().decode("utf-8", "replace").splitlines()
    rebuilt = "".join(csv_chunks(leaderboard.columns)).splitlines()
    if stored == rebuilt or stored[:1] != rebuilt[:1]:
        return ()
    pairs = enumerate(itertools.zip_longest(stored, rebuilt), start=1)
    row = next(number for number, (ours, theirs) in pairs if ours != theirs)
    return (
        f"{path} was not read: from row {row} on it is not the table of {path.stem}{JSONL} beside it, which was read.",
    )


def _read_csv(argument: str) -> bytes | None:
    """The contents of a file or of one in a git revision; None if neither exists."""
    if Path(argument).is_file():
        return Path(argument).read_bytes()
    revision, colon, name = argument.partition(":")
    try:
        return sources.read_from_git(revision, name) if colon else None
    except UsageError:
        return None


def update_baseline(out: Path, baseline: Path) -> str:
    """Adds or replaces a run's finished cells in the leaderboards of the baseline's folder.

    Returns:
        What was written, one line per leaderboard.

    Raises:
        UsageError: no cell is finished, or the baseline is not a file or is another dataset's leaderboard.
        RecordError: a file of the baseline is damaged; nothing is changed then.
    """
    check_name(str(baseline))
    if ":" in str(baseline) and not baseline.parent.is_dir():
        raise UsageError(f"--update writes files, and --baseline {baseline} names a git revision; give the file itself")
    folder = OutputFolder(out)
    finished = [summary for summary in folder.columns.summaries if summary.state == "done"]
    if not finished:
        raise UsageError(f"no finished record in {out}; bench run --out {out} writes records")
    boards = {leaderboard_name(summary) for summary in finished}
    if baseline.stem not in boards:
        names = ", ".join(f"{baseline.parent / name}.csv" for name in sorted(boards))
        raise UsageError(f"--baseline {baseline}: the run's cells belong to {names}; give one of these")
    problems = list(folder.problems)
    written = export(folder, baseline.parent, problems)
    lines = [f"{baseline.parent / name}.csv: {count} cells added or replaced" for name, count in written.items()]
    return "\n".join([*lines, *(f"left out: {problem}" for problem in problems)])


def is_from_csv(baseline: Record) -> bool:
    """Whether a record was read from a CSV. A CSV stores only the epochs of a recipe and only the label of an encoder."""
    return "params" not in baseline.cell["encoder"]


# --- the baseline of a cell -------------------------------------------------------------------------------------------


def find_counterpart(group: SeedGroup, baseline: Baseline) -> AnyGroup | str:
    """The baseline of a cell, or the reason why it has none; the reason is empty if the baseline lacks the cell.

    A leaderboard may have several groups with the same settings, after a dataset or a version has changed. The preferred one
    is comparable, then has the same version, then the latest version.
    """
    record = group.first
    candidates, firsts = baseline.with_label(group.label), baseline.first_records(group.label)
    differences = [_differing_settings(record, other) for other in firsts]
    matches = [number for number, names in enumerate(differences) if not names]
    if matches:
        return candidates[max(matches, key=lambda number: _preference(record, firsts[number]))]
    reasons = [(len(each), _settings_reason(each)) for each in differences]
    return min(reasons, default=(0, ""))[1]


def _preference(record: Record, baseline: Record) -> tuple[bool, bool, str]:
    version = _version_of(baseline)
    return not baseline_mismatch(record, baseline), version == _version_of(record), version


def _version_of(record: Record) -> str:
    """Versions of method, encoder and dataset as in a CSV: `1.1.1`."""
    versions = record.provenance.get("versions") or {}
    if isinstance(versions, str):
        return versions
    return ".".join(str(versions.get(kind, "")) for kind in KINDS)


def _differing_settings(record: Record, baseline: Record) -> dict[str, tuple[object, object]]:
    """Name -> (value of the run, value of the baseline) of each training setting that differs."""
    ours, theirs = _settings(record), _settings(baseline)
    names = [name for name in dict.fromkeys((*theirs, *ours)) if ours.get(name) != theirs.get(name)]
    if is_from_csv(baseline):
        names = [name for name in names if name == "epochs" or name.startswith("method ")]
    return {name: (ours.get(name), theirs.get(name)) for name in names}


def _settings(record: Record) -> dict[str, object]:
    params = {
        f"{kind} {name}": value
        for kind in ("method", "encoder")
        for name, value in (record.cell[kind].get("params") or {}).items()
    }
    return {**(record.cell.get("recipe") or {}), "epochs": epochs_of(record), **params}


def _settings_reason(settings: dict[str, tuple[object, object]]) -> str:
    listed = [f"{name}={_as_text(run)} (baseline {_as_text(baseline)})" for name, (run, baseline) in settings.items()]
    more = len(listed) - SHOWN_SETTINGS
    rest = f" and {more} more" if more > 0 else ""
    return f"different budget or parameters: {', '.join(listed[:SHOWN_SETTINGS])}{rest}"


def _as_text(value: object) -> str:
    """Floats without trailing zeros: 6, not 6.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def baseline_mismatch(record: Record, baseline: Record) -> str:
    """Why no score of a cell can be compared with its baseline; empty if they can."""
    stored, own = (str(each.cell["dataset"].get("fingerprint", "")) for each in (baseline, record))
    if is_from_csv(baseline):
        same = stored and own.startswith(stored)
        return "" if same else f"different dataset fingerprint: {own[:12]} and {stored[:12]}"
    return cell_mismatch(record, baseline)
