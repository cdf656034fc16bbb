"""Records become tables: one row per score for machines, one table per evaluator for people. The only place that rounds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark import stats
from benchmark.records import Record, conditions

COLUMNS = (
    *("method", "encoder", "dataset", "seed", "epochs", "tap", "pool", "evaluator", "protocol", "metric"),
    *("value", "ci_low", "ci_high", "n", "train_seconds", "device", "cell", "method_params", "law", "fingerprint"),
    *("state", "version", "commit"),
)
"""Of a leaderboard CSV, in order."""
SORT = ["dataset", "method", "encoder", "method_params", "epochs", "seed", "cell", "evaluator", "pool", "tap", "metric"]
TIMES = ("train_seconds",)
"""Columns that differ between two runs of the same cells."""
DIGITS = 4
"""Decimals of a fraction in a table for people."""
HEADLINE = 5
"""Place of the first metric among the columns of a table for people."""
WIDEST = 5
"""Metrics in a table for people; all of them are in the CSV."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table for people: words, already rounded."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    """(row, column) of the values to be marked."""
    notes: tuple[str, ...] = ()
    kept: int = HEADLINE + 1
    """Columns from the left that stay however narrow the terminal is."""


@dataclass(frozen=True, kw_only=True)
class MissingCell:
    """A cell that was asked for and has no scores."""

    method: str
    encoder: str
    dataset: str
    seed: int | None
    reason: str


# --- for machines -----------------------------------------------------------------------------------------------------


def frame(records: Sequence[Record]) -> pd.DataFrame:
    """One row per score, columns as in COLUMNS, raw fractions, sorted so that a diff is readable."""
    rows = [row for record in records for row in _rows(record)]
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found.sort_values(SORT, kind="stable", na_position="first", ignore_index=True) if len(found) else found


def write_csv(records: Sequence[Record]) -> str:
    """The leaderboard as CSV text: numbers to 6 significant places, so that the same record gives the same bytes."""
    return frame(records).to_csv(index=False, float_format="%.6g", lineterminator="\n")


def records_as_json(records: Sequence[Record]) -> str:
    """The scores as JSON: a list of objects with the CSV's columns, missing values as null."""
    found = frame(records)
    return json.dumps(json.loads(found.to_json(orient="records", double_precision=15)), indent=1) + "\n"


def _rows(record: Record) -> list[dict[str, Any]]:
    cell, provenance = record.cell, record.provenance
    law = provenance.get("law", {})
    shared = {
        "method": cell["method"]["label"],
        "encoder": cell["encoder"]["label"],
        "dataset": cell["dataset"]["label"],
        "seed": pd.NA if cell["seed"] is None else cell["seed"],
        "epochs": cell.get("recipe", {}).get("epochs"),
        "train_seconds": record.cost.get("train_seconds"),
        "device": provenance.get("device_name") if provenance.get("device") == "cuda" else provenance.get("device"),
        "cell": record.id[:10],
        "method_params": json.dumps(cell["method"]["params"], sort_keys=True),
        "law": ".".join(str(law.get(kind, "")) for kind in ("method", "encoder", "dataset")),
        "fingerprint": str(cell["dataset"].get("fingerprint", ""))[:16],
        "state": record.state if record.checks.get("learned") is not False else "did not learn",
        "version": provenance.get("repbench"),
        "commit": _commit(provenance),
    }
    return [
        {
            **shared,
            "tap": score.tap,
            "pool": score.pool,
            "evaluator": score.evaluator,
            "protocol": score.protocol,
            "metric": score.metric,
            "value": score.value,
            "ci_low": score.ci_low,
            "ci_high": score.ci_high,
            "n": score.n,
        }
        for score in record.scores
    ]


def _commit(provenance: dict[str, Any]) -> str:
    commit = str(provenance.get("commit") or "")[:10]
    return f"{commit}+" if commit and provenance.get("dirty") else commit


# --- for people -------------------------------------------------------------------------------------------------------


