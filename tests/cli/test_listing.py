"""Text of bench list."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from benchmark.api.catalog import BrokenPlugin, Catalog, Entry, Provider, load_catalog
from benchmark.api.methods import MethodSpec
from benchmark.cli.listing import list_plugins

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


def test_line_has_name_summary_provider_and_paper() -> None:
    text = list_plugins(Catalog(methods=(_method("mine", paper="Ann, 2020"), _method("m")), plugins=(MINE,)), "methods")
    assert text == ("methods:\n  mine  my idea  repbench-mine 2.1  Ann, 2020\n  m     my idea  repbench-mine 2.1\n")


def test_verbose_shows_default_values_and_help_of_parameters() -> None:
    text = list_plugins(Catalog(methods=(_method("mine", params=Params),)), "methods", verbose=True)
    lines = [" ".join(line.split()) for line in text.splitlines()[2:]]
    assert lines == [
        "kind='none' one of local, none which objective",
        "steps=1;5 a list written 1;2;3 (each entry an integer)",
        "clip=none a number or none",
        "on=true true or false",
    ]


def test_empty_catalog_says_what_to_run() -> None:
    assert "plugins: none installed; run `pip install -e .`" in list_plugins(Catalog())
    assert "methods: none installed" in list_plugins(Catalog())


def test_every_kind_shows_broken_blocked_and_clashing_plugins() -> None:
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
def test_installed_plugins_are_listed_without_trailing_spaces(verbose: bool) -> None:
    catalog = load_catalog()
    text = list_plugins(catalog, verbose=verbose)
    for entry in (*catalog.methods, *catalog.encoders, *catalog.datasets, *catalog.evaluators, *catalog.executors):
        assert f"  {entry.spec.name} " in text
    assert all(line == line.rstrip() for line in text.splitlines())
