"""Verify stored numbers: run a few finished cells again from their records alone, and compare.

Before that, the stored weights are compared with their checksum. A cell whose files are damaged does not run.
A cell is planned again from its record. It runs only if that gives the same id under the same versions: in a temporary folder,
with the recorded number of threads, on the recorded kind of device.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.api.catalog import Catalog
from benchmark.api.cells import Accelerate, Job
from benchmark.errors import BenchError, RecordError, UsageError
from benchmark.evaluation.trained_encoder import read_tensors
from benchmark.execution.cell import run_cell
from benchmark.execution.devices import resolve_devices
from benchmark.execution.plan import cell_folder
from benchmark.execution.replan import replan
from benchmark.execution.request import PlannedCell
from benchmark.records.columns import columns_of
from benchmark.records.outcomes import verified_predictions
from benchmark.records.record import CURVE, KINDS, MODEL, RECORD, Record, Score, by_score_key
from benchmark.records.record_files import read_record
from benchmark.records.record_text import ALTERED, UNVERIFIED
from benchmark.records.store import RecordStore
from benchmark.records.weights_file import CURVE_FILE, read_verified, read_weights, recorded_checksum

Verdict = Literal[
    "identical",
    "equal scores",
    "within intervals",
    "does not hold",
    "failed",
    "damaged files",
    "not run",
    "files intact",
    "unverified",
]
HOLDS: tuple[Verdict, ...] = ("identical", "equal scores", "within intervals")
CONDITIONS = ("repbench", "torch", "device_name", "precision", "threads")
"""Parts of a record's provenance that may change numbers; those that differ are reported."""


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """How cells run again."""

    data_dir: Path
    device: str | None = None
    """Device, as for `bench run`; None: the kind of device that the record names."""
    dataset: str | None = None
    """An item such as `folder[path=...]`, for records that do not hold the dataset's path."""


@dataclass(frozen=True, kw_only=True)
class VerifiedCell:
    """One cell, compared with its record."""

    record: Record
    verdict: Verdict
    reason: str = ""
    """The score that differs most, why the cell was not run, or which conditions differ."""
    weights: bool | None = None
    """Whether the weights are identical to the last bit; None if that is unknown."""
    equal: int = 0
    """Number of scores that are identical to the last bit."""
    within: int = 0
    """Number of other scores that lie in the interval of the stored score."""
    outside: int = 0
    """Number of the remaining scores, including those without an interval or without a new number."""

    @property
    def holds(self) -> bool:
        """Whether the stored numbers are confirmed."""
        return self.verdict in HOLDS


def sample(records: Sequence[Record] | RecordStore, count: int, seed: int) -> list[Record]:
    """Finished cells drawn at random; the same records and seed give the same sample.

    Raises:
        UsageError: no cell is finished.
    """
    columns = columns_of(records) if isinstance(records, Sequence) else records.columns
    finished = [at for at, each in enumerate(columns.summaries) if each.state == "done" and columns.score_counts[at]]
    if not finished:
        raise UsageError("no finished cell to verify; bench run trains and scores cells")
    finished.sort(key=lambda position: columns.summaries[position].id)
    chosen = random.Random(seed).sample(finished, min(count, len(finished)))
    return [records[each] if isinstance(records, Sequence) else records.read(each) for each in chosen]


def verify(records: Sequence[Record], options: VerifyOptions, catalog: Catalog) -> Iterator[VerifiedCell]:
    """Runs the cells of records again, one after the other. Nothing that is stored changes.

    Raises:
        UsageError: the device does not exist.
    """
    if options.device is not None:
        resolve_devices(options.device)
    for record in records:
        damage = damage_of(record)
        if damage:
            yield VerifiedCell(record=record, verdict="damaged files", reason=damage)
            continue
        try:
            planned = replan(record, options.data_dir, options.dataset, catalog)
            device = _device(record, options)
        except BenchError as error:
            yield VerifiedCell(record=record, verdict="not run", reason=str(error))
            continue
        with tempfile.TemporaryDirectory(prefix="bench-verify-") as folder:
            outcome = run_cell(_job(record, planned, Path(folder), options), device=device, catalog=catalog)
            if outcome.state != "done":
                reason = f"the cell failed when it was run again: {outcome.reason}"
                yield VerifiedCell(record=record, verdict="failed", reason=reason)
                continue
            again = read_record(Path(folder) / outcome.folder)
        yield compare_records(record, again)


def verify_files(records: Sequence[Record], out: Path) -> Iterator[VerifiedCell]:
    """Compares the stored files of all cells with their checksums. No cell runs, and nothing that is stored changes.

    Raises:
        UsageError: `out` is a leaderboard, which has no files of cells.
    """
    if not out.is_dir():
        raise UsageError(f"--files compares the files of cells; {out} is not a folder of records")
    for record in sorted(records, key=lambda each: each.id):
        verdict: Verdict = "files intact"
        reason = damage_of(record) or _altered_text(record) or _curve_damage(record)
        if reason:
            verdict = "damaged files"
        elif not _has_weights(record) or recorded_checksum(record) is None:
            verdict = "unverified"
            reason = "an earlier version wrote the record" if _has_weights(record) else f"there is no {MODEL}"
        if verdict != "damaged files" and record.checks.get(UNVERIFIED):
            verdict, reason = "unverified", f"no checksum of {', '.join(record.checks[UNVERIFIED])}"
        yield VerifiedCell(record=record, verdict=verdict, reason=reason)