def tables(records: Sequence[Record], missing: Sequence[MissingCell] = ()) -> list[Table]:
    """One table for each dataset and evaluator, best headline first.

    A value is the mean over seeds with its standard deviation; with one seed, the headline carries its 95 % interval
    over test images. Cells without scores have a row that says why; they are never averaged over.
    """
    usable = [record for record in records if record.scores]
    found = []
    groups: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in usable:
        for score in record.scores:
            key = (record.cell["dataset"]["label"], score.evaluator, score.pool, score.protocol)
            group = groups.setdefault(key, [])
            if not group or group[-1] is not record:
                group.append(record)
    for (dataset, evaluator, pool, protocol), group in groups.items():
        absent = [cell for cell in missing if cell.dataset == dataset] + [
            _unscored(record)
            for record in usable
            if record.failure and record.cell["dataset"]["label"] == dataset and record not in group
        ]
        found.append(_table(dataset, evaluator, pool, protocol, group, absent))
    shown = {dataset for dataset, *_ in groups} | {"-"}  # what a glob left out belongs to no dataset
    return found + [
        _only_missing(dataset, [cell for cell in missing if cell.dataset == dataset])
        for dataset in dict.fromkeys(cell.dataset for cell in missing)
        if dataset not in shown
    ]


def _unscored(record: Record) -> MissingCell:
    """A cell that has other scores, but failed before this evaluator's."""
    cell = record.cell
    return MissingCell(
        method=cell["method"]["label"],
        encoder=cell["encoder"]["label"],
        dataset=cell["dataset"]["label"],
        seed=cell["seed"],
        reason=_failure(record),
    )


def _only_missing(dataset: str, missing: Sequence[MissingCell]) -> Table:
    """What there is to say of a dataset on which no cell has a score."""
    return Table(
        title=f"no scores on {dataset}",
        columns=("method", "encoder", "seeds", "remarks"),
        rows=tuple((m.method, m.encoder, _seed(m), m.reason) for m in missing),
    )


def _seed(missing: MissingCell) -> str:
    return "-" if missing.seed is None else f"seed {missing.seed}"


