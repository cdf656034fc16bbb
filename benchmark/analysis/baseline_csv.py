"""Reads a baseline from a leaderboard's CSV, also one that people or spreadsheets have edited.

A CSV stores what a check needs, without outcomes. What has one meaning is accepted; every other field is refused with its row
and column, because a number that is read wrongly would be reported as a regression.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from benchmark.plain_text import text_of_field
from benchmark.records.csv_columns import CSV_COLUMNS, IN_DOUBT, NAMES, NOT_LEARNED
from benchmark.records.csv_numbers import Mark, NumberError, decimal_mark, parse_number
from benchmark.records.csv_text import CsvError, CsvRow, read_rows
from benchmark.records.metric_ranges import range_of, range_text
from benchmark.records.record import Record, Score, ScoreId
from benchmark.records.upgrade import respell, upgrade_csv_row
from benchmark.stats.intervals import wilson

FINISHED = ("done", NOT_LEARNED, *IN_DOUBT)
"""States of finished cells. Rows of the other states are left out."""
STATES = (*FINISHED, "smoke", "failed", "interrupted")
TEXTS = ("method", "encoder", "dataset", "tap", "pool", "evaluator", "protocol", "metric", "cell")
"""Columns that no row may leave empty."""
REQUIRED = (*TEXTS[:3], "seed", "epochs", *TEXTS[3:8], "value", "n", "cell", "method_params", "fingerprint", "state")
VERSION_1 = ("law", "version")
"""Columns of schema version 1: `versions` and `repbench_version`."""
NUMBERS = tuple(column.name for column in CSV_COLUMNS if column.type == "number")
"""Columns whose numbers show the decimal mark of the file."""
VERSIONS = re.compile(r"(?:(?:0|[1-9]\d{0,2})?\.){2}(?:0|[1-9]\d{0,2})?", re.ASCII)
"""Versions of method, encoder and dataset: `1.1.10`. Years and leading zeros are those of a date."""
SCIENTIFIC = re.compile(r"\d+[.,]?\d*[eE]\+?\d+", re.ASCII)
SETTINGS = (
    *("method", "encoder", "dataset", "seed", "epochs"),
    *("cell", "method_params", "versions", "law", "fingerprint"),
)
"""Columns from which the record of a row is made."""
MAX_NUMBER = 10**12
"""Largest seed, number of images and number of epochs."""
WILSON_ROUNDING = 2e-6
"""An interval is taken for a Wilson interval if both ends differ from it by less: a CSV has six digits."""
SHOWN_NOTES = 3
"""Rows of one kind that the notes list."""


@dataclass(frozen=True, kw_only=True)
class BaselineTable:
    """The records of a CSV."""

    records: tuple[Record, ...]
    """Finished cells, each with its scores."""
    notes: tuple[str, ...] = ()
    """What was read differently from how it was written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _ScoredRow:
    """A row as a record without scores, and a score."""

    row: CsvRow
    record: Record
    score: Score


def read_baseline_csv(data: bytes) -> BaselineTable:
    """The finished cells of a CSV.

    Raises:
        CsvError: the file, a row or a field has no meaning or several; the message names the row and the column.
    """
    rows = read_rows(data, REQUIRED, (*NAMES, *VERSION_1))
    mark = decimal_mark(row.fields.get(name, "") for row in rows for name in NUMBERS)
    records: dict[tuple[str, ...], Record] = {}
    scored = [_scored_row(row, mark, records) for row in rows if _state(row) in FINISHED]
    unique, repeats = _unique(scored)
    doubtful = [each.row for each in unique if not _fits_interval(each, mark)]
    return BaselineTable(records=tuple(_records(unique)), notes=tuple(_notes(repeats, rows, doubtful)))


def _state(row: CsvRow) -> str:
    state = row.fields["state"].casefold()
    if state not in STATES:
        raise row.error("state", f"is not a state; valid: {', '.join(STATES)}")
    return state


