"""Records become tables: one row per score for machines, one table per evaluator for people. The only place that rounds."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.columns import Brief, Columns, Whole, columns_of
from benchmark.marks import notes as notes_of_marks
from benchmark.marks import shared, words
from benchmark.records import Record
from benchmark.sheets import Line, Sheet, Value, sheets

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("method", "encoder", "dataset", "seed", "epochs", "tap", "pool", "evaluator", "protocol", "metric"),
    *("value", "ci_low", "ci_high", "n", "train_seconds", "device", "cell", "method_params", "law", "fingerprint"),
    *("state", "version", "commit", "images_seen", "peak_memory_bytes", "precision"),
)
"""Of a leaderboard CSV, in order."""
OF_RECORD = (*COLUMNS[:5], *COLUMNS[14:])
OF_KIND = COLUMNS[5:10]
"""Columns that all scores of a record share, and those that say what a score is of."""
SORT_RECORDS = ("dataset", "method", "encoder", "method_params", "epochs", "seed", "cell")
SORT_KINDS = ("evaluator", "pool", "tap", "metric")
"""By what rows are sorted: first the records, then the scores of each."""
TIMES = ("train_seconds", "peak_memory_bytes")
"""Columns that differ between two runs of the same cells."""
DIGITS = 4
"""Decimals of a fraction in a table for people."""
HEADLINE = 5
"""Place of the first metric among the columns of a table for people."""
NEAR = 1e-9
"""Doubt about a standard deviation, as a part of it and of the mean."""


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


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Where each row of a table may stand, as far as its headline can be told from the others'."""

    shown: tuple[str, ...]
    """One for each line: `1-4`, `1 seed`; none at all where nothing can be said of any two lines."""
    notes: tuple[str, ...] = ()


Ranker = Callable[[Sheet, Sequence[Line]], Ranks]
"""A sheet and its lines, best first, to their ranks."""


# --- for machines -----------------------------------------------------------------------------------------------------


def frame(records: Sequence[Record] | Columns) -> pd.DataFrame:
    """One row per score, columns as in COLUMNS, raw fractions, sorted so that a diff is readable."""
    import pandas as pd  # here, so that a table for people does not wait for it

    columns = _scored(records)
    order = _order(columns)
    rows = [_of_record(brief) for brief in columns.briefs]
    rows = [{**row, "seed": pd.NA if row["seed"] is None else row["seed"]} for row in rows]
    of_record = pd.DataFrame(rows, columns=list(OF_RECORD))
    of_kind = pd.DataFrame([{name: getattr(each, name) for name in OF_KIND} for each in columns.kinds])
    scores = {"value": columns.value, "ci_low": columns.low, "ci_high": columns.high, "n": columns.n}
    found = {
        **{name: of_record[name].array.take(columns.record[order]) for name in OF_RECORD},
        **{name: of_kind[name].array.take(columns.kind[order]) for name in OF_KIND if len(of_kind)},
        **{name: numbers[order] for name, numbers in scores.items()},
    }
    return pd.DataFrame(found, columns=list(COLUMNS))


def write_csv(records: Sequence[Record] | Columns) -> str:
    """The leaderboard as CSV text: numbers to 6 significant places, so that the same record gives the same bytes."""
    columns = _scored(records)
    order = _order(columns)
    shared = [_of_record(brief) for brief in columns.briefs]
    for name in ("epochs", "train_seconds", "images_seen", "peak_memory_bytes"):
        for row, text in zip(shared, _numbers([row[name] for row in shared]), strict=True):
            row[name] = text
    before, after = (_joined([row[name] for name in names] for row in shared) for names in (COLUMNS[:5], COLUMNS[14:]))
    between = _joined([getattr(kind, name) for name in OF_KIND] for kind in columns.kinds)
    places = (columns.record, columns.kind, columns.value, columns.low, columns.high, columns.n)
    lines = [
        f"{before[record]},{between[kind]},{value:.6g},{low:.6g},{high:.6g},{n},{after[record]}"
        if low == low and high == high  # an end that is none is NaN
        else f"{before[record]},{between[kind]},{value:.6g},{_end(low)},{_end(high)},{n},{after[record]}"
        for record, kind, value, low, high, n in zip(*(each[order].tolist() for each in places), strict=True)
    ]
    return "\n".join([",".join(COLUMNS), *lines, ""])


def records_as_json(records: Sequence[Record] | Columns) -> str:
    """The scores as JSON: a list of objects with the CSV's columns, missing values as null."""
    found = frame(records)
    return json.dumps(json.loads(found.to_json(orient="records", double_precision=15)), indent=1) + "\n"


def _columns(records: Sequence[Record] | Columns) -> Columns:
    return records if isinstance(records, Columns) else columns_of(records)


def _scored(records: Sequence[Record] | Columns) -> Columns:
    """Those that have scores."""
    columns = _columns(records)
    return columns if columns.count.all() else columns.chosen(np.flatnonzero(columns.count).tolist())


