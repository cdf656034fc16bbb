"""What is installed and what is planned, as text."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from sample_records import sample_record

from benchmark.api.catalog import BrokenPlugin, Catalog, Entry, Provider, load_catalog
from benchmark.api.grammar import parse_items
from benchmark.api.methods import MethodSpec
from benchmark.cli.listing import list_plan, list_plugins
from benchmark.execution.request import Request
from benchmark.execution.session import RunOptions, forecast
from benchmark.records.record import write_record

MINE = Provider(plugin="mine", distribution="repbench-mine", version="2.1")


@dataclass(frozen=True, kw_only=True)
class Params:
    """One of each."""

    kind: Literal["local", "none"] = field(default="none", metadata={"help": "which objective"})
    steps: tuple[int, ...] = (1, 5)
    clip: float | None = None
    on: bool = True


def _method(name: str, provider: Provider = MINE, **more: Any) -> Entry[MethodSpec]:
    return Entry(spec=MethodSpec(name=name, summary="my idea", build=lambda context: ..., **more), provider=provider)


def test_a_line_names_summary_provider_and_paper() -> None:
    text = list_plugins(Catalog(methods=(_method("mine", paper="Ann, 2020"), _method("m")), plugins=(MINE,)), "methods")
    assert text == ("methods:\n  mine  my idea  repbench-mine 2.1  Ann, 2020\n  m     my idea  repbench-mine 2.1\n")


def test_with_details_each_parameter_shows_its_default_what_it_takes_and_its_help() -> None:
    text = list_plugins(Catalog(methods=(_method("mine", params=Params),)), "methods", verbose=True)
    lines = [" ".join(line.split()) for line in text.splitlines()[2:]]
    assert lines == [
        "kind='none' one of local, none which objective",
        "steps=1;5 a list written 1;2;3 (each entry an integer)",
        "clip=none a number or none",
        "on=true true or false",
    ]


def test_nothing_installed_says_what_to_run() -> None:
    assert "plugins: none installed; run pip install -e ." in list_plugins(Catalog())
    assert "methods: none installed" in list_plugins(Catalog())


def test_broken_blocked_and_clashing_plugins_are_told_whatever_was_asked_for() -> None:
    broken = BrokenPlugin(provider=MINE, reason="ImportError: no module", traceback="Traceback\n  line")
    other = dataclasses.replace(MINE, distribution="other")
    catalog = Catalog(
        methods=(_method("x"), _method("x", other)), broken=(broken,), blocked=("kept_out",), plugins=(MINE,)
    )
    text = list_plugins(catalog, "methods")
    assert "mine (repbench-mine 2.1): ImportError: no module" in text
    assert "Traceback" not in text
    assert "Traceback" in list_plugins(catalog, "methods", verbose=True)
    assert "clash: method 'x'" in text
    assert [line.split() for line in list_plugins(catalog, "plugins").splitlines() if "kept_out" in line] == [
        ["kept_out", "blocked", "by", "BENCH_PLUGINS"]
    ]


@pytest.mark.parametrize("verbose", [False, True])
def test_everything_installed_is_listed_without_trailing_spaces(verbose: bool) -> None:
    catalog = load_catalog()
    text = list_plugins(catalog, verbose=verbose)
    for entry in (*catalog.methods, *catalog.encoders, *catalog.datasets, *catalog.evaluators, *catalog.executors):
        assert f"  {entry.spec.name} " in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_plan_lists_cells_skips_notes_and_counts(tmp_path: Path) -> None:
    request = Request(
        methods=parse_items(["aet,pretrained*"]),
        encoders=parse_items(["resnet18,blocknet"]),
        datasets=parse_items(["digits"]),
        evaluators=parse_items(["knn"]),
        taps=("conv2", "conv9"),
        floors=False,
    )
    found = forecast(request, where(tmp_path))
    lines = list_plan(found).splitlines()
    assert [line.split()[0] for line in lines] == ["run", "skip", "skip", "note", "1", "1"]
    assert lines[0].split()[1:] == ["new", found.errands[0].folder]
    assert "resnet18 has no tap 'conv2'" in lines[2]
    assert "blocknet has no tap 'conv9'" in lines[3]
    assert lines[-2:] == ["1 cells, 1 to run, 2 combinations skipped", "1 of 1 cells have no past record"]


def where(out: Path, **changes: Any) -> RunOptions:
    """The CPU, two slots."""
    fields: dict[str, Any] = {
        **{"out": out, "data_dir": out / "data", "device": "cpu", "executor": "local", "threads": 1},
        **{"rerun": "failed", "per_device": "2"},
    }
    return RunOptions(**{**fields, **changes})


def foretold(out: Path, seeds: int, encoders: str = "blocknet", **changes: Any) -> list[str]:
    """The plan of some seeds on digits, line by line."""
    request = Request(
        methods=parse_items(["aet"]),
        encoders=parse_items([encoders]),
        datasets=parse_items(["digits"]),
        evaluators=parse_items(["knn"]),
        seeds=tuple(range(seeds)),
        floors=False,
        epochs=4,
    )
    return list_plan(forecast(request, where(out, **changes))).splitlines()


@pytest.fixture
def past(tmp_path: Path) -> Path:
    """One finished cell, as if it had been run on this CPU: 6 epochs of 1,437 images in 86.22 s, scored in 2.52 s."""
    cost = {"train_seconds": 86.22, "images_seen": 8622, "evaluate_seconds": 2.52}
    write_record(tmp_path / "cell", sample_record("aet", "blocknet", "digits", cost=cost))
    return tmp_path


def test_a_plan_tells_the_time_of_each_cell_and_of_all_on_the_slots(past: Path) -> None:
    lines = foretold(past, 5)
    # 4 epochs of 1,437 images at 0.01 s each are 57.48 s, and 2.52 s of scoring
    assert [line.split()[-2:] for line in lines[:5]] == [["60", "s"]] * 5
    assert lines[5:] == ["5 cells, 5 to run, 0 combinations skipped", "5.0 min of work, 2.5 min on 2 slots (cpu)"]


def test_no_schedule_is_shorter_than_the_longest_cell(past: Path) -> None:
    assert foretold(past, 1)[-1] == "60 s of work, 60 s on 2 slots (cpu)"


def test_a_plan_says_of_how_many_cells_nothing_is_known(past: Path) -> None:
    lines = foretold(past, 3, "blocknet,resnet18", per_device="1")
    assert [line.split()[-1] == "s" for line in lines[:6]] == [True] * 3 + [False] * 3
    assert lines[-2:] == ["3.0 min of work, 3.0 min on 1 slot (cpu)", "3 of 6 cells have no past record"]
    (past / "cell" / "record.json").unlink()
    assert foretold(past, 2)[-1] == "2 of 2 cells have no past record"


def test_what_is_kept_takes_no_time(past: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.execution.cell_state._state_of", lambda left, planned: ("done", "", True))
    found = forecast(_one(), where(past))
    (past / "cell").rename(past / found.errands[0].folder)
    lines = list_plan(forecast(_one(), where(past))).splitlines()
    assert lines[0].split()[:2] == ["keep", "done"]
    assert lines[1:] == ["1 cells, 0 to run, 0 combinations skipped"]


def _one() -> Request:
    items = {"methods": "aet", "encoders": "blocknet", "datasets": "digits", "evaluators": "knn"}
    return Request(**{key: parse_items([name]) for key, name in items.items()}, floors=False)  # type: ignore[arg-type]  # selections all