def _altered_text(record: Record) -> str:
    """Why the record or the outcomes beside it are not as they were written; empty if they are."""
    if record.checks.get(ALTERED):
        return f"{record.folder}/{RECORD} was edited or damaged after it was written"
    try:
        if record.scores:
            verified_predictions(record)
    except RecordError as error:
        return str(error)
    return ""


def _curve_damage(record: Record) -> str:
    """Why curve.csv is not the file that the training wrote; empty if it is, if it is missing or without a checksum."""
    recorded, path = record.checks.get(CURVE_FILE), Path(record.folder) / CURVE
    if not recorded or not os.path.lexists(path):
        return ""
    try:
        read_verified(path, (recorded["bytes"], recorded["sha256"]))
    except RecordError as error:
        return str(error)
    return ""


def _has_weights(record: Record) -> bool:
    folder = Path(record.folder)
    return (folder / RECORD).is_file() and record.trained and os.path.lexists(folder / MODEL)


def damage_of(record: Record) -> str:
    """Why the stored weights of a cell are not those that its record describes; empty if they are, or if there are none."""
    if not _has_weights(record):
        return ""
    try:
        if recorded_checksum(record) is not None:
            read_weights(record)
        else:
            read_tensors(record)
    except RecordError as error:
        return str(error)
    return ""


def _device(record: Record, options: VerifyOptions) -> str:
    kind = str(record.provenance.get("device", "cpu"))
    try:
        return resolve_devices(options.device or kind)[0]
    except UsageError as error:
        if options.device is not None:
            raise
        raise UsageError(
            f"the cell ran on {record.provenance.get('device_name', kind)}, which this machine lacks; choose another kind "
            "with --device (scores can then be confirmed only within their intervals)"
        ) from error


def _job(record: Record, planned: PlannedCell, folder: Path, options: VerifyOptions) -> Job:
    return Job(
        cell=planned.cell,
        scores=planned.scores,
        data_dir=str(options.data_dir),
        out_dir=str(folder),
        folder=cell_folder(planned.cell),
        threads=int(record.provenance.get("threads") or 1),
        accelerate=_accelerate(record),
    )


def _accelerate(record: Record) -> Accelerate:
    """The option of the original run, as far as the record of the acceleration shows it."""
    options: dict[str, Accelerate] = {"switched off": "off", "compiled": "compile"}
    return options.get(str(record.cost.get("acceleration", {}).get("compile")), "auto")


# --- comparison -------------------------------------------------------------------------------------------------------


def compare_records(record: Record, again: Record) -> VerifiedCell:
    """Compares a stored record with the record of the same cell, run again."""
    new, equal, within = by_score_key(again.scores), 0, 0
    outside: list[tuple[Score, float | None]] = []
    for key, score in by_score_key(record.scores).items():
        value = new[key].value if key in new else None
        if value == score.value:
            equal += 1
        elif _is_within(score, value):
            within += 1
        else:
            outside.append((score, value))
    checksums = [each.checks.get("encoder_sha256") for each in (record, again)]
    weights = None if None in checksums else checksums[0] == checksums[1]
    verdict: Verdict = "within intervals" if within else "equal scores"
    if outside:
        verdict = "does not hold"
    elif not within and weights:
        verdict = "identical"
    return VerifiedCell(
        record=record,
        verdict=verdict,
        reason="; ".join((*_largest_difference(outside), *_other_conditions(record, again))),
        weights=weights,
        equal=equal,
        within=within,
        outside=len(outside),
    )


def _is_within(score: Score, value: float | None) -> bool:
    if value is None or score.ci_low is None or score.ci_high is None:
        return False
    return score.ci_low <= value <= score.ci_high


def _largest_difference(outside: Sequence[tuple[Score, float | None]]) -> Iterator[str]:
    """The score that differs most, as text."""

    def difference(pair: tuple[Score, float | None]) -> float:
        score, value = pair
        return float("inf") if value is None else abs(value - score.value)

    if outside:
        score, value = max(outside, key=difference)
        now = "missing" if value is None else f"{value:.6g}"
        yield f"{score.metric} of {score.evaluator} at {score.tap}: {score.value:.6g} then, {now} now"


def _other_conditions(record: Record, again: Record) -> Iterator[str]:
    for key in CONDITIONS:
        then, now = record.provenance.get(key), again.provenance.get(key)
        if then != now:
            yield f"{key}: {then} then, {now} now"
    then, now = (_sources(each) for each in (record, again))
    for name in then:
        if now.get(name, then[name]) != then[name]:
            yield f"code of {name}: {then[name]} then, {now[name]} now"


def _sources(record: Record) -> dict[str, str]:
    """Name of a plugin, or `repbench`, -> fingerprint of its code."""
    sources = record.provenance.get("sources") or {}
    plugins = {sources[kind]["plugin"]: sources[kind]["source"] for kind in KINDS if sources.get(kind)}
    return {"repbench": sources["benchmark"], **plugins} if sources.get("benchmark") else plugins
