"""Records that differ only in the seed, their scores, and whether two of them can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from benchmark.records.columns import RecordSummary, grouping_digest
from benchmark.records.record import Record, Score, group_by_seed
from benchmark.records.store import OutcomeReader, RecordStore
from benchmark.stats.significance import SeedOutcomes

Member = TypeVar("Member")


class ScoreName(NamedTuple):
    """Evaluator, metric, tap and pooling of a score, without its protocol."""

    tap: str
    pool: str
    evaluator: str
    metric: str

    def __str__(self) -> str:
        features = "" if self.pool == "average" else f" ({self.pool})"
        return f"{self.evaluator} {self.metric} at {self.tap}{features}"


@dataclass(frozen=True, kw_only=True)
class SeedGroup:
    """Records that differ only in the seed."""

    records: tuple[Record, ...]
    """At least one, ordered by seed."""
    outcomes: OutcomeReader
    """Reads the per-image outcomes of a score of one of the records."""

    def read(self) -> SeedGroup:
        """The group itself, as of a `StoredGroup`."""
        return self

    @property
    def first(self) -> Record:
        """The record with the smallest seed."""
        return self.records[0]

    @property
    def label(self) -> str:
        """method/encoder/dataset."""
        return label_of(self.first)

    @property
    def grouping_key(self) -> str:
        """Equal for groups that differ only in their seeds."""
        return grouping_digest(self.first)

    @property
    def epochs(self) -> float:
        """Training epochs; 0 if nothing was trained."""
        return epochs_of(self.first)

    @property
    def name(self) -> str:
        """The label, followed by the seed if the group is one record that has one."""
        one_of_many = len(self.records) == 1 and self.records[0].seed is not None
        return f"{self.label}/{self.records[0].seed}" if one_of_many else self.label

    @property
    def seedless(self) -> bool:
        """Whether the method uses no random numbers."""
        return len(self.records) == 1 and self.records[0].seed is None

    @property
    def has_outcomes(self) -> bool:
        """Whether any score has per-image outcomes."""
        return any(self.outcomes(record, score) is not None for record in self.records for score in record.scores)

    def scores(self, *, all_metrics: bool = False) -> dict[ScoreName, SeedScores]:
        """The group's scores by name, in the order of the records.

        Args:
            all_metrics: whether to include every metric; otherwise each evaluator's headline only.
        """
        by_name: dict[ScoreName, list[tuple[Record, Score]]] = {}
        for record in self.records:
            for score in record.scores:
                if all_metrics or score.headline:
                    name = ScoreName(score.tap, score.pool, score.evaluator, score.metric)
                    by_name.setdefault(name, []).append((record, score))
        return {name: SeedScores(group=self, members=tuple(members)) for name, members in by_name.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredGroup:
    """Records that differ only in the seed, read when they are needed and not kept."""

    store: RecordStore
    positions: tuple[int, ...]
    """Indices into the store's columns: at least one, ordered by seed."""

    @property
    def summary(self) -> RecordSummary:
        """What the store's columns hold of the first record."""
        return self.store.columns.summaries[self.positions[0]]

    @property
    def label(self) -> str:
        """method/encoder/dataset."""
        return "/".join(self.summary.labels)

    @property
    def grouping_key(self) -> str:
        """Equal for groups that differ only in their seeds."""
        return self.summary.shared.grouping_key

    @property
    def epochs(self) -> float:
        """Training epochs; 0 if nothing was trained."""
        return self.summary.shared.epochs or 0

    @property
    def first(self) -> Record:
        """The record with the smallest seed."""
        return self.store.read(self.positions[0])

    def headline_means(self) -> dict[ScoreName, float]:
        """The mean of each headline score over the seeds, under its latest protocol, without reading the records."""
        columns, values = self.store.columns, dict[ScoreName, list[tuple[int, float]]]()
        for position in self.positions:
            numbers = columns.value[columns.offsets[position] : columns.offsets[position + 1]].tolist()
            for key, value in zip(columns.score_keys_of(position), numbers, strict=True):
                if key.headline:
                    name = ScoreName(key.tap, key.pool, key.evaluator, key.metric)
                    values.setdefault(name, []).append((_protocol_version(key.protocol), value))
        return {name: _mean_of_latest(members) for name, members in values.items()}

    def read(self) -> SeedGroup:
        """The group with its records."""
        return SeedGroup(records=tuple(self.store.records(self.positions)), outcomes=self.store.outcomes())


AnyGroup = SeedGroup | StoredGroup


