"""Stored numbers put to the proof: a few finished cells are done again from their records alone, and compared.

A cell is planned anew from what its record says of it. Only if that gives the same identity under the same versions is it done
again, in a folder that is gone afterwards, with the recorded number of threads, on the recorded kind of device.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from benchmark.api.catalog import Catalog
from benchmark.api.cells import Accelerate, Job, ScoreRequest
from benchmark.api.grammar import Selection, parse_items
from benchmark.errors import BenchError, UsageError
from benchmark.execution.cell import run_cell
from benchmark.execution.devices import resolve_devices
from benchmark.execution.plan import cell_folder, plan
from benchmark.execution.request import Plan, PlannedCell, Request
from benchmark.records.record import Record, Score, by_score_key, read_record
from benchmark.reports.table import Table

Verdict = Literal["identical", "equal scores", "within intervals", "does not hold", "not run"]
HOLDS: tuple[Verdict, ...] = ("identical", "equal scores", "within intervals")
CONDITIONS = ("repbench", "torch", "device_name", "precision", "threads")
"""What of a record's provenance may make other numbers, and is told where it is another now."""


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """How cells are done again."""

    data_dir: Path
    device: str | None = None
    """As for `bench run`; None: of the kind that the record names."""
    dataset: str | None = None
    """An item such as `folder[path=...]`, for records that do not hold the dataset's path."""


@dataclass(frozen=True, kw_only=True)
class VerifiedScore:
    """What came of one cell."""

    record: Record
    verdict: Verdict
    reason: str = ""
    """Which score is farthest off; why it was not run; which conditions are other ones."""
    weights: bool | None = None
    """Whether they are the same to the last bit; None where that is not known."""
    equal: int = 0
    """Scores that are the same to the last bit."""
    within: int = 0
    """Others that lie in the interval of the stored one."""
    outside: int = 0
    """Others, those without an interval or without a new number included."""

    @property
    def holds(self) -> bool:
        """Whether the stored numbers may be believed."""
        return self.verdict in HOLDS


def sample(records: Sequence[Record], count: int, seed: int) -> list[Record]:
    """So many finished cells, drawn at random; the same records and seed give the same ones.

    Raises:
        UsageError: none is finished.
    """
    able = sorted((record for record in records if record.state == "done" and record.scores), key=lambda r: r.id)
    if not able:
        raise UsageError("no finished cell is there to be verified; bench run makes some")
    return random.Random(seed).sample(able, min(count, len(able)))


def verify(records: Sequence[Record], asked: VerifyOptions, catalog: Catalog) -> Iterator[VerifiedScore]:
    """Does the cells of records again, one after the other. Nothing that was stored is changed."""
    for record in records:
        try:
            planned, device = planned_again(record, asked, catalog), _device(record, asked)
        except BenchError as error:
            yield VerifiedScore(record=record, verdict="not run", reason=str(error))
            continue
        with tempfile.TemporaryDirectory(prefix="bench-verify-") as folder:
            outcome = run_cell(_job(record, planned, Path(folder), asked), device=device, catalog=catalog)
            if outcome.state != "done":
                yield VerifiedScore(
                    record=record, verdict="does not hold", reason=f"done again, it failed: {outcome.reason}"
                )
                continue
            again = read_record(Path(folder) / outcome.folder)
        yield compared(record, again)


# --- from a record to its cell ----------------------------------------------------------------------------------------


