"""scores.csv: all finished records of an output folder as one CSV file, kept up to date while cells run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from benchmark.errors import RecordError
from benchmark.records import dataframe, index
from benchmark.records.atomic import replaced

SCORES = "scores.csv"
INTERVAL_FACTOR = 19
"""After a write, the file is not written again for this many times as long as the write took: at most 5 % of the time."""


class ScoresFile:
    """The CSV file of an output folder.

    Args:
        out: the output folder.
        clock: monotonic seconds.
    """

    def __init__(self, out: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = out / SCORES
        self.problem = ""
        """Why the last write failed. A full disk stops no cell."""
        self._out = out
        self._clock = clock
        self._next_write = -math.inf

    def refresh(self) -> None:
        """Writes the file, unless it was written a short time ago."""
        if self._clock() >= self._next_write:
            self.write()

    def write(self) -> None:
        """Writes the file."""
        start = self._clock()
        columns, _ = index.read(self._out)
        done = columns.take([number for number, each in enumerate(columns.summaries) if each.state == "done"])
        self.problem = ""
        try:
            with replaced(self.path) as file:
                file.writelines(chunk.encode() for chunk in dataframe.csv_chunks(done))
        except RecordError as error:
            self.problem = str(error)
        end = self._clock()
        self._next_write = end + INTERVAL_FACTOR * (end - start)
