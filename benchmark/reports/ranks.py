"""Ranks of a table's rows, as far as they can be told apart: outcomes of single test images are read here, where they pay.

Outcomes are read for the rows of a table alone, and only once it is known that there are few enough of them: the index of a
large folder has none, and a table is not to wait for ten thousand files.
"""

from __future__ import annotations

import functools
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import RecordError
from benchmark.records.columns import Columns, RecordSummary, ScoreKey, columns_of
from benchmark.records.leaderboard import read_outcomes
from benchmark.records.record import PREDICTIONS, Record, read_record
from benchmark.reports.aggregate import AggregatedRow, AggregatedScores, GroupMembers
from benchmark.reports.score_tables import Ranks
from benchmark.stats import multiple_testing
from benchmark.stats.significance import SeedOutcomes

TieMode = Literal["auto", "on", "off"]
ROWS = 60
"""A longer table has no ranks unless they are asked for: every row is compared with every other."""
WORK = 5 * 10**7
"""Values (rows x rows x seeds x images) that all tables together may compare unasked: two seconds."""
PAIR = 3000
"""Values in whose time a pair of rows is compared that have none."""
FILES = 500
"""Records whose outcomes may be read unasked."""
MANY = 1000
"""Of a folder with more records no outcomes are read unasked."""
MEANING = (
    "rank: the places that a row may have among N, from 1 + rows surely better to N - rows surely worse, if all were "
    "trained again and met other test images (95 % for the table, Holm)."
)
TOO_MANY = (
    f"Ranks are left out where they take long: more than {ROWS} rows, {MANY} records, or seconds of work; --ties on "
    "shows them."
)
ONE_SEED = "1 seed"
OTHER = "-"

Outcomes = Callable[[RecordSummary, ScoreKey], NDArray[Any] | None]
"""A record and what a score of it is of -> (images,) what its value is the mean of; None where it has none."""


def ranker(records: Sequence[Record] | Columns, ties: TieMode, source: Path | None = None) -> Ranker | None:
    """What ranks the rows of the records' tables; None for `off`.

    Args:
        records: as handed to `tables.tables`.
        ties: `on` computes all, `auto` those that take no longer than a second or two together.
        source: the output folder or leaderboard that they were read from; None: records know their folders.
    """
    if ties == "off":
        return None
    if isinstance(records, Columns):
        return Ranker(records, outcomes_in_folder(source or Path()), ties)
    outcomes = outcomes_of_records(records) if source is None else outcomes_of_board(source, records)
    return Ranker(columns_of(records), outcomes, ties)


def outcomes_in_folder(out: Path) -> Outcomes:
    """Those of records that were read from an output folder's index."""

    @functools.lru_cache(maxsize=FILES)
    def names(folder: str) -> dict[tuple[str, ...], str]:
        return _names(read_record(out / folder))

    return lambda brief, kind: _from_file(out / brief.folder, names(brief.folder).get(_key(kind)))


def outcomes_of_records(records: Sequence[Record]) -> Outcomes:
    """Those of records that know their folders."""
    by_id = {record.id: record for record in records}

    def find(brief: RecordSummary, kind: ScoreKey) -> NDArray[Any] | None:
        record = by_id[brief.id]
        return _from_file(Path(record.folder), _names(record).get(_key(kind)))

    return find


def outcomes_of_board(path: Path, records: Sequence[Record]) -> Outcomes:
    """Those of a leaderboard, from the `.outcomes.npz` beside its `.jsonl`."""
    by_id = {record.id: _names(record) for record in records}

    @functools.cache
    def stored() -> Mapping[str, NDArray[Any]]:
        file = path.with_name(f"{path.stem}.outcomes.npz")
        return read_outcomes(file) if file.exists() else {}

    return lambda brief, kind: stored().get(f"{brief.id[:16]}|{by_id[brief.id].get(_key(kind))}")


