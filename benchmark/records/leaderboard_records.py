"""The records of a leaderboard: all lines are checked, one after the other, and a record is read again where it is needed."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import RecordError
from benchmark.records.columns import Columns, ColumnsBuilder
from benchmark.records.duplicates import repeated_line
from benchmark.records.leaderboard import lines, open_lines, outcomes_path, parse_line
from benchmark.records.outcomes import LeaderboardOutcomes
from benchmark.records.record import Record, Score
from benchmark.records.record_files import log_left_out
from benchmark.records.store import OutcomeReader, RecordStore
from benchmark.records.stored_file import RECORD_BYTES


class Leaderboard(RecordStore):
    """The records of a .jsonl, in the order of its lines. Empty if there is no such file.

    The files may be deleted or replaced meanwhile: they are kept open.

    Args:
        path: of the .jsonl.
        name: the file in messages, such as `HEAD:results/digits.jsonl`.
        strict: whether a damaged record or a damaged file of outcomes is an error. Otherwise it is left out, and logged.

    Raises:
        RecordError: a file cannot be read.
    """

    def __init__(self, path: Path, name: str = "", *, strict: bool = False) -> None:
        self.name = name or str(path)
        self._strict = strict
        self._lines: list[tuple[int, int]] = []  # start and number of each record's line
        self._problems: list[str] = []
        self._notes: list[str] = []
        self._file = open_lines(path)
        self._columns = self._read_columns()
        self._outcomes = self._open_outcomes(path)

    @property
    def columns(self) -> Columns:
        """All records that can be read."""
        return self._columns

    @property
    def problems(self) -> tuple[str, ...]:
        """One message for each record that cannot be read."""
        return tuple(self._problems)

    @property
    def notes(self) -> tuple[str, ...]:
        """One message for each line that repeats an earlier one."""
        return tuple(self._notes)

    def read(self, position: int) -> Record:
        """The whole record at an index of the columns."""
        start, number = self._lines[position]
        self._file.seek(start)
        return self._parse(self._file.readline(RECORD_BYTES), number)

    def outcomes(self) -> OutcomeReader:
        """Reads the outcomes of scores."""
        return self._outcomes

    def _parse(self, line: bytes, number: int) -> Record:
        return parse_line(line.rstrip(b"\r\n"), number, Path(self.name))

    def _read_columns(self) -> Columns:
        builder, first = ColumnsBuilder(), dict[str, tuple[int, int]]()
        for number, start, line in lines(self._file, Path(self.name)):
            try:
                record = self._parse(line, number)
                if record.id in first:
                    self._notes.append(self._repeated(line, number, *first[record.id]))
                    continue
                builder.add(record)
                first[record.id] = start, number
                self._lines.append((start, number))
            except RecordError as error:
                if self._strict:
                    raise
                self._problems.append(str(error))
        log_left_out([*self._notes, *self._problems])
        return builder.columns()

    def _repeated(self, line: bytes, number: int, start: int, first_number: int) -> str:
        self._file.seek(start)
        first = self._file.readline(RECORD_BYTES).rstrip(b"\r\n")
        return repeated_line(line, number, first, first_number, Path(self.name))

    def _open_outcomes(self, path: Path) -> OutcomeReader:
        name = outcomes_path(Path(self.name)).as_posix()
        try:
            return LeaderboardOutcomes(outcomes_path(path), name, strict=self._strict)
        except RecordError as error:
            if self._strict:
                raise
            log_left_out([str(error)])
            return _no_outcomes


def _no_outcomes(record: Record, score: Score) -> None:
    """Outcomes of a leaderboard whose file of outcomes cannot be read."""