def _of_record(brief: Brief) -> dict[str, Any]:
    common = brief.common
    return {
        "method": common.method,
        "encoder": common.encoder,
        "dataset": common.dataset,
        "seed": brief.seed,
        "epochs": common.epochs,
        "train_seconds": brief.train_seconds,
        "device": common.device,
        "cell": brief.id[:10],
        "method_params": common.method_params,
        "law": common.law,
        "fingerprint": common.fingerprint,
        "state": "did not learn" if brief.dull else brief.state,
        "version": common.version,
        "commit": common.commit,
        "images_seen": brief.images_seen,
        "peak_memory_bytes": brief.peak_memory_bytes,
        "precision": common.precision,
    }


def _order(columns: Columns) -> Whole:
    """The places of all scores, sorted; what has no epochs or seed comes first."""
    rows = [_of_record(brief) for brief in columns.briefs]
    of_record = _ranks(
        [
            tuple(
                (row[name] is not None, row[name] or 0) if name in ("epochs", "seed") else row[name]
                for name in SORT_RECORDS
            )
            for row in rows
        ]
    )
    of_kind = _ranks([tuple(getattr(kind, name) for name in SORT_KINDS) for kind in columns.kinds])
    return np.argsort(of_record[columns.record] * (len(of_kind) + 1) + of_kind[columns.kind], kind="stable")


def _ranks(keys: Sequence[tuple[Any, ...]]) -> Whole:
    """The rank of each key; equal keys have the same."""
    ranks = {key: rank for rank, key in enumerate(sorted(set(keys)))}
    return np.array([ranks[key] for key in keys], np.int64)


def _numbers(values: Sequence[float | None]) -> list[str]:
    """A column of numbers: whole ones as they are if all are whole."""
    if all(isinstance(value, int) for value in values):
        return [str(value) for value in values]
    return ["" if value is None else f"{value:.6g}" for value in values]