class Ranker:
    """Ranks of the tables of some records, within a budget of work that all of them share."""

    def __init__(self, columns: Columns, outcomes: Outcomes, ties: TieMode) -> None:
        self.columns = columns
        self.outcomes = outcomes
        self.unbounded = ties == "on"
        self.members = GroupMembers(columns)
        self.work, self.files = WORK, set[int]()

    def __call__(self, sheet: AggregatedScores, lines: Sequence[AggregatedRow]) -> Ranks:
        """The ranks of a sheet's lines by its headline, best first. None where fewer than two can be ranked."""
        metric = sheet.metrics[0]
        scores = [[] if line.smoke else self.members.of(sheet, line, metric) for line in lines]
        able = [
            place for place, line in enumerate(lines) if scores[place] and (len(scores[place]) > 1 or line.seedless)
        ]
        if len(able) < 2:
            return Ranks(labels=())
        if not self.unbounded and not self._affordable(sheet, [scores[place] for place in able]):
            return Ranks(labels=(), notes=(TOO_MANY,))
        try:
            samples = {place: self._sample(lines[place], scores[place]) for place in able}
        except RecordError as error:
            return Ranks(labels=(), notes=(f"No ranks: {error}.",))
        return _ranked(sheet, lines, scores, {place: found for place, found in samples.items() if found is not None})

    def _affordable(self, sheet: AggregatedScores, scores: Sequence[Sequence[int]]) -> bool:
        """Whether the budget allows for it; if so, it is taken off."""
        records = {int(self.columns.record[score]) for found in scores for score in found}
        work = len(scores) * (sum(len(found) for found in scores) * sheet.most + len(scores) * PAIR)
        few = len(scores) <= ROWS and len(self.files | records) <= FILES and len(self.columns) <= MANY
        if not few or work > self.work:
            return False
        self.work -= work
        self.files |= records
        return True

    def _sample(self, line: AggregatedRow, scores: Sequence[int]) -> tuple[SeedOutcomes, str] | None:
        """Outcomes of a line and the images that they are of; None where its score has none."""
        columns = self.columns
        found: list[NDArray[np.float64]] = []
        for score in scores:
            brief = columns.briefs[int(columns.record[score])]
            outcomes = self.outcomes(brief, columns.kinds[columns.kind[score]])
            if outcomes is None or (found and outcomes.shape != found[0].shape):
                return None
            found.append(np.asarray(outcomes, np.float64))
        images = f"{line.first.common.fingerprint} {found[0].shape}"
        return SeedOutcomes(outcomes=np.stack(found), seedless=line.seedless), images


def _ranked(
    sheet: AggregatedScores,
    lines: Sequence[AggregatedRow],
    scores: Sequence[Sequence[int]],
    samples: Mapping[int, tuple[SeedOutcomes, str]],
) -> Ranks:
    """Ranks among the lines that were scored on the same images, those on which most were."""
    metric = sheet.metrics[0]
    if not samples:
        return Ranks(labels=(), notes=(f"No ranks: no outcomes of single images behind {metric}.",))
    images, _ = Counter(images for _, images in samples.values()).most_common(1)[0]
    ranked = [place for place, (_, found) in samples.items() if found == images]
    if len(ranked) < 2:
        return Ranks(labels=(), notes=("No ranks: no two rows were scored on the same test images.",))
    higher = lines[ranked[0]].values[metric].higher_is_better
    found = multiple_testing.rank_intervals([samples[place][0] for place in ranked], higher_is_better=higher)
    by_place = dict(zip(ranked, found, strict=True))
    shown = [
        str(by_place[place]) if place in by_place else ONE_SEED if len(each) == 1 and not lines[place].smoke else OTHER
        for place, each in enumerate(scores)
    ]
    notes = [MEANING.replace("N", str(len(ranked)))]
    if ONE_SEED in shown:
        notes.append("rank, 1 seed: nothing is known of training again, so the row is told from no other.")
    if any(word == OTHER and not line.smoke for word, line in zip(shown, lines, strict=True)):
        notes.append(f"rank, {OTHER}: no outcomes on the test images of the others.")
    return Ranks(labels=tuple(shown), notes=tuple(notes))


def _key(kind: ScoreKey) -> tuple[str, ...]:
    return (kind.tap, kind.pool, kind.evaluator, kind.protocol, kind.metric)


def _names(record: Record) -> dict[tuple[str, ...], str]:
    """Key of each score that has outcomes -> their name."""
    return {score.key(): score.outcomes for score in record.scores if score.outcomes is not None}


def _from_file(folder: Path, name: str | None) -> NDArray[Any] | None:
    """One array of a cell's predictions.

    Raises:
        RecordError: the file is there and not whole.
    """
    path = folder / PREDICTIONS
    if name is None or not path.exists():
        return None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return np.asarray(file[name]) if name in file.files else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"{path} is not whole ({error}); run the cell again with --rerun all") from error
