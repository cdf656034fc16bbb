"""What is installed and what is planned, as text."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from benchmark.catalog import BrokenPlugin, Catalog, Entry, Provider, load_catalog
from benchmark.contracts import MethodSpec
from benchmark.grammar import parse_items
from benchmark.listing import listed, planned
from benchmark.plan import Request, plan
from benchmark.runner import due, survey

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
    text = listed(Catalog(methods=(_method("mine", paper="Ann, 2020"), _method("m")), plugins=(MINE,)), "methods")
    assert text == ("methods:\n  mine  my idea  repbench-mine 2.1  Ann, 2020\n  m     my idea  repbench-mine 2.1\n")


def test_with_details_each_parameter_shows_its_default_what_it_takes_and_its_help() -> None:
    text = listed(Catalog(methods=(_method("mine", params=Params),)), "methods", verbose=True)
    lines = [" ".join(line.split()) for line in text.splitlines()[2:]]
    assert lines == [
        "kind='none' one of local, none which objective",
        "steps=1;5 a list of whole numbers, written 1;2;3",
        "clip=none a number or none",
        "on=true true or false",
    ]


def test_nothing_installed_says_what_to_run() -> None:
    assert "plugins: none installed; run pip install -e ." in listed(Catalog())
    assert "methods: none installed" in listed(Catalog())


def test_broken_blocked_and_clashing_plugins_are_told_whatever_was_asked_for() -> None:
    broken = BrokenPlugin(provider=MINE, reason="ImportError: no module", traceback="Traceback\n  line")
    other = dataclasses.replace(MINE, distribution="other")
    catalog = Catalog(
        methods=(_method("x"), _method("x", other)), broken=(broken,), blocked=("kept_out",), plugins=(MINE,)
    )
    text = listed(catalog, "methods")
    assert "mine (repbench-mine 2.1): ImportError: no module" in text
    assert "Traceback" not in text
    assert "Traceback" in listed(catalog, "methods", verbose=True)
    assert "clash: method 'x'" in text
    assert [line.split() for line in listed(catalog, "plugins").splitlines() if "kept_out" in line] == [
        ["kept_out", "blocked", "by", "BENCH_PLUGINS"]
    ]


@pytest.mark.parametrize("verbose", [False, True])
def test_everything_installed_is_listed_without_trailing_spaces(verbose: bool) -> None:
    catalog = load_catalog()
    text = listed(catalog, verbose=verbose)
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
    found = plan(request, load_catalog())
    errands = survey(found, tmp_path)
    lines = planned(errands, due(errands, "failed"), found.skips).splitlines()
    assert [line.split()[0] for line in lines] == ["run", "skip", "skip", "note", "1"]
    assert lines[0].split()[1:] == ["new", errands[0].folder]
    assert "resnet18 has no tap 'conv2'" in lines[2]
    assert "blocknet has no tap 'conv9'" in lines[3]
    assert lines[-1] == "1 cells, 1 to run, 2 combinations skipped"
