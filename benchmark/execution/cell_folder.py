"""One cell's folder: its files, written only while its lock is held."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import nn

from benchmark.errors import RecordError
from benchmark.execution.provenance import now
from benchmark.records.locks import CellLock
from benchmark.records.outcomes import DIGESTS, PREDICTIONS_FILE, digests_of, verified_predictions
from benchmark.records.record import CHECKPOINT, CURVE, LOG, MODEL, PREDICTIONS, Record
from benchmark.records.record_files import write_record
from benchmark.records.stored_file import check_writable
from benchmark.records.weights_file import CURVE_FILE, checksum_of
from benchmark.training.task import EpochLosses


@dataclass(frozen=True, kw_only=True)
class CellFolder:
    """The folder of a cell that this process works on."""

    path: Path
    lock: CellLock
    """Held from the first read to the last write."""

    @property
    def checkpoint(self) -> Path:
        """The file that training resumes from; gone once the cell is trained."""
        return self.path / CHECKPOINT

    def write_record(self, record: Record) -> None:
        """Replaces the record.

        Raises:
            LostLockError: another run took over the cell; nothing was written.
            RecordError: the folder cannot be written.
        """
        write_record(self.path, record, self.lock.replaced)

    def write_trained(self, encoder: nn.Module, curve: Sequence[EpochLosses], record: Record) -> Record:
        """Writes weights and losses by epoch, then the record that refers to them; removes the checkpoint.

        Returns:
            The record, with the checksums of both files.

        Raises:
            LostLockError: another run took over the cell; nothing was written.
            RecordError: the folder cannot be written.
        """
        self.lock.check()
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
        body = safetensors.torch.save(weights)
        losses = _curve_csv(curve).encode()
        checksums = {"model_file": checksum_of(body), CURVE_FILE: checksum_of(losses)}
        written = dataclasses.replace(record, checks={**record.checks, **checksums})
        with self.lock.replaced(self.path / MODEL) as file:
            file.write(body)
        with self.lock.replaced(self.path / CURVE) as file:
            file.write(losses)
        self.write_record(written)
        self.lock.remove(self.checkpoint)
        return written

    def write_scores(self, arrays: Mapping[str, Any], record: Record) -> Record:
        """Writes outcomes and predictions of each image, then the record that refers to them.

        Returns:
            The record, with the checksums of the file and of its arrays.

        Raises:
            LostLockError: another run took over the cell; nothing was written.
            RecordError: the folder cannot be written.
        """
        self.lock.check()
        body = io.BytesIO()
        np.savez_compressed(body, **arrays)
        checksums = {PREDICTIONS_FILE: checksum_of(body.getvalue()), DIGESTS: digests_of(arrays)}
        written = dataclasses.replace(record, checks={**record.checks, **checksums})
        with self.lock.replaced(self.path / PREDICTIONS) as file:
            file.write(body.getvalue())
        self.write_record(written)
        return written

    def read_arrays(self, record: Record) -> dict[str, Any]:
        """Outcomes and predictions of each image, by name.

        Raises:
            RecordError: the file is missing or damaged, or holds other outcomes than those of the record.
        """
        return verified_predictions(dataclasses.replace(record, folder=str(self.path)))

    def append_log(self, text: str) -> None:
        """Adds a line to log.txt, as far as the disk allows. The caller has checked the lock."""
        path = self.path / LOG
        with contextlib.suppress(OSError, RecordError):
            check_writable(path)
            with path.open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(f"{now()} {text}\n")


def _curve_csv(curve: Sequence[EpochLosses]) -> str:
    text = io.StringIO()
    names = list(curve[0].losses) if curve else []
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", "learning_rate", *names])
    for row in curve:
        writer.writerow([row.epoch, f"{row.learning_rate:.6g}", *(f"{row.losses[name]:.6g}" for name in names)])
    return text.getvalue()