def _scored_row(row: CsvRow, mark: Mark | None, records: dict[tuple[str, ...], Record]) -> _ScoredRow:
    """A row; rows with equal settings share the record, which is kept in `records`."""
    params = _params(row)  # before the upgrade, which needs it
    texts = {name: text_of_field(text) for name, text in upgrade_csv_row(row.fields).items()}
    for name in TEXTS:
        if not texts[name]:
            raise row.error(name, "is empty")
    settings = tuple(row.fields.get(name, "") for name in SETTINGS)
    if settings not in records:
        records[settings] = _record(row, texts, params, mark)
    return _ScoredRow(row=row, record=records[settings], score=_score(row, texts, mark))


def _record(row: CsvRow, texts: Mapping[str, str], params: dict[str, Any], mark: Mark | None) -> Record:
    """The cell of a row, without scores."""
    for name in ("fingerprint", "cell"):
        if SCIENTIFIC.fullmatch(texts[name]) and not texts[name].isalnum():
            raise row.error(name, "was rounded by a spreadsheet; import the column as text")
    epochs = _number(row, "epochs", mark) if row.fields["epochs"] else 0
    cell = {
        "method": {"label": texts["method"], "params": respell(params) if "law" in row.fields else params},
        "encoder": {"label": texts["encoder"]},
        "dataset": {"label": texts["dataset"], "fingerprint": texts["fingerprint"]},
        "seed": _number(row, "seed", mark, integer=True) if row.fields["seed"] else None,
        "recipe": {"epochs": float(epochs)},
    }
    return Record(id=texts["cell"], state="done", cell=cell, provenance={"versions": _versions(row)})


def _score(row: CsvRow, texts: Mapping[str, str], mark: Mark | None) -> Score:
    score = Score(
        **{name: texts[name] for name in ("tap", "pool", "evaluator", "protocol", "metric")},  # type: ignore[arg-type]  # any pool
        params={},
        value=float(_number(row, "value", mark, percent=True)),
        ci_low=None,
        ci_high=None,
        n=int(_number(row, "n", mark, integer=True)),
        outcomes=None,
        headline=True,
    )
    if score.n < 1:
        raise row.error("n", "is not 1 or more")
    unit = "fraction" if score.metric.startswith(("accuracy", "vote_accuracy")) else ""
    low, high = range_of(score.protocol, score.metric, unit)
    if not low <= score.value <= high:
        valid = range_text(score.protocol, score.metric, unit)
        hint = "; write a percentage as a fraction, or with %" if valid == "between 0 and 1" else ""
        raise row.error("value", f"is not {valid}, as {score.metric} must be{hint}")
    return score


def _number(
    row: CsvRow, column: str, mark: Mark | None, *, integer: bool = False, percent: bool = False
) -> int | float:
    try:
        number = parse_number(row.fields[column], mark, integer=integer, percent=percent)
    except NumberError as error:
        raise row.error(column, str(error)) from None
    if column != "value" and not 0 <= number <= MAX_NUMBER:
        raise row.error(column, f"is not between 0 and {MAX_NUMBER}")
    return number


def _params(row: CsvRow) -> dict[str, Any]:
    text = text_of_field(row.fields["method_params"]) or "{}"
    try:
        params = json.loads(text)
    except (ValueError, RecursionError):
        params = None
    if not isinstance(params, dict):
        raise row.error("method_params", "is not a JSON object")
    return params


def _versions(row: CsvRow) -> str:
    column = "law" if "law" in row.fields else "versions"
    if column not in row.fields:
        raise CsvError("row 1: no column called 'versions'")
    text = text_of_field(row.fields[column])
    if text and VERSIONS.fullmatch(text) is None:
        raise row.error(column, "is not three versions such as 1.1.10; a spreadsheet may have made a date of them")
    return text


# --- rows of one cell -------------------------------------------------------------------------------------------------


