"""Python API: run a benchmark, read results, show and compare them.

import benchmark

results = benchmark.run("aet,rotation", encoders="blocknet", seeds=3)
results.table("linear")                 # a table: text in a terminal, HTML in a notebook
frame = results.to_frame()              # pandas, one row per score
results.compare("aet/blocknet/digits", "rotation/blocknet/digits")

results = benchmark.read_results("results/digits.jsonl")
"""

from __future__ import annotations

import functools
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmark.api.cells import Accelerate, Outcome
from benchmark.api.limits import checked_argument, checked_path, checked_source
from benchmark.errors import UsageError, contained
from benchmark.plain_text import visible

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.analysis.check import CheckReport
    from benchmark.records.columns import Columns
    from benchmark.records.record import Record
    from benchmark.records.store import RecordStore
    from benchmark.reports.ranks import TieMode
    from benchmark.reports.table import MissingCell, Report, Table


@contained()
def run(
    methods: str | Sequence[str],
    *,
    encoders: str | Sequence[str] = "resnet18",
    datasets: str | Sequence[str] = "digits",
    evaluators: str | Sequence[str] = "linear,knn,retrieval",
    taps: str | Sequence[str] = "default",
    seeds: int | str | Iterable[int] = 1,
    budget: Literal["quick", "paper"] = "quick",
    epochs: int | None = None,
    settings: str | Sequence[str] | Mapping[str, object] = (),
    floors: bool = True,
    smoke: bool = False,
    device: str = "auto",
    executor: str = "local",
    threads_per_cell: int = 1,
    per_device: int | str = "auto",
    timeout: float | None = None,
    checkpoint_minutes: float = 1.0,
    checkpoint_epochs: int | None = None,
    accelerate: Accelerate = "auto",
    out: str | Path = "runs",
    data_dir: str | Path | None = None,
    rerun: Literal["none", "failed", "stale", "all"] = "failed",
    quiet: bool = False,
) -> Results:
    """Train, freeze and score every method x encoder x dataset x seed: `bench run` in Python.

    Finished cells are skipped and failed ones are tried again, so that an interrupted call can be repeated. Cells run in
    their own processes; a script needs no `if __name__ == "__main__"`.

    Methods, encoders, datasets and evaluators are *items*, as on the command line: a text with commas between names, or
    a list of such texts. Names may hold `*` and `?`; parameters are in brackets: `"aet[transform=affine|projective]"`.

    Args:
        methods: items, such as `"dim,aet"` or `["dim", "aet[transform=affine]"]`.
        encoders: items.
        datasets: items, such as `"folder[path=photos]"`.
        evaluators: items.
        taps: layers to score: `"default"` (the encoder's own choice), `"all"`, or names.
        seeds: a number N for seeds 0 to N-1, a list of seeds, or a text such as `"0,3"`.
        budget: `"quick"` (minutes) or `"paper"` (the schedule of the method's paper).
        epochs: epochs instead of the budget's, at least 1; learning-rate schedules are stretched.
        settings: recipe settings for all methods: `{"lr": 0.05, "batch": 128}` or `"lr=.05,batch=128"`.
        floors: also score raw pixels and an untrained encoder.
        smoke: train and score a few steps only, to test that everything runs. The scores are not results.
        device: `"auto"`, `"cpu"`, `"cuda"`, or `"cuda:0,1"`.
        executor: where cells run: `"local"` (processes of this machine), `"inline"` (this process), or a cluster.
        threads_per_cell: CPU threads of each cell.
        per_device: cells at once on each device; `"auto"`: one on a GPU, cores / threads_per_cell on a CPU.
        timeout: stop a cell that makes no progress for this many seconds; None: never.
        checkpoint_minutes: least minutes between two checkpoints of a cell.
        checkpoint_epochs: also write a checkpoint after every N epochs.
        accelerate: acceleration of training steps: `"auto"` (what is faster on the device), `"off"`, or `"compile"`.
        out: folder of the records.
        data_dir: folder of downloaded datasets; None: the environment variable BENCH_DATA, or `data`.
        rerun: which cells that have a record run again: `"none"`, `"failed"`, `"stale"` (the version of a plugin has
            or its code has changed), or `"all"`.
        quiet: show no progress.

    Returns:
        The results of the requested cells, including those that were finished before.

    Raises:
        UsageError: an argument is invalid, or no plugin has a name. Nothing was run.
        KeyboardInterrupt: passed on; finished cells are kept and running cells have written a checkpoint.
    """
    arguments = {name: value for name, value in locals().items() if name != "quiet"}
    from benchmark.execution import session
    from benchmark.execution.arguments import RunArguments

    typed = RunArguments(**arguments)
    result = session.run(typed.request(), typed.options(), quiet=quiet)
    return Results(
        source=typed.options().out,
        missing=result.missing,
        failed=result.failed,
        summary=result.summary,
        problems=(result.problem,) if result.problem else (),
        scores=result.scores,
    )


