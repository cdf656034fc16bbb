"""Makers of the files that `bench status` reads: run files, locks and records of an output folder."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from sample_records import sample_record

from benchmark.execution.run_files import RUNS, QueuedCell
from benchmark.records import index, locks
from benchmark.records.locks import LOCK, LockInfo, Owner
from benchmark.records.record import CHECKPOINT
from benchmark.records.record_files import write_record

DEAD = dataclasses.replace(locks.current_process(), started="0")
"""A process of this machine that had the number of this process and has ended."""
REMOTE = Owner(host="far", pid=7, started="1", boot="b")
"""A process of another machine, of which nothing is known."""
FAILURE = {"stage": "train", "reason": "NaN\nin step 3", "traceback": ""}


def queued(folder: str, seconds: float | None = None, stamp: index.Stamp | None = None) -> QueuedCell:
    """A cell that a run will execute."""
    return QueuedCell(id=folder, folder=folder, title=f"title of {folder}", seconds=seconds, stamp=stamp)


def write_run_file(out: Path, *cells: QueuedCell, owner: Owner | None = None, slots: int = 2) -> None:
    """Writes the run file of a process; default: this one."""
    owner = owner or locks.current_process()
    body = {"owner": dataclasses.asdict(owner), "since": 1.0, "slots": slots, "cells": [vars(cell) for cell in cells]}
    (out / RUNS).mkdir(exist_ok=True, parents=True)
    (out / RUNS / f"{owner.host}-{owner.pid}-{owner.started}.json").write_text(json.dumps(body))


def write_lock(out: Path, folder: str, owner: Owner | None = None, **changes: Any) -> None:
    """Writes the lock of a cell; default: of this process."""
    fields: dict[str, Any] = {
        **{"owner": owner or locks.current_process(), "token": folder, "heartbeat": 0, "title": f"title of {folder}"},
        **{"device": "cpu", "since": time.time(), **changes},
    }
    (out / folder).mkdir(parents=True, exist_ok=True)
    (out / folder / LOCK).write_text(json.dumps(dataclasses.asdict(LockInfo(**fields))))


def write_sample(out: Path, folder: str, **changes: Any) -> index.Stamp | None:
    """Writes a record; the stamp of its file. Records of different folders are of different cells."""
    cell = {"id": hashlib.sha256(folder.encode()).hexdigest()} | changes
    write_record(out / folder, sample_record(**cell))
    return index.stamp_of(str(out / folder))


def write_checkpoint(out: Path, folder: str) -> None:
    """A cell that was interrupted before it wrote a record."""
    (out / folder).mkdir(parents=True)
    (out / folder / CHECKPOINT).touch()