def _table(
    dataset: str, evaluator: str, pool: str, protocol: str, records: Sequence[Record], missing: Sequence[MissingCell]
) -> Table:
    metrics, headline = _metrics(records, evaluator, pool, protocol)
    lines = _lines(records, evaluator, pool, protocol)
    sign = 1 if next((line.higher[headline] for line in lines if headline in line.higher), True) else -1
    lines.sort(key=lambda line: -sign * line.mean(headline) if headline in line.values else float("inf"))
    columns = ("method", "encoder", "tap", "epochs", "seeds", *metrics, "remarks")
    rows = [line.row(metrics, headline) for line in lines]
    rows += [(m.method, m.encoder, "-", "-", _seed(m), *("-" for _ in metrics), m.reason) for m in missing]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    how = {"average": "", "none": ", whole map"}.get(pool, f", {pool} features")
    return Table(
        title=f"{evaluator} on {dataset} ({protocol}{how}, n = {_counts(records, evaluator)} test images)",
        columns=columns,
        rows=tuple(rows),
        best=_best(lines, metrics),
        notes=_notes(lines),
    )


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One method on one encoder at one tap, over seeds."""

    method: str
    encoder: str
    tap: str
    epochs: int
    seeds: tuple[int | None, ...]
    values: dict[str, list[float]]
    intervals: dict[str, tuple[float, float] | None]
    higher: dict[str, bool]
    remark: str

    smoke: bool

    def mean(self, metric: str) -> float:
        return stats.spread(self.values[metric])[0]

    def row(self, metrics: Sequence[str], headline: str) -> tuple[str, ...]:
        seeds = "-" if self.seeds == (None,) else str(len(self.seeds))
        shown = (self._shown(metric, metric == headline) for metric in metrics)
        return (self.method, self.encoder, self.tap, str(self.epochs), seeds, *shown, self.remark)

    def _shown(self, metric: str, with_interval: bool) -> str:
        values = self.values.get(metric)
        if not values:
            return "missing"
        mean, spread, _ = stats.spread(values)
        if spread is not None:
            return f"{mean:.{DIGITS}f} ±{spread:.{DIGITS}f}"
        interval = self.intervals.get(metric)
        if with_interval and interval is not None:
            return f"{mean:.{DIGITS}f} [{interval[0]:.3f}, {interval[1]:.3f}]"
        return f"{mean:.{DIGITS}f}"


def _lines(records: Sequence[Record], evaluator: str, pool: str, protocol: str) -> list[_Line]:
    groups: dict[tuple[str, ...], list[tuple[Record, str]]] = {}
    for record in records:
        taps = dict.fromkeys(
            s.tap for s in record.scores if (s.evaluator, s.pool, s.protocol) == (evaluator, pool, protocol)
        )
        for tap in taps:
            groups.setdefault((conditions(record), tap), []).append((record, tap))
    return [_line([record for record, _ in group], key[-1], evaluator, pool, protocol) for key, group in groups.items()]


def _line(records: Sequence[Record], tap: str, evaluator: str, pool: str, protocol: str) -> _Line:
    values: dict[str, list[float]] = {}
    intervals: dict[str, tuple[float, float] | None] = {}
    higher: dict[str, bool] = {}
    for record in records:
        for score in record.scores:
            if (score.tap, score.evaluator, score.pool, score.protocol) != (tap, evaluator, pool, protocol):
                continue
            values.setdefault(score.metric, []).append(score.value)
            both = score.ci_low is not None and score.ci_high is not None
            intervals[score.metric] = (score.ci_low or 0.0, score.ci_high or 0.0) if both else None
            higher[score.metric] = score.higher_is_better
    cell = records[0].cell
    return _Line(
        method=cell["method"]["label"],
        encoder=cell["encoder"]["label"],
        tap=tap,
        epochs=cell.get("recipe", {}).get("epochs", 0),
        seeds=tuple(record.cell["seed"] for record in records),
        values=values,
        intervals=intervals,
        higher=higher,
        remark=_remark(records),
        smoke=records[0].state == "smoke",
    )


def _remark(records: Sequence[Record]) -> str:
    words = []
    dull = [record for record in records if record.checks.get("learned") is False]
    if dull:
        words.append("did not learn" if len(dull) == len(records) else f"{len(dull)} of {len(records)} did not learn")
    if any(record.state == "smoke" for record in records):
        words.append("smoke: no result")
    if any(record.failure for record in records):
        words.append("not all scores: " + _failure(next(record for record in records if record.failure)))
    return "; ".join(words)


def _failure(record: Record) -> str:
    return " ".join(str((record.failure or {}).get("reason", "")).split())


def _metrics(records: Sequence[Record], evaluator: str, pool: str, protocol: str) -> tuple[list[str], str]:
    """The metrics to show, headline first, then others of its kind, then in the order given; and the headline's name."""
    scores = [s for r in records for s in r.scores if (s.evaluator, s.pool, s.protocol) == (evaluator, pool, protocol)]
    names = list(dict.fromkeys(score.metric for score in scores))
    headline = next((score.metric for score in scores if score.headline), names[0])
    kind = headline.partition("@")[0]
    others = sorted((name for name in names if name != headline), key=lambda name: name.partition("@")[0] != kind)
    return [headline, *others][:WIDEST], headline


def _counts(records: Sequence[Record], evaluator: str) -> str:
    counts = sorted({score.n for record in records for score in record.scores if score.evaluator == evaluator})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _best(lines: Sequence[_Line], metrics: Sequence[str]) -> frozenset[tuple[int, int]]:
    """The best mean of each column, among rows of two seeds or more; one run proves no winner."""
    marked = set()
    for column, metric in enumerate(metrics, start=HEADLINE):
        means = {
            number: line.mean(metric) * (1 if line.higher[metric] else -1)
            for number, line in enumerate(lines)
            if len(line.values.get(metric, ())) >= 2 and not line.smoke
        }
        if len(means) >= 2:
            marked |= {(number, column) for number, mean in means.items() if mean == max(means.values())}
    return frozenset(marked)


def _notes(lines: Sequence[_Line]) -> tuple[str, ...]:
    counts = {len(line.seeds) for line in lines if line.seeds != (None,)}
    notes = []
    several = [count for count in counts if count > 1]
    if several:
        small = f" Fewer than 3 seeds ({min(several)}): the spread itself is hardly known." if min(several) < 3 else ""
        notes.append(f"± is the standard deviation over seeds.{small}")
    if 1 in counts:
        notes.append(
            "1 seed: [ ] is the 95 % interval over test images; how much training again would change is not known."
        )
    elif any(line.seeds == (None,) for line in lines):
        notes.append("Without seeds: [ ] is the 95 % interval over test images.")
    return tuple(notes)
