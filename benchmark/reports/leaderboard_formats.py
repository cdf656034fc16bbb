"""A leaderboard in other forms beside its CSV: Parquet for programs, LaTeX for papers, BibTeX of what was run."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from benchmark.api.catalog import Catalog
from benchmark.errors import UnknownNameError, UsageError
from benchmark.records.atomic import replaced
from benchmark.records.dataframe import to_frame
from benchmark.records.leaderboard import read_board
from benchmark.records.record import Record
from benchmark.reports import bibtex, render
from benchmark.reports.ranks import ranker
from benchmark.reports.score_tables import score_tables

LeaderboardFormat = Literal["csv", "parquet", "latex", "bibtex"]
ENDINGS: dict[LeaderboardFormat, str] = {"csv": ".csv", "parquet": ".parquet", "latex": ".tex", "bibtex": ".bib"}


def parse_formats(text: str) -> tuple[LeaderboardFormat, ...]:
    """`csv,latex` as names of forms.

    Raises:
        UsageError: a name that does not exist, or one whose package is not installed.
    """
    names = dict.fromkeys(name.strip() for name in text.split(",") if name.strip())
    known = {str(name): name for name in ENDINGS}
    for name in names:
        if name not in known:
            raise UnknownNameError("format", name, known)
    if "parquet" in names and importlib.util.find_spec("pyarrow") is None:
        raise UsageError("--format parquet wants pyarrow, which is not installed; pip install 'repbench[parquet]'")
    return tuple(known[name] for name in names)


def write(to: Path, name: str, editions: Sequence[LeaderboardFormat], catalog: Catalog) -> list[Path]:
    """Writes a leaderboard again in other forms, from its records; its CSV is there already.

    Args:
        to: the leaderboards' folder.
        name: the leaderboard's, without an ending.
        editions: which forms.
        catalog: knows the papers.

    Returns:
        The files, that of the CSV included.

    Raises:
        RecordError: the leaderboard is damaged, or the folder cannot be written.
    """
    board = to / f"{name}.jsonl"
    records = read_board(board)
    found = [to / f"{name}.csv"]
    for edition in editions:
        if edition == "csv":
            continue
        path = to / f"{name}{ENDINGS[edition]}"
        with replaced(path) as file:
            file.write(_body(edition, records, board, catalog))
        found.append(path)
    return found


def _body(edition: LeaderboardFormat, records: Sequence[Record], board: Path, catalog: Catalog) -> bytes:
    if edition == "latex":
        return render.render(score_tables(records, (), ranker(records, "auto", board)), "latex").encode()
    if edition == "bibtex":
        return bibtex.bibtex(records, catalog).encode()
    return _parquet(records)


def _parquet(records: Sequence[Record]) -> bytes:
    """The CSV's rows and columns with every digit; what is missing is null."""
    found = to_frame(records).astype({"seed": "Int64", "epochs": "float64", "train_seconds": "float64"})
    found = found.astype({"images_seen": "float64", "peak_memory_bytes": "float64"})
    buffer = io.BytesIO()
    found.to_parquet(buffer, index=False)
    return buffer.getvalue()
