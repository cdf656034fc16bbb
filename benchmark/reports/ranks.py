"""Simultaneous rank intervals of a table's rows, from per-image outcomes.

Outcomes are read only for the rows of a table, and only if there are few enough: the index of an output folder has none,
and a table must not wait for 10,000 files.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import RecordError
from benchmark.records.columns import Columns, RecordSummary, ScoreKey, columns_of
from benchmark.records.outcomes import read_outcome
from benchmark.records.record import Record, Score, ScoreId, by_score_key
from benchmark.records.record_files import read_record
from benchmark.records.store import RecordStore
from benchmark.reports.aggregate import AggregatedRow, AggregatedScores, GroupMembers
from benchmark.reports.score_tables import Ranks
from benchmark.stats import multiple_testing
from benchmark.stats.significance import SeedOutcomes

TieMode = Literal["auto", "on", "off"]
PAIR_WORK = 3000
"""Cost of comparing a pair of rows, in values."""
MEANING = (
    "rank: 95 % simultaneous rank interval among {rows} rows (Holm), for retrained models and new test images: "
    "1 + significantly better rows to {rows} - significantly worse rows."
)
ONE_SEED = "1 seed"
NO_RANK = "-"


@dataclass(frozen=True, kw_only=True)
class RankLimits:
    """Limits of the work that `auto` does."""

    rows: int = 60
    """Rows of a table: every row is compared with every other."""
    work: int = 5 * 10**7
    """Values (rows x rows x seeds x images) compared over all tables: two seconds."""
    files: int = 500
    """Records whose outcomes are read."""
    records: int = 1000
    """Records of the folder."""


Outcomes = NDArray[Any]
ReadOutcomes = Callable[[RecordSummary, ScoreKey], Outcomes | None]
"""Reads the outcomes (images,) whose mean is a score of a record; None if it has none."""


def ranker(
    records: Sequence[Record] | Columns, ties: TieMode, source: Path | RecordStore | None = None
) -> Ranker | None:
    """A function that ranks the rows of score tables; None for `off`.

    Args:
        records: those of the tables.
        ties: `on` ranks all tables, `auto` those that take a second or two together.
        source: the output folder or the store of the records; None if the records know their folders.
    """
    if ties == "off":
        return None
    if isinstance(source, RecordStore):
        outcomes = outcomes_of_store(source)
    elif isinstance(records, Columns):
        outcomes = outcomes_of_index(source or Path())
    else:
        outcomes = outcomes_of_records(records)
    return Ranker(columns_of(records), outcomes, ties)


def outcomes_of_index(out: Path) -> ReadOutcomes:
    """Outcomes of records that were read from the index of an output folder."""

    @functools.lru_cache(maxsize=RankLimits.files)
    def read(folder: str) -> tuple[Record, dict[ScoreId, Score]]:
        record = read_record(out / folder)
        return record, by_score_key(record.scores)

    return lambda summary, key: _read_one(*read(summary.folder), key)


def outcomes_of_records(records: Sequence[Record]) -> ReadOutcomes:
    """Outcomes of records with a folder, read from that folder."""
    by_id = {record.id: record for record in records}

    def read(summary: RecordSummary, key: ScoreKey) -> Outcomes | None:
        record = by_id[summary.id]
        return _read_one(record, by_score_key(record.scores), key)

    return read


def outcomes_of_store(store: RecordStore) -> ReadOutcomes:
    """Outcomes of the records of a store."""
    outcomes = store.outcomes()

    @functools.lru_cache(maxsize=RankLimits.files)
    def read(record_id: str) -> tuple[Record, dict[ScoreId, Score]]:
        record = store.read_id(record_id)
        return record, by_score_key(record.scores)

    def read_one(summary: RecordSummary, key: ScoreKey) -> Outcomes | None:
        record, scores = read(summary.id)
        score = scores.get(_score_id(key))
        return None if score is None else outcomes(record, score)

    return read_one


def _read_one(record: Record, scores: Mapping[ScoreId, Score], key: ScoreKey) -> Outcomes | None:
    score = scores.get(_score_id(key))
    return None if score is None else read_outcome(record, score)


def _score_id(key: ScoreKey) -> ScoreId:
    return (key.tap, key.pool, key.evaluator, key.protocol, key.metric)


class Ranker:
    """Ranks the rows of several tables within a shared budget of work."""

    def __init__(
        self, columns: Columns, outcomes: ReadOutcomes, ties: TieMode, limits: RankLimits = RankLimits()
    ) -> None:
        self._columns = columns
        self._outcomes = outcomes
        self._unlimited = ties == "on"
        self._members = GroupMembers(columns)
        self._limits = limits
        self._work = limits.work
        self._files: set[int] = set()

    def __call__(self, table: AggregatedScores, rows: Sequence[AggregatedRow]) -> Ranks:
        """The ranks of a table's rows, best first, by its headline. Empty if fewer than two can be ranked."""
        scores = [[] if row.smoke else self._members.of(table, row, table.headline) for row in rows]
        rankable = [
            index for index, row in enumerate(rows) if scores[index] and (len(scores[index]) > 1 or row.seedless)
        ]
        if len(rankable) < 2:
            return Ranks(labels=())
        if not self._unlimited and not self._reserve(table, [scores[index] for index in rankable]):
            limits = f"{self._limits.rows} rows, {self._limits.records} records or two seconds of work"
            return Ranks(labels=(), notes=(f"No ranks: more than {limits}. --ties on computes them.",))
        try:
            samples = {index: self._sample(rows[index], scores[index]) for index in rankable}
        except RecordError as error:
            return Ranks(labels=(), notes=(f"No ranks: {error}.",))
        known = {index: sample for index, sample in samples.items() if sample is not None}
        return _rank(table, rows, scores, known)

    def _reserve(self, table: AggregatedScores, scores: Sequence[Sequence[int]]) -> bool:
        """Whether the budget allows for a table; if so, its work is subtracted."""
        records = {int(self._columns.record_index[score]) for of_row in scores for score in of_row}
        work = len(scores) * (sum(map(len, scores)) * table.max_images + len(scores) * PAIR_WORK)
        limits, files = self._limits, self._files | records
        if len(scores) > limits.rows or len(files) > limits.files or len(self._columns) > limits.records:
            return False
        if work > self._work:
            return False
        self._work -= work
        self._files = files
        return True

    def _sample(self, row: AggregatedRow, scores: Sequence[int]) -> tuple[SeedOutcomes, str] | None:
        """The outcomes of a row and an identifier of their images; None if a score has no outcomes."""
        columns = self._columns
        outcomes: list[NDArray[np.float64]] = []
        for score in scores:
            summary = columns.summaries[int(columns.record_index[score])]
            values = self._outcomes(summary, columns.score_keys[columns.score_key[score]])
            if values is None or (outcomes and values.shape != outcomes[0].shape):
                return None
            outcomes.append(np.asarray(values, np.float64))
        images = f"{row.first.shared.fingerprint} {outcomes[0].shape}"
        return SeedOutcomes(outcomes=np.stack(outcomes), seedless=row.seedless), images


