"""Carry out a request: plan, compare with the output folder, run the pending cells, read the records back.

`forecast` stops after the comparison. `run` is what `bench run` and `benchmark.run` call.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmark.api.catalog import Catalog, load_catalog
from benchmark.api.cells import Outcome
from benchmark.errors import UsageError
from benchmark.execution import output_folder, runner
from benchmark.execution.cell_state import PendingCell, cells_to_run, survey
from benchmark.execution.estimates import Estimates
from benchmark.execution.plan import plan
from benchmark.execution.request import Plan, Request
from benchmark.execution.run_files import QueuedCell, announce
from benchmark.execution.run_options import RunConfig, RunOptions, expected_config, resolve
from benchmark.execution.scores_file import ScoresFile
from benchmark.execution.summary import RunResult, result_of
from benchmark.progress import Reporter, reporter_for
from benchmark.records import index
from benchmark.records.atomic import remove_abandoned_below
from benchmark.records.merge_folder import recover_abandoned


@dataclass(frozen=True, kw_only=True)
class RunForecast:
    """What a run would do, and the basis for estimating how long it takes."""

    plan: Plan
    cells: tuple[PendingCell, ...]
    """All planned cells, with their state."""
    to_run: tuple[PendingCell, ...]
    """Cells that would run."""
    estimates: Estimates
    devices: tuple[str, ...]
    """Devices as far as they are known without torch."""
    slots: int
    """Cells at once, on all devices together."""


def forecast(request: Request, options: RunOptions) -> RunForecast:
    """What `run` would do with the same arguments. Nothing runs, and torch is not imported, unless --device names a GPU.

    Raises:
        UsageError: whatever `run` refuses before it loads the datasets.
    """
    prepared = _prepare(request, options, load_catalog())
    config = prepared.config
    return RunForecast(
        plan=prepared.plan,
        cells=tuple(prepared.cells),
        to_run=tuple(prepared.pending),
        estimates=_estimates(prepared.plan, options.out, config.devices),
        devices=config.devices,
        slots=_all_slots(config),
    )


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A request whose arguments were all checked."""

    plan: Plan
    config: RunConfig
    """As far as it is known without torch."""
    cells: Sequence[PendingCell]
    pending: Sequence[PendingCell]
    """Cells that have to run."""


def _prepare(request: Request, options: RunOptions, catalog: Catalog) -> _Prepared:
    """The checks of all arguments, for `forecast` and `run` alike: what one refuses, the other refuses with these words.

    Nothing is written.
    """
    config = expected_config(options, catalog)
    runner.new_executor(catalog, config)
    planned = plan(request, catalog)
    if not planned.cells:
        reasons = "; ".join(f"{skip.title}: {skip.reason}" for skip in planned.skips)
        raise UsageError(f"nothing to run: {reasons or 'the request names no method, encoder or dataset'}")
    output_folder.check_writable(options.out)
    cells = survey(planned, options.out)
    return _Prepared(plan=planned, config=config, cells=cells, pending=cells_to_run(cells, options.rerun))


def run(
    request: Request,
    options: RunOptions,
    *,
    quiet: bool = False,
    reporter: Reporter | None = None,
    catalog: Catalog | None = None,
) -> RunResult:
    """Carries out a request. Finished cells are skipped, interrupted ones resume.

    Args:
        request: which cells to train and which scores to compute.
        options: where and how cells run.
        quiet: show no progress.
        reporter: receives all events; default: a display for the terminal or the notebook.
        catalog: the installed plugins; default: all of them.

    Returns:
        The records of the request's cells, what is missing, what failed, and a summary.

    Raises:
        UsageError: a name, a parameter or a value of the request does not exist or is not possible; nothing ran.
        KeyboardInterrupt: the run was stopped; scores.csv holds what is finished.
    """
    catalog = catalog or load_catalog()
    prepared = _prepare(request, options, catalog)
    pending = prepared.pending
    config = resolve(options, catalog) if pending else None
    output_folder.create(options.out)
    remove_abandoned_below(options.out)
    recover_abandoned(options.out)
    scores = ScoresFile(options.out)
    outcomes: list[Outcome] = []
    try:
        if config is not None:
            display = _display(reporter, quiet, pending, config)
            outcomes = _run_pending(pending, prepared.plan, catalog, config, display, scores)
    finally:
        scores.write()
    result = result_of(prepared.plan, prepared.cells, pending, outcomes, scores.path)
    return dataclasses.replace(result, problem=scores.problem)


def _display(
    reporter: Reporter | None, quiet: bool, pending: Sequence[PendingCell], config: RunConfig
) -> AbstractContextManager[Reporter]:
    if reporter is not None:
        return contextlib.nullcontext(reporter)
    return reporter_for(len(pending), _all_slots(config), quiet)


def _run_pending(
    pending: Sequence[PendingCell],
    planned: Plan,
    catalog: Catalog,
    config: RunConfig,
    display: AbstractContextManager[Reporter],
    scores: ScoresFile,
) -> list[Outcome]:
    """Runs cells and returns their outcomes in the order in which they ended."""
    estimates = _estimates(planned, config.out, config.devices)
    queue = [_queued(cell, config.out, estimates) for cell in pending]
    outcomes = []
    with announce(config.out, _all_slots(config), queue), display as report:
        for outcome in runner.run(pending, catalog, config, report, estimate=estimates.cost):
            outcomes.append(outcome)
            scores.refresh()
    return outcomes


def _all_slots(config: RunConfig) -> int:
    return config.slots * len(config.devices)


def _estimates(planned: Plan, out: Path, devices: Sequence[str]) -> Estimates:
    columns, _ = index.read(out)
    return Estimates(columns.summaries, devices[0].partition(":")[0], planned.images)


def _queued(pending: PendingCell, out: Path, estimates: Estimates) -> QueuedCell:
    return QueuedCell(
        id=pending.cell.id,
        folder=pending.folder,
        title=pending.cell.title,
        seconds=estimates.seconds(pending),
        stamp=None if pending.state == "new" else index.stamp_of(f"{out}/{pending.folder}"),
    )