def _unique(scored: Iterable[_ScoredRow]) -> tuple[list[_ScoredRow], list[_ScoredRow]]:
    """Rows that are read, and rows that repeat one of them.

    Raises:
        CsvError: two rows contradict each other.
    """
    first: dict[tuple[str, ScoreId], _ScoredRow] = {}
    cells: dict[str, _ScoredRow] = {}
    settings: dict[tuple[str, int | None], _ScoredRow] = {}
    repeats = []
    for each in scored:
        of_cell = cells.setdefault(each.record.id, each)
        if of_cell is each:
            other = settings.setdefault((each.record.grouping_key(), each.record.seed), each)
            if other is not each:
                problem = "are two cells with equal settings and seed; keep one, or use the .jsonl"
                raise CsvError(f"rows {other.row.number} and {each.row.number} {problem}")
        elif (of_cell.record.cell, of_cell.record.provenance) != (each.record.cell, each.record.provenance):
            raise CsvError(
                f"rows {of_cell.row.number} and {each.row.number} are of one cell, but differ in its settings"
            )
        earlier = first.setdefault((each.record.id, each.score.key()), each)
        if earlier.score != each.score:
            values = f"{earlier.score.value:g} (n = {earlier.score.n}) and {each.score.value:g} (n = {each.score.n})"
            raise CsvError(
                f"rows {earlier.row.number} and {each.row.number}, column value: two values of one score, {values}"
            )
        if earlier is not each:
            repeats.append(each)
    return list(first.values()), repeats


def _records(rows: Iterable[_ScoredRow]) -> Iterator[Record]:
    """One record for each cell, with its scores."""
    scores: dict[str, list[Score]] = {}
    records: dict[str, Record] = {}
    for each in rows:
        records.setdefault(each.record.id, each.record)
        scores.setdefault(each.record.id, []).append(each.score)
    for cell, record in records.items():
        yield dataclasses.replace(record, scores=tuple(scores[cell]))


def _fits_interval(scored: _ScoredRow, mark: Mark | None) -> bool:
    """Whether a value can be that of its interval. A Wilson interval determines the proportion; others surround the value."""
    row, value, n = scored.row, scored.score.value, scored.score.n
    try:
        texts = [row.fields.get(name, "") for name in ("ci_low", "ci_high")]
        low, high = (float(parse_number(text, mark, percent=True)) for text in texts)
    except NumberError:  # empty, or not a number: the interval is not used
        return True
    digits = len(re.split("[.,]", row.fields["value"])[-1].strip("%' \"")) + 2 * ("%" in row.fields["value"])
    rounding = 0.51 * 10.0**-digits
    if not low - rounding <= value <= high + rounding:
        return False
    z = NormalDist().inv_cdf(0.975)
    hits = round(((low + high) / 2 * (1 + z * z / n) - z * z / (2 * n)) * n)
    if (
        not 0 <= hits <= n
        or max(abs(a - b) for a, b in zip(wilson(hits, n), (low, high), strict=True)) > WILSON_ROUNDING
    ):
        return True
    return abs(value - hits / n) <= rounding


def _notes(repeats: Sequence[_ScoredRow], rows: Sequence[CsvRow], doubtful: Sequence[CsvRow]) -> Iterator[str]:
    if doubtful:
        yield f"Values of the baseline that do not fit their intervals; edited or damaged: {_row_numbers(doubtful)}."
    if repeats:
        yield f"The baseline repeats scores; each was read once: {_row_numbers([each.row for each in repeats])}."
    percentages = [row for row in rows if row.fields["value"].rstrip('"').endswith("%")]
    if percentages:
        yield f"Percentages of the baseline were read as fractions: {_row_numbers(percentages)}."


def _row_numbers(rows: Sequence[CsvRow]) -> str:
    numbers = ", ".join(str(row.number) for row in rows[:SHOWN_NOTES])
    more = len(rows) - SHOWN_NOTES
    return f"row {numbers}{f' and {more} more' if more > 0 else ''}"