def planned_again(record: Record, asked: VerifyOptions, catalog: Catalog) -> PlannedCell:
    """The record's cell with the scores that it holds.

    Raises:
        UsageError: it cannot be planned from the record, or would be another cell.
    """
    found = _planned(record, asked, catalog)
    if not found.cells:
        raise UsageError(f"it cannot be planned: {'; '.join(skip.reason for skip in found.skips) or 'nothing is left'}")
    planned = next((each for each in found.cells if each.cell.id == record.id), None)
    if planned is None:
        raise UsageError(_why_another(record, found.cells[0]))
    cell, version = planned.cell, record.provenance.get("versions") or {}
    installed = {"method": cell.method.version, "encoder": cell.encoder.version, "dataset": cell.dataset.version}
    changed = [f"{kind} {version[kind]}, installed {installed[kind]}" for kind in installed if kind in version]
    if any(version[kind] != installed[kind] for kind in installed if kind in version):
        raise UsageError(f"it was made under another version ({'; '.join(changed)}): other numbers are expected")
    held = {(score.tap, score.pool, score.evaluator, score.protocol) for score in record.scores}
    scores = tuple(each for each in planned.scores if _key(each) in held)
    if not scores:
        raise UsageError("none of its scores is of a protocol that is installed")
    return replace(planned, scores=scores)


def _planned(record: Record, asked: VerifyOptions, catalog: Catalog) -> Plan:
    cell = record.cell
    spec = catalog.find(catalog.methods, "method", _name(cell["method"])).spec
    scores = {(score.evaluator, score.pool): score for score in record.scores}
    request = Request(
        methods=[_selection(cell["method"])],
        encoders=[_selection(cell["encoder"])] if spec.own_encoder is None else [],
        datasets=[_dataset(record, asked.dataset)],
        evaluators=[_evaluator(score, catalog) for score in scores.values()],
        taps=tuple(dict.fromkeys(score.tap for score in record.scores)),
        seeds=(0,) if cell["seed"] is None else (cell["seed"],),
        overrides=cell["recipe"] if spec.trains else {key: cell["recipe"].get(key) for key in ("mean", "std")},
        floors=False,
        data_dir=asked.data_dir,
    )
    budgets: tuple[Literal["quick", "paper"], ...] = ("quick", "paper")
    plans = (plan(replace(request, budget=budget), catalog) for budget in budgets)  # every number is given all the same
    return next((found for found in plans if found.cells), plan(request, catalog))


def _name(item: dict[str, Any]) -> str:
    return f"{item['provider']}:{item['name']}" if item.get("provider") else str(item["name"])


def _selection(item: dict[str, Any]) -> Selection:
    return Selection(name=_name(item), params=tuple(item["params"].items()))


def _dataset(record: Record, given: str | None) -> Selection:
    """The record's dataset; of one that was given, the path and other parameters, and the record's subset."""
    stored = record.cell["dataset"]
    subset = () if stored.get("subset") is None else (("subset", stored["subset"]),)
    if given is None:
        return Selection(name=_name(stored), params=(*stored["params"].items(), *subset))
    (asked,) = parse_items([given])[:1] or [Selection(name=given)]
    return Selection(name=asked.name, params=(*(each for each in asked.params if each[0] != "subset"), *subset))


def _evaluator(score: Score, catalog: Catalog) -> Selection:
    name = score.evaluator.partition("[")[0]
    pools = catalog.find(catalog.evaluators, "evaluator", name).spec.pools
    pool = (("pool", score.pool),) if score.pool in pools else ()
    return Selection(name=name, params=(*score.params.items(), *pool))


def _key(request: ScoreRequest) -> tuple[str, str, str, str]:
    return (request.tap, request.pool, request.evaluator.label, request.protocol)


def _why_another(record: Record, planned: PlannedCell) -> str:
    """What of the planned cell is not the record's."""
    cell, stored = planned.cell, record.cell
    if cell.fingerprint != stored["dataset"].get("fingerprint"):
        return (
            f"the dataset '{cell.dataset.label}' has other contents than the one that the cell was trained on (fingerprint "
            f"{cell.fingerprint[:12]}, then {str(stored['dataset'].get('fingerprint'))[:12]}); give it with --dataset "
            "'name[key=value]'"
        )
    return (
        "planned from its record it has another identity: a parameter or recipe key has been added or has another "
        "default since"
    )


# --- doing it again ---------------------------------------------------------------------------------------------------