def _rank(
    table: AggregatedScores,
    rows: Sequence[AggregatedRow],
    scores: Sequence[Sequence[int]],
    samples: Mapping[int, tuple[SeedOutcomes, str]],
) -> Ranks:
    """Ranks among the rows scored on the same images: the images of most rows."""
    if not samples:
        return Ranks(labels=(), notes=(f"No ranks: {table.headline} has no per-image outcomes.",))
    images, _ = Counter(images for _, images in samples.values()).most_common(1)[0]
    ranked = [index for index, (_, own) in samples.items() if own == images]
    if len(ranked) < 2:
        return Ranks(labels=(), notes=("No ranks: no two rows were scored on the same test images.",))
    higher = rows[ranked[0]].values[table.headline].higher_is_better
    intervals = multiple_testing.rank_intervals([samples[index][0] for index in ranked], higher_is_better=higher)
    labels = {index: str(interval) for index, interval in zip(ranked, intervals, strict=True)}
    for index, row in enumerate(rows):
        labels.setdefault(index, ONE_SEED if len(scores[index]) == 1 and not row.smoke else NO_RANK)
    texts = tuple(labels[index] for index in range(len(rows)))
    notes = [MEANING.format(rows=len(ranked))]
    if ONE_SEED in texts:
        notes.append("rank, 1 seed: variance across seeds unknown, so the row cannot be ranked.")
    if any(text == NO_RANK and not row.smoke for text, row in zip(texts, rows, strict=True)):
        notes.append("rank, -: no outcomes on the test images of the other rows.")
    return Ranks(labels=texts, notes=tuple(notes))
