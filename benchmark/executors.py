"""What executor plugins need: run a cell, send jobs and outcomes as JSON, pack a cell's folder, lock a cell.

An executor plugin imports only `benchmark`, `benchmark.progress` and this module.
"""

from __future__ import annotations

from benchmark.execution.cell import run_cell
from benchmark.execution.serialization import from_json, outcome_from_json, outcome_to_json, to_json
from benchmark.records.archive import pack, unpack
from benchmark.records.locks import CellLock, LostLockError, acquire, clear, is_running, read_lock
from benchmark.records.record import OUTPUT
from benchmark.training.checkpoints import StopRequest

__all__ = [
    "OUTPUT",
    "CellLock",
    "LostLockError",
    "StopRequest",
    "acquire",
    "clear",
    "from_json",
    "is_running",
    "outcome_from_json",
    "outcome_to_json",
    "pack",
    "read_lock",
    "run_cell",
    "to_json",
    "unpack",
]