def read_results(path: str | Path) -> Results:
    """The results in a folder of records or in a leaderboard.

    Args:
        path: a folder that `bench run` or `benchmark.run` wrote, such as `runs`, or a leaderboard's `.jsonl`, such as
            `results/digits.jsonl`. For a leaderboard's `.csv`, the `.jsonl` next to it is read.

    Raises:
        UsageError: there is no record.
        RecordError: the folder or the leaderboard cannot be read. Damaged records are left out and named in `problems`.
    """
    source = checked_argument("path", checked_path, path)
    if source.suffix == ".csv":
        source = source.with_suffix(".jsonl")
    if source.suffix == ".jsonl":
        return _read_leaderboard(source)
    return _read_folder(source)


def _read_leaderboard(source: Path) -> Results:
    from benchmark.records.leaderboard_records import Leaderboard

    store = Leaderboard(source)
    if not len(store.columns):
        raise UsageError(f"no record in {source}; `bench export --to {source.parent}` writes leaderboards")
    return Results(source=source, problems=store.problems, notes=store.notes, scores=store.columns, store=store)


def _read_folder(source: Path) -> Results:
    from benchmark.records import index

    notes: list[str] = []
    columns, problems = index.read(source, notes=notes)
    if not len(columns):
        listed = "".join(f"; cannot be read: {problem}" for problem in problems)
        raise UsageError(f"no record in {source}{listed}; `bench run --out {source}` writes records")
    failed = tuple(
        Outcome(
            cell_id=summary.id,
            folder=summary.folder,
            state="failed",
            seconds=float(summary.train_seconds or 0),
            reason=summary.failure or "",
        )
        for summary in columns.summaries
        if summary.state == "failed"
    )
    return Results(source=source, failed=failed, problems=tuple(problems), notes=tuple(notes), scores=columns)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Results:
    """Finished and failed cells. Printed: tables; in a notebook: HTML tables."""

    source: Path
    """Folder or leaderboard of the records."""
    missing: tuple[MissingCell, ...] = ()
    """Requested cells without scores, each with its reason. Empty if the results were read."""
    failed: tuple[Outcome, ...] = ()
    """Failed cells: `folder`, `reason` and, after a run, `traceback`."""
    summary: tuple[str, ...] = ()
    """After a run: how many cells are done, skipped and failed, and why."""
    problems: tuple[str, ...] = ()
    """Records that cannot be read, and files that cannot be written."""
    notes: Sequence[str] = ()
    """Copies of cells that are left out, and folders that are named after another cell."""
    scores: Sequence[Record] | Columns = field(default=())
    """The data of the tables, as read."""
    store: RecordStore | None = None
    """The leaderboard of the records; None for those of a folder."""

    @functools.cached_property
    def records(self) -> tuple[Record, ...]:
        """All records: settings, scores, cost, versions and checks of each cell."""
        from benchmark.records.columns import Columns
        from benchmark.records.record_files import read_each

        if self.store is not None:
            return tuple(self.store.records())
        if not isinstance(self.scores, Columns):
            return tuple(self.scores)
        return tuple(read_each(self.source, [summary.folder for summary in self.scores.summaries])[0])

    @functools.cached_property
    def columns(self) -> Columns:
        """The scores as columns. Records of a folder are marked if code or weights have changed since."""
        from benchmark.records.columns import Columns, ColumnsBuilder, columns_of
        from benchmark.records.marks import marked

        if self.source.is_file():
            return columns_of(self.scores)
        if isinstance(self.scores, Columns):
            return marked(self.scores, self.source)
        builder = ColumnsBuilder()
        for record in self.scores:
            builder.add(record, folder=Path(record.folder).name)
        return marked(builder.columns(), self.source)

    def table(self, evaluator: str, dataset: str | None = None) -> Table:
        """The score table of an evaluator on a dataset, best row first.

        Args:
            evaluator: label, such as `"linear"` or `"knn[k=5]"`.
            dataset: label; None: the only dataset.

        Returns:
            A table: `str()` is its text, a notebook shows it as HTML; `rows` holds its texts.

        Raises:
            UsageError: no table, or several, have these labels.
        """
        tables = self.tables()
        matches = [table for table in tables if table.evaluator == evaluator and dataset in (None, table.dataset)]
        if len(matches) == 1:
            return matches[0]
        existing = ", ".join(dict.fromkeys(f"{each.evaluator} on {each.dataset}" for each in tables if each.evaluator))
        request = f"'{evaluator}'" + (f" on '{dataset}'" if dataset else "")
        if not matches:
            raise UsageError(f"no table of {request}; available: {existing or 'none'}")
        several = "; ".join(each.title for each in matches)
        raise UsageError(f"{len(matches)} tables of {request}: {several}; name the dataset, or choose from tables()")

    def tables(self, ties: TieMode = "auto") -> tuple[Table, ...]:
        """One table for each dataset and evaluator; `ties` as in `report`."""
        return tuple(self.report(ties).tables())

    def to_frame(self) -> pd.DataFrame:
        """One row per score, with the columns of the CSV files; values are raw."""
        return self.report("off").frame()

    def report(self, ties: TieMode = "auto") -> Report:
        """The scores for every output format: `benchmark.reports.render.render_report` writes it.

        Args:
            ties: whether to add a column of rank intervals: `"on"`, `"off"`, or `"auto"` (if that takes less than
                about two seconds).
        """
        from benchmark.records.columns import Columns
        from benchmark.reports.ranks import ranker
        from benchmark.reports.score_tables import score_report

        source = self.source if isinstance(self.scores, Columns) or self.source.is_file() else None
        return score_report(self.columns, self.missing, ranker(self.scores, ties, self.store or source))

    @contained()
    def compare(
        self,
        a: str,
        b: str,
        *,
        all_metrics: bool = False,
        cka: bool = False,
        data_dir: str | Path | None = None,
        dataset: str | None = None,
    ) -> Report:
        """Compare two cells, two methods across seeds, or two leaderboards: `bench compare` in Python.

        Cells are searched in `source`.

        Args:
            a: a record (folder, cell id or a prefix of it, method/encoder/dataset/seed), all seeds of a method
                (method/encoder/dataset), or a leaderboard (`FILE.jsonl`, or `REV:FILE.jsonl` from git).
            b: likewise.
            all_metrics: compare every metric, not only each evaluator's headline.
            cka: also compare the features of the test images (linear CKA); the cells need their weights.
            data_dir: for `cka`, folder of downloaded datasets; None: the environment variable BENCH_DATA, or `data`.
            dataset: for `cka`, an item, if the record does not name the dataset's files.

        Returns:
            A table for each question: whether these checkpoints differ, and whether the methods differ across seeds.
            `frame()` has one row per score and question.

        Raises:
            RecordError: no cell, or several settings, have a name.
            UsageError: there is no such leaderboard or git revision.
        """
        from benchmark.analysis.compare import compare_groups, single_group
        from benchmark.analysis.compare_report import comparison_report
        from benchmark.analysis.sources import SideReader
        from benchmark.execution.arguments import data_folder

        sides = SideReader(self.source)
        groups_a = sides.groups(checked_argument("a", checked_source, a))
        groups_b = sides.groups(checked_argument("b", checked_source, b))
        similarity = []
        if cka:
            from benchmark.analysis.cka import similarities

            records_a, records_b = single_group(groups_a), single_group(groups_b)
            similarity = similarities(records_a, records_b, data_dir=data_folder(data_dir), dataset=dataset)
        return comparison_report(compare_groups(groups_a, groups_b, (a, b), all_metrics), similarity)

    def check(self, baseline: str | Path, margin: float = 0.005) -> CheckReport:
        """Check all cells of `source` against a baseline: `bench check` in Python.

        Args:
            baseline: a leaderboard's `.csv` or `.jsonl`, or `REV:FILE` from git.
            margin: smallest drop that counts as a regression, as a fraction.

        Returns:
            The verdict: `exit_code` (0: passed), `summary` (one line) and `rows`, one per score. Printed: a table.

        Raises:
            UsageError: there is no record, or an argument is invalid.
            RecordError: the baseline is damaged.
        """
        from benchmark.analysis.check import check_records

        return check_records(self.source, checked_argument("baseline", checked_source, baseline), margin)

    def __repr__(self) -> str:
        count = len(self.scores)
        return f"<Results of {count} cells from {self.source}: {len(self.missing)} missing, {len(self.failed)} failed>"

    def __str__(self) -> str:
        from benchmark.reports.terminal import terminal_text

        return terminal_text(self.tables(), None) + "\n".join(map(visible, self.summary))

    def _repr_html_(self) -> str:
        from benchmark.reports.html import html_text

        return html_text(self.tables()) + "".join(f"<p>{html.escape(visible(line))}</p>" for line in self.summary)
