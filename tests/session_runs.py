"""`bench run` as a function on third-party plugins, with the trainings that it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sample_jobs import third_party_request

from benchmark.api.catalog import Catalog, Entry, Provider, load_catalog
from benchmark.api.cells import Job, Outcome
from benchmark.api.executors import ExecutorSpec
from benchmark.execution import session
from benchmark.execution.cell_state import PendingCell, Rerun, survey
from benchmark.execution.plan import plan
from benchmark.execution.run_options import RunOptions
from benchmark.execution.summary import RunResult
from benchmark.progress import Event

PLANTED = Provider(plugin="planted", distribution="planted", version="1")


@dataclass(kw_only=True)
class Session:
    """Runs requests in one output folder."""

    out: Path
    trainings: list[str] = field(default_factory=list)
    """Titles of the cells that were trained, in order."""
    events: list[Event] = field(default_factory=list)

    def run(
        self,
        methods: str = "mean_color",
        *,
        rerun: Rerun = "failed",
        executor: str = "inline",
        catalog: Catalog | None = None,
        **request: Any,
    ) -> RunResult:
        """Carries out a request."""
        options = RunOptions(
            out=self.out, data_dir=self.out.parent / "data", device="cpu", executor=executor, rerun=rerun
        )
        return session.run(self.request(methods, **request), options, reporter=self._report, catalog=catalog)

    def survey(self, methods: str = "mean_color", catalog: Catalog | None = None, **request: Any) -> list[PendingCell]:
        """The states of a request's cells."""
        return survey(plan(self.request(methods, **request), catalog or load_catalog()), self.out)

    def request(self, methods: str, **changes: Any) -> Any:
        """A request with data beside the output folder."""
        return third_party_request(methods, **{"data_dir": self.out.parent / "data", **changes})

    def folder(self, method: str = "mean_color") -> Path:
        """The folder of a method's only cell."""
        (folder,) = self.out.glob(f"{method}-*")
        return folder

    def _report(self, event: Event) -> None:
        self.events.append(event)
        if event.kind == "stage" and event.stage == "train":
            self.trainings.append(event.cell)


def stamps(folder: Path) -> dict[str, int]:
    """File name -> time of its last change."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def with_executor(run: Callable[[Sequence[Job]], Iterator[Outcome]], **spec: Any) -> Catalog:
    """The installed catalog with one executor, `planted`, which runs jobs by a function."""

    class Planted:
        def run(self, jobs: Sequence[Job], reporter: Any) -> Iterator[Outcome]:
            yield from run(jobs)

    made = ExecutorSpec(name="planted", summary="", build=lambda context: Planted(), **spec)
    return dataclasses.replace(load_catalog(), executors=(Entry(spec=made, provider=PLANTED),))
