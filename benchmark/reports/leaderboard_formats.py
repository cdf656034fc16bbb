"""Further files of a leaderboard beside its CSV: Parquet for programs, LaTeX for papers, BibTeX of what was run."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from benchmark.api.catalog import Catalog
from benchmark.errors import UnknownNameError, UsageError
from benchmark.records.atomic import replaced
from benchmark.records.columns import Columns
from benchmark.records.csv_columns import CSV_COLUMNS
from benchmark.records.dataframe import to_frame
from benchmark.records.leaderboard import CSV, JSONL
from benchmark.records.leaderboard_records import Leaderboard
from benchmark.records.store import RecordStore
from benchmark.reports.bibtex import bibtex
from benchmark.reports.ranks import ranker
from benchmark.reports.render import render_report
from benchmark.reports.score_tables import score_report

LeaderboardFormat = Literal["csv", "parquet", "latex", "bibtex"]
SUFFIXES: dict[LeaderboardFormat, str] = {"csv": CSV, "parquet": ".parquet", "latex": ".tex", "bibtex": ".bib"}


def parse_formats(text: str) -> tuple[LeaderboardFormat, ...]:
    """The formats named in `csv,latex`.

    Raises:
        UsageError: a name does not exist, or its package is not installed.
    """
    names = dict.fromkeys(name.strip() for name in text.split(",") if name.strip())
    known = {str(name): name for name in SUFFIXES}
    if not names:
        raise UsageError(f"--format {text}: names nothing; available: {', '.join(known)}")
    for name in names:
        if name not in known:
            raise UnknownNameError("format", name, known)
    if "parquet" in names and importlib.util.find_spec("pyarrow") is None:
        raise UsageError("--format parquet needs pyarrow, which is not installed; pip install 'repbench[parquet]'")
    return tuple(known[name] for name in names)


def write(to: Path, name: str, formats: Sequence[LeaderboardFormat], catalog: Catalog) -> list[Path]:
    """Write a leaderboard in further formats, from its records.

    Args:
        to: folder of the leaderboards.
        name: name of the leaderboard, without suffix.
        formats: `csv` is skipped: that file exists.
        catalog: specs with BibTeX entries.

    Returns:
        All files, with the CSV.

    Raises:
        RecordError: the leaderboard is damaged, or the folder cannot be written.
    """
    leaderboard = to / f"{name}{JSONL}"
    others = [form for form in formats if form != "csv"]
    paths = [to / f"{name}{CSV}"]
    if not others:
        return paths
    store = Leaderboard(leaderboard, strict=True)
    for form in others:
        paths.append(to / f"{name}{SUFFIXES[form]}")
        with replaced(paths[-1]) as file:
            file.write(_contents(form, store, catalog))
    return paths


def _contents(form: LeaderboardFormat, store: RecordStore, catalog: Catalog) -> bytes:
    columns = store.columns
    if form == "latex":
        return render_report(score_report(columns, (), ranker(columns, "auto", store)), "latex").encode()
    if form == "bibtex":
        return bibtex(tuple(store.records()), catalog).encode()
    return _parquet(columns)


def _parquet(columns: Columns) -> bytes:
    """The rows and columns of the CSV with all digits; missing values are null."""
    types = {"integer": "Int64", "number": "float64"}
    frame = to_frame(columns)
    frame = frame.astype({column.name: types[column.type] for column in CSV_COLUMNS if column.type in types})
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()
