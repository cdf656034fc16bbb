"""`verify` on the records of an output folder, and changes to those records."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.api.catalog import load_catalog
from benchmark.execution import verify
from benchmark.records.record import RECORD
from benchmark.records.record_files import read_records


def change_records(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes each record's parsed file."""
    for path in folder.glob(f"*/{RECORD}"):
        body = json.loads(path.read_text())
        change(body)
        path.write_text(json.dumps(body))


def verified(runs: Path, **options: Any) -> list[verify.VerifiedCell]:
    records, _ = read_records(runs)
    return list(verify.verify(records, verify.VerifyOptions(**{"data_dir": runs, **options}), load_catalog()))
