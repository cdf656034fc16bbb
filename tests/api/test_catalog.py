"""The catalog: broken plugins affect no others, names are found, clashes and BENCH_PLUGINS are resolved."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DATA, PluginMaker

from benchmark.api.catalog import Catalog, Entry, Provider, load_catalog
from benchmark.errors import UnknownNameError, UsageError

METHOD = (
    "@benchmark.hookimpl\ndef bench_methods():\n"
    "    yield benchmark.MethodSpec(name='one', summary='', build=lambda context: None)\n"
)


def names(entries: tuple[Entry, ...] | list[Entry]) -> list[str]:
    return [entry.spec.name for entry in entries]


# --- loading ----------------------------------------------------------------------------------------------------------


def test_catalog_holds_every_kind_of_third_party_spec(installed: Path) -> None:
    catalog = load_catalog("third_party,teacher")
    assert names(catalog.methods) == ["byol", "mean_color"]
    assert names(catalog.encoders) == ["tiny"]
    assert names(catalog.datasets) == ["stripes"]
    assert names(catalog.evaluators) == ["centroid"]
    provider = Provider(plugin="third_party", distribution="repbench-third-party", version="0.3.1")
    assert catalog.methods[1].provider == provider
    assert catalog.versions() == {"repbench-third-party": "0.3.1", "repbench-teacher": "1.0"}


def test_catalog_is_immutable(installed: Path) -> None:
    catalog = load_catalog("third_party")
    with pytest.raises(dataclasses.FrozenInstanceError):
        catalog.methods = ()  # type: ignore[misc]  # the point of the test


def test_broken_plugins_affect_no_others(installed: Path) -> None:
    catalog = load_catalog()
    assert {broken.provider.plugin for broken in catalog.broken} == {
        f"third_party_{fault}" for fault in ("absent", "exit", "twice", "typo", "wrong_type")
    }
    assert {"mean_color", "byol", "rotation", "aet", "dim"} <= set(names(catalog.methods))
    assert not {"twin", "never_seen", "dictionary"} & set(names(catalog.methods))


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        ("third_party_absent", ["ModuleNotFoundError", "absent_accelerator"]),
        ("third_party_exit", ["SystemExit", "4"]),
        ("third_party_twice", ["bench_methods", "'twin'", "twice"]),
        ("third_party_typo", ["bench_method"]),
        ("third_party_wrong_type", ["bench_methods", "dict", "MethodSpec"]),
    ],
)
def test_reason_of_a_broken_plugin_is_one_line(installed: Path, plugin: str, words: list[str]) -> None:
    (broken,) = load_catalog(plugin).broken
    assert "\n" not in broken.reason
    assert [word for word in words if word not in broken.reason] == []


def test_traceback_of_a_broken_plugin_is_kept(installed: Path) -> None:
    (broken,) = load_catalog("third_party_absent").broken
    assert "import absent_accelerator" in broken.traceback


def test_plugin_that_is_twice_on_the_path_is_loaded_once(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(site), f"{site}/.", *sys.path])
    assert len(load_catalog("third_party").methods) == 1


# --- BENCH_PLUGINS ----------------------------------------------------------------------------------------------------


def test_selection_loads_only_the_named_plugins(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", "third_party, teacher")
    catalog = load_catalog()
    assert [provider.plugin for provider in catalog.plugins] == ["teacher", "third_party"]
    assert "third_party_absent" in catalog.blocked
    assert catalog.broken == ()


def test_selection_with_a_minus_excludes_plugins(installed: Path) -> None:
    catalog = load_catalog("-third_party_*,-rotation")
    assert catalog.broken == ()
    assert {"mean_color", "aet"} <= set(names(catalog.methods))
    assert "rotation" not in names(catalog.methods)
    assert "rotation" in catalog.blocked


def test_excluded_plugin_is_not_imported(installed: Path) -> None:
    for name in ("third_party_exit", "third_party_absent"):
        sys.modules.pop(name, None)
    load_catalog("-third_party_exit,-third_party_absent")
    assert "third_party_exit" not in sys.modules


@pytest.mark.parametrize("selection", ["techer", "-techer"])
def test_unknown_plugin_in_a_selection_is_an_error(installed: Path, selection: str) -> None:
    with pytest.raises(UnknownNameError, match=r"no plugin called 'techer'.*did you mean 'teacher'.*BENCH_PLUGINS"):
        load_catalog(selection)


# --- names ------------------------------------------------------------------------------------------------------------


def test_unknown_name_lists_what_is_installed_and_the_nearest(installed: Path) -> None:
    catalog = load_catalog("third_party,teacher")
    message = r"no method called 'mean_colour'; installed: byol, mean_color; did you mean 'mean_color'\?"
    with pytest.raises(UnknownNameError, match=message):
        catalog.find(catalog.methods, "method", "mean_colour")


def test_unknown_name_mentions_broken_plugins(installed: Path) -> None:
    catalog = load_catalog("third_party,third_party_typo")
    with pytest.raises(UnknownNameError, match=r"\(broken plugins: third_party_typo; see `bench list plugins`\)"):
        catalog.find(catalog.methods, "method", "never_seen")


def test_glob_matches_in_order_and_must_match_something(installed: Path) -> None:
    catalog = load_catalog("third_party,teacher,rotation")
    assert names(catalog.match(catalog.methods, "method", "*")) == ["byol", "mean_color", "rotation"]
    assert names(catalog.match(catalog.methods, "method", "?yol")) == ["byol"]
    for pattern in ("z*", "[m]ean_color"):
        with pytest.raises(UnknownNameError):
            catalog.match(catalog.methods, "method", pattern)


# --- clashes ----------------------------------------------------------------------------------------------------------


def test_clash_names_both_distributions(installed: Path) -> None:
    catalog = load_catalog("rotation,third_party_rotation")
    sentence = (
        "method 'rotation' is provided by repbench and repbench-third-party; "
        "write repbench:rotation or repbench-third-party:rotation"
    )
    with pytest.raises(UsageError, match=sentence):
        catalog.find(catalog.methods, "method", "rotation")
    assert catalog.clashes() == [sentence]


def test_distribution_selects_one_of_two_providers(installed: Path) -> None:
    catalog = load_catalog("rotation,third_party_rotation")
    assert provider_of(catalog, "repbench:rotation") == "repbench"
    assert provider_of(catalog, "repbench-third-party:rotation") == "repbench-third-party"


def test_distribution_may_be_named_without_a_clash(installed: Path) -> None:
    catalog = load_catalog("third_party")
    assert provider_of(catalog, "repbench-third-party:mean_color") == "repbench-third-party"
    with pytest.raises(UnknownNameError):
        provider_of(catalog, "repbench:mean_color")


def provider_of(catalog: Catalog, name: str) -> str:
    return catalog.find(catalog.methods, "method", name).provider.distribution


def test_glob_may_name_the_distribution(installed: Path) -> None:
    catalog = load_catalog("rotation,third_party,third_party_rotation")
    matching = catalog.match(catalog.methods, "method", "repbench-third-party:*")
    assert [(entry.provider.distribution, entry.spec.name) for entry in matching] == [
        ("repbench-third-party", "mean_color"),
        ("repbench-third-party", "rotation"),
    ]


def test_clash_within_a_distribution_suggests_excluding_a_plugin(make_plugin: PluginMaker) -> None:
    site = make_plugin(METHOD, name="left")
    shutil.copytree(site / "left_package", site / "right_package")
    points = next(site.glob("*.dist-info")) / "entry_points.txt"
    points.write_text(points.read_text() + "right = right_package\n")
    catalog = load_catalog("left,right")
    with pytest.raises(UsageError, match=r"exclude one with BENCH_PLUGINS=-left or BENCH_PLUGINS=-right"):
        catalog.find(catalog.methods, "method", "one")


# --- a real installation ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="hatchling is needed to build the wheel")
@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="pip is needed to install the wheel")
def test_plugins_installed_by_pip_are_listed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--target", target]
    for name in ("third_party", "teacher"):
        source = tmp_path / name
        shutil.copytree(DATA / name, source)
        subprocess.run([sys.executable, "-m", "pip", "install", *options, source], check=True, capture_output=True)
    listed = subprocess.run(
        [sys.executable, "-m", "benchmark", "list", "methods"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target), "BENCH_PLUGINS": "third_party,teacher"},
    ).stdout
    assert "mean_color" in listed
    assert "repbench-teacher 1.0" in listed