def _device(record: Record, asked: VerifyOptions) -> str:
    kind = str(record.provenance.get("device", "cpu"))
    try:
        return resolve_devices(asked.device or kind)[0]
    except UsageError as error:
        if asked.device is not None:
            raise
        raise UsageError(
            f"it was made on {record.provenance.get('device_name', kind)}, and there is no such device here; --device "
            "names another kind, on which no more than its intervals can hold"
        ) from error


def _job(record: Record, planned: PlannedCell, folder: Path, asked: VerifyOptions) -> Job:
    return Job(
        cell=planned.cell,
        scores=planned.scores,
        data_dir=str(asked.data_dir),
        out_dir=str(folder),
        folder=cell_folder(planned.cell),
        threads=int(record.provenance.get("threads") or 1),
        accelerate=_accelerate(record),
    )


def _accelerate(record: Record) -> Accelerate:
    """What was asked for, as far as the report of what was done tells it."""
    asked: dict[str, Accelerate] = {"switched off": "off", "compiled": "compile"}
    return asked.get(str(record.cost.get("acceleration", {}).get("compile")), "auto")


# --- what came of it --------------------------------------------------------------------------------------------------


def compared(record: Record, again: Record) -> VerifiedScore:
    """A stored record beside the one of the same cell done again."""
    new, equal, within = by_score_key(again.scores), 0, 0
    outside: list[tuple[Score, float | None]] = []
    for key, score in by_score_key(record.scores).items():
        value = new[key].value if key in new else None
        if value == score.value:
            equal += 1
        elif value is not None and score.ci_low is not None and score.ci_high is not None:
            inside = score.ci_low <= value <= score.ci_high
            within += inside
            outside += [] if inside else [(score, value)]
        else:
            outside.append((score, value))
    sums = [found.checks.get("encoder_sha256") for found in (record, again)]
    weights = None if None in sums else sums[0] == sums[1]
    verdict: Verdict = "within intervals" if within else "equal scores"
    if outside:
        verdict = "does not hold"
    elif not within and weights:
        verdict = "identical"
    return VerifiedScore(
        record=record,
        verdict=verdict,
        reason="; ".join((*_farthest(outside), *_other_conditions(record, again))),
        weights=weights,
        equal=equal,
        within=within,
        outside=len(outside),
    )


def _farthest(outside: Sequence[tuple[Score, float | None]]) -> Iterator[str]:
    """The score that moved most, in words."""
    distance: Callable[[tuple[Score, float | None]], float] = lambda each: (  # noqa: E731  # a key, typed
        float("inf") if each[1] is None else abs(each[1] - each[0].value)
    )
    if outside:
        score, value = max(outside, key=distance)
        now = "no number" if value is None else f"{value:.6g}"
        yield f"{score.metric} of {score.evaluator} at {score.tap} was {score.value:.6g} and is {now}"


def _other_conditions(record: Record, again: Record) -> Iterator[str]:
    for key in CONDITIONS:
        then, now = record.provenance.get(key), again.provenance.get(key)
        if then != now:
            yield f"{key} {now}, then {then}"


def table(findings: Sequence[VerifiedScore]) -> Table:
    """One row for each cell."""
    words = {True: "identical", False: "other", None: "-"}
    return Table(
        title=f"{len(findings)} cells done again",
        columns=("method", "encoder", "dataset", "seed", "verdict", "weights", "equal", "within", "outside", "remarks"),
        rows=tuple(
            (
                *(str(found.record.cell[kind]["label"]) for kind in ("method", "encoder", "dataset")),
                "-" if found.record.cell["seed"] is None else str(found.record.cell["seed"]),
                *(found.verdict, words[found.weights], str(found.equal), str(found.within), str(found.outside)),
                found.reason,
            )
            for found in findings
        ),
        notes=(
            "Of the stored scores: equal to the last bit; others within the stored score's own 95 % interval over test "
            "images; outside it, or without an interval or a new number.",
        ),
        kept=9,
    )
