"""Plan a cell again from its record alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from benchmark.api.catalog import Catalog
from benchmark.api.cells import ScoreRequest
from benchmark.api.grammar import Selection, parse_items
from benchmark.errors import UsageError
from benchmark.execution.plan import plan
from benchmark.execution.request import Plan, PlannedCell, Request
from benchmark.records.record import Record, Score

BUDGETS: tuple[Literal["quick", "paper"], ...] = ("quick", "paper")


def replan(record: Record, data_dir: Path, dataset: str | None, catalog: Catalog) -> PlannedCell:
    """The cell of a record with the scores that the record holds.

    Args:
        record: a finished record.
        data_dir: folder of downloaded datasets.
        dataset: an item such as `folder[path=...]`, for records that do not hold the dataset's path; None: as recorded.
        catalog: the installed plugins.

    Raises:
        UsageError: the cell cannot be planned from the record, or would be another cell.
    """
    planned_again = _plan(record, data_dir, dataset, catalog)
    if not planned_again.cells:
        reasons = "; ".join(skip.reason for skip in planned_again.skips)
        raise UsageError(f"the cell cannot be planned again: {reasons or 'the plan is empty'}")
    planned = next((each for each in planned_again.cells if each.cell.id == record.id), None)
    if planned is None:
        raise UsageError(_why_another_cell(record, planned_again.cells[0]))
    _check_versions(record, planned)
    scored = {score.key()[:4] for score in record.scores}
    scores = tuple(each for each in planned.scores if _key(each) in scored)
    if not scores:
        raise UsageError("no score of the record has a protocol that is installed")
    return replace(planned, scores=scores)


def _plan(record: Record, data_dir: Path, dataset: str | None, catalog: Catalog) -> Plan:
    cell = record.cell
    spec = catalog.find(catalog.methods, "method", _name(cell["method"])).spec
    scores = {(score.evaluator, score.pool): score for score in record.scores}
    request = Request(
        methods=[_selection(cell["method"])],
        encoders=[_selection(cell["encoder"])] if spec.own_encoder is None else [],
        datasets=[_dataset(record, dataset)],
        evaluators=[_evaluator(score, catalog) for score in scores.values()],
        taps=tuple(dict.fromkeys(score.tap for score in record.scores)),
        seeds=(0,) if cell["seed"] is None else (cell["seed"],),
        overrides=cell["recipe"] if spec.trains else {key: cell["recipe"].get(key) for key in ("mean", "std")},
        floors=False,
        data_dir=data_dir,
    )
    # The record does not say which budget was used. Its recipe replaces every number of the budget's.
    plans = [plan(replace(request, budget=budget), catalog) for budget in BUDGETS]
    return next((each for each in plans if each.cells), plans[0])


def _name(item: dict[str, Any]) -> str:
    return f"{item['provider']}:{item['name']}" if item.get("provider") else str(item["name"])


def _selection(item: dict[str, Any]) -> Selection:
    return Selection(name=_name(item), params=tuple(item["params"].items()))


def _dataset(record: Record, dataset: str | None) -> Selection:
    """The record's dataset, or another item with the record's subset."""
    stored = record.cell["dataset"]
    subset = () if stored.get("subset") is None else (("subset", stored["subset"]),)
    if dataset is None:
        return Selection(name=_name(stored), params=(*stored["params"].items(), *subset))
    selection = parse_items([dataset])[0]
    return Selection(name=selection.name, params=(*(each for each in selection.params if each[0] != "subset"), *subset))


def _evaluator(score: Score, catalog: Catalog) -> Selection:
    name = score.evaluator.partition("[")[0]
    pools = catalog.find(catalog.evaluators, "evaluator", name).spec.pools
    pool = (("pool", score.pool),) if score.pool in pools else ()
    return Selection(name=name, params=(*score.params.items(), *pool))


def _key(request: ScoreRequest) -> tuple[str, str, str, str]:
    return (request.tap, request.pool, request.evaluator.label, request.protocol)


def _check_versions(record: Record, planned: PlannedCell) -> None:
    cell, recorded = planned.cell, record.provenance.get("versions") or {}
    installed = {"method": cell.method.version, "encoder": cell.encoder.version, "dataset": cell.dataset.version}
    changed = [
        f"{kind} version {recorded[kind]}, installed {version}"
        for kind, version in installed.items()
        if kind in recorded and recorded[kind] != version
    ]
    if changed:
        raise UsageError(f"the record is of another version, which gives other numbers: {', '.join(changed)}")


def _why_another_cell(record: Record, planned: PlannedCell) -> str:
    cell, fingerprint = planned.cell, record.cell["dataset"].get("fingerprint")
    if cell.fingerprint != fingerprint:
        return (
            f"the contents of dataset '{cell.dataset.label}' have changed since the training: fingerprint "
            f"{cell.fingerprint[:12]} now, {str(fingerprint)[:12]} then; name the original with --dataset "
            "'name[key=value]'"
        )
    return "its settings now give another cell id: a parameter or recipe key was added since then, or a default changed"