@dataclass(frozen=True, kw_only=True)
class SeedScores:
    """One score of a group over its seeds."""

    group: SeedGroup
    members: tuple[tuple[Record, Score], ...]
    """At least one score, each with its record. A record may have one under several protocols."""

    @property
    def values(self) -> list[float]:
        """Raw."""
        return [score.value for _, score in self.members]

    @property
    def mean(self) -> float:
        """Over seeds, raw."""
        return float(np.mean(self.values))

    @property
    def higher_is_better(self) -> bool:
        """Direction of the metric, from the first member; all members agree."""
        return self.members[0][1].higher_is_better

    def outcomes(self) -> SeedOutcomes | None:
        """(seeds, images) per-image outcomes; None if a member has none, or their numbers of images differ."""
        arrays = [self.group.outcomes(record, score) for record, score in self.members]
        lengths = {len(array) for array in arrays if array is not None}
        if any(array is None for array in arrays) or len(lengths) != 1:
            return None
        return SeedOutcomes(outcomes=np.array(arrays, dtype=np.float64), seedless=self.group.seedless)

    def latest_protocol(self) -> SeedScores:
        """The members with the highest protocol version: a record keeps its scores of earlier versions."""
        versions = [_protocol_version(score.protocol) for _, score in self.members]
        latest = max(versions)
        members = [each for each, version in zip(self.members, versions, strict=True) if version == latest]
        return SeedScores(group=self.group, members=tuple(members))

    def of_protocol(self, protocol: str) -> SeedScores:
        """The members with this protocol; if there are none, those with the latest."""
        members = tuple(each for each in self.members if each[1].protocol == protocol)
        return SeedScores(group=self.group, members=members) if members else self.latest_protocol()


def _protocol_version(protocol: str) -> int:
    version = protocol.rpartition("@")[2]
    return int(version) if version.isdecimal() else 0


def _mean_of_latest(members: Sequence[tuple[int, float]]) -> float:
    latest = max(version for version, _ in members)
    return float(np.mean([value for version, value in members if version == latest]))


def label_of(record: Record) -> str:
    """method/encoder/dataset."""
    return "/".join(record.labels)


def epochs_of(record: Record) -> float:
    """Training epochs; 0 if nothing was trained."""
    epochs: float = (record.cell.get("recipe") or {}).get("epochs", 0)
    return epochs


def seed_groups(records: Iterable[Record], outcomes: OutcomeReader) -> list[SeedGroup]:
    """The finished records, grouped with those that differ only in the seed."""
    groups = ({record.seed: record for record in members} for members in group_by_seed(records))
    return [SeedGroup(records=_by_seed(members), outcomes=outcomes) for members in groups]


def stored_groups(store: RecordStore) -> list[StoredGroup]:
    """The finished records of a store, grouped with those that differ only in the seed."""
    return [stored_group(store, positions) for positions in store.seed_groups()]


def stored_group(store: RecordStore, positions: Iterable[int]) -> StoredGroup:
    """One group."""
    by_seed = {store.columns.summaries[position].seed: position for position in positions}
    return StoredGroup(store=store, positions=_by_seed(by_seed))


def _by_seed(members: Mapping[int | None, Member]) -> tuple[Member, ...]:
    """The members of a group by their seed, in its order. Of several with the same seed the last is used."""
    return tuple(members[seed] for seed in sorted(members, key=lambda seed: (seed is not None, seed or 0)))


# --- comparability ----------------------------------------------------------------------------------------------------


def cell_mismatch(a: Record, b: Record) -> str:
    """Why no score of cells A and B can be compared; empty if they can."""
    for record, side in ((a, "A"), (b, "B")):
        if record.state != "done":
            return f"{side} has no result: its state is {record.state}"
    data_a, data_b = a.cell["dataset"], b.cell["dataset"]
    for field, words in (("name", "dataset"), ("fingerprint", "dataset fingerprint"), ("subset", "training subset")):
        if data_a.get(field) != data_b.get(field):
            return f"different {words}: {_shortened(data_a.get(field))} and {_shortened(data_b.get(field))}"
    return ""


def score_mismatch(a: SeedScores | None, b: SeedScores | None, *, check_params: bool = True) -> str:
    """Why scores A and B of the same name cannot be compared; empty if they can.

    Args:
        a: None if the group has no such score.
        b: likewise.
        check_params: whether to require equal evaluator parameters; a CSV does not store them.
    """
    if a is None or b is None:
        return f"{'A' if a is None else 'B'} has no such score"
    fields = [("protocol", "protocol"), ("n", "number of test images"), ("params", "evaluator parameters")]
    for field, words in fields if check_params else fields[:2]:
        values_a, values_b = ({_as_text(getattr(score, field)) for _, score in side.members} for side in (a, b))
        if values_a != values_b or len(values_a) != 1:
            return f"different {words}: {'/'.join(sorted(values_a))} and {'/'.join(sorted(values_b))}"
    return ""


def _shortened(value: object) -> str:
    return "all" if value is None else str(value)[:12]


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