def _end(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"


def _joined(rows: Iterable[Sequence[object]]) -> list[str]:
    """Each row's fields as they stand in a CSV."""
    lines: list[str] = []
    writer = csv.writer(_Lines(lines), lineterminator="\n")
    writer.writerows(rows)
    return [line[:-1] for line in lines]


class _Lines:
    """A file that keeps each row apart: a field may hold a line break."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


# --- for people -------------------------------------------------------------------------------------------------------


def tables(
    records: Sequence[Record] | Columns, missing: Sequence[MissingCell] = (), rank: Ranker | None = None
) -> list[Table]:
    """One table for each dataset and evaluator, best headline first; with a ranker, a column of ranks after it.

    A value is the mean over seeds with its standard deviation; with one seed, the headline carries its 95 % interval
    over test images. Cells without scores have a row that says why; they are never averaged over.
    """
    columns = _scored(records)
    absent: dict[str, list[MissingCell]] = {}
    for cell in missing:
        absent.setdefault(cell.dataset, []).append(cell)
    found = [_table(sheet, absent.get(sheet.dataset, []), rank) for sheet in sheets(columns)]
    shown = {brief.common.dataset for brief in columns.briefs} | {"-"}  # what a glob left out belongs to no dataset
    return found + [_only_missing(dataset, cells) for dataset, cells in absent.items() if dataset not in shown]


def _only_missing(dataset: str, missing: Sequence[MissingCell]) -> Table:
    """What there is to say of a dataset on which no cell has a score."""
    return Table(
        title=f"no scores on {dataset}",
        columns=("method", "encoder", "seeds", "remarks"),
        rows=tuple((m.method, m.encoder, _seed(m), m.reason) for m in missing),
    )


def _seed(missing: MissingCell) -> str:
    return "-" if missing.seed is None else f"seed {missing.seed}"


def _table(sheet: Sheet, missing: Sequence[MissingCell], rank: Ranker | None) -> Table:
    metrics, lines = sheet.metrics, sorted_lines(sheet)
    columns = ("method", "encoder", "tap", "epochs", "seeds", *metrics, "remarks")
    marks = [words(line.marks, sheet.evaluator) for line in lines]
    everywhere = shared(marks)
    rows = [
        _row(line, metrics, sheet.values, [word for word in found if word not in everywhere])
        for line, found in zip(lines, marks, strict=True)
    ]
    absent = [*missing, *(_unscored(brief) for brief in sheet.unscored)]
    rows += [(m.method, m.encoder, "-", "-", _seed(m), *("-" for _ in metrics), m.reason) for m in absent]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    table = Table(
        title=title(sheet),
        columns=columns,
        rows=tuple(rows),
        best=_best(lines, metrics),
        notes=(*notes_on_seeds(lines), *notes_of_marks(marks)),
    )
    return table if rank is None else _with_ranks(table, rank(sheet, lines))


def sorted_lines(sheet: Sheet) -> list[Line]:
    """The lines of a sheet, best headline first; those without one last."""
    headlines = [line.values.get(sheet.metrics[0]) for line in sheet.lines]
    sign = 1 if next((value.higher_is_better for value in headlines if value), True) else -1
    order = sorted(
        range(len(headlines)), key=[-sign * each.mean if each else math.inf for each in headlines].__getitem__
    )
    return [sheet.lines[place] for place in order]


def title(sheet: Sheet) -> str:
    """What a table says it is of."""
    how = {"average": "", "none": ", whole map"}.get(sheet.pool, f", {sheet.pool} features")
    images = str(sheet.fewest) if sheet.fewest == sheet.most else f"{sheet.fewest} to {sheet.most}"
    return f"{sheet.evaluator} on {sheet.dataset} ({sheet.protocol}{how}, n = {images} test images)"


def _with_ranks(table: Table, ranks: Ranks) -> Table:
    """The table with a column of ranks after the headline, if there are any."""
    if not ranks.shown:
        return replace(table, notes=(*table.notes, *ranks.notes))
    after = HEADLINE + 1
    shown = (*ranks.shown, *("-" for _ in table.rows[len(ranks.shown) :]))  # rows of what is missing stand last
    return replace(
        table,
        columns=(*table.columns[:after], "rank", *table.columns[after:]),
        rows=tuple((*row[:after], rank, *row[after:]) for row, rank in zip(table.rows, shown, strict=True)),
        best=frozenset((row, column + (column >= after)) for row, column in table.best),
        notes=(*table.notes, *ranks.notes),
        kept=after + 1,
    )


def _unscored(brief: Brief) -> MissingCell:
    """A cell that has other scores, but failed before this evaluator's."""
    common, reason = brief.common, _reason(brief)
    return MissingCell(
        method=common.method, encoder=common.encoder, dataset=common.dataset, seed=brief.seed, reason=reason
    )


def _reason(brief: Brief) -> str:
    return " ".join((brief.failure or "").split())


def _row(line: Line, metrics: Sequence[str], values: Sequence[float], marks: Sequence[str]) -> tuple[str, ...]:
    common = line.first.common
    numbers = [shown(line.values.get(metric), values, metric is metrics[0]) for metric in metrics]
    return (common.method, common.encoder, line.tap, common.shown_epochs, seeds(line), *numbers, remark(line, marks))


def seeds(line: Line) -> str:
    """Their number, `-` where chance plays no part."""
    return "-" if line.seedless else str(line.records)


def shown(value: Value | None, values: Sequence[float], with_interval: bool) -> str:
    """A metric of a line: mean and spread over seeds; of one seed, with its interval over test images if that is wanted.

    Args:
        value: None where it is missing.
        values: of the sheet.
        with_interval: whether it is the headline.
    """
    if value is None:
        return "missing"
    if value.records > 1:
        return f"{value.mean:.{DIGITS}f} ±{_deviation(value, values):.{DIGITS}f}"
    if with_interval and value.interval is not None:
        return f"{value.mean:.{DIGITS}f} [{value.interval[0]:.3f}, {value.interval[1]:.3f}]"
    return f"{value.mean:.{DIGITS}f}"


def _deviation(value: Value, values: Sequence[float]) -> float:
    """The standard deviation over seeds, exact where so little as is in doubt would change a digit that is shown.

    Exact ones are made of fractions and take a tenth of a millisecond, as long as a row of all the rest.
    """
    last = value.spread * 10**DIGITS  # the digit that is rounded stands behind the point
    if abs(last % 1 - 0.5) > NEAR * (last + 10**DIGITS * abs(value.mean)):
        return value.spread
    return statistics.stdev(values[value.start : value.start + value.records])


def remark(line: Line, marks: Sequence[str]) -> str:
    """What a reader of the row has to know beside its numbers, with these marks."""
    found = []
    if line.dull:
        found.append("did not learn" if line.dull == line.records else f"{line.dull} of {line.records} did not learn")
    if line.smoke:
        found.append("smoke: no result")
    found += marks
    if line.failed is not None:
        found.append("not all scores: " + _reason(line.failed))
    return "; ".join(found)


def _best(lines: Sequence[Line], metrics: Sequence[str]) -> frozenset[tuple[int, int]]:
    """The best mean of each column, among rows of two seeds or more; one run proves no winner."""
    marked = set()
    for column, metric in enumerate(metrics, start=HEADLINE):
        found = ((number, line.values.get(metric)) for number, line in enumerate(lines) if not line.smoke)
        able = {
            n: value.mean * (1 if value.higher_is_better else -1) for n, value in found if value and value.records > 1
        }
        if len(able) >= 2:
            best = max(able.values())
            marked |= {(number, column) for number, mean in able.items() if mean == best}
    return frozenset(marked)


def notes_on_seeds(lines: Sequence[Line]) -> tuple[str, ...]:
    """What ± and [ ] mean in a table of these lines."""
    counts = {line.records for line in lines if not line.seedless}
    notes = []
    several = [count for count in counts if count > 1]
    if several:
        small = f" Fewer than 3 seeds ({min(several)}): the spread itself is hardly known." if min(several) < 3 else ""
        notes.append(f"± is the standard deviation over seeds.{small}")
    if 1 in counts:
        notes.append(
            "1 seed: [ ] is the 95 % interval over test images; how much training again would change is not known."
        )
    elif any(line.seedless for line in lines):
        notes.append("Without seeds: [ ] is the 95 % interval over test images.")
    return tuple(notes)
