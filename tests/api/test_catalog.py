"""The catalog: whatever third parties install, the rest is found, loaded and shown."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import DATA, Bench, install_by_hand

from benchmark.api import catalog as catalogs
from benchmark.api.catalog import Catalog, load_catalog
from benchmark.errors import UnknownNameError, UsageError

PluginMaker = Callable[..., Path]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PluginMaker:
    """Writes a one-file plugin as a distribution of its own, installed."""

    def make(body: str, name: str = "made", distribution: str = "repbench-made") -> Path:
        folder = tmp_path / distribution
        package = folder / f"{name}_package"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"import benchmark\n\n\n{body}")
        (folder / "pyproject.toml").write_text(
            f'[project]\nname = "{distribution}"\nversion = "2.0"\n'
            f'[project.entry-points.bench]\n{name} = "{name}_package"\n'
            f'[tool.hatch.build.targets.wheel]\npackages = ["{name}_package"]\n'
        )
        site = tmp_path / f"site-{distribution}"
        site.mkdir()
        install_by_hand(folder, site)
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, f"{name}_package", raising=False)
        return site

    return make


def reason(found: Catalog, plugin: str) -> str:
    (broken,) = [broken for broken in found.broken if broken.provider.plugin == plugin]
    return broken.reason


def names(found: Catalog) -> set[str]:
    return {entry.spec.name for entry in found.methods}


# --- broken plugins ---------------------------------------------------------------------------------------------------


def test_a_third_party_plugin_gives_methods_encoders_datasets_and_evaluators(installed: Path) -> None:
    found = load_catalog("third_party,teacher")
    assert names(found) == {"mean_color", "byol"}
    assert [entry.spec.name for entry in found.encoders] == ["tiny"]
    assert [entry.spec.name for entry in found.datasets] == ["stripes"]
    assert [entry.spec.name for entry in found.evaluators] == ["centroid"]
    assert found.methods[1].provider == catalogs.Provider(
        plugin="third_party", distribution="repbench-third-party", version="0.3.1"
    )
    assert found.versions() == {"repbench-third-party": "0.3.1", "repbench-teacher": "1.0"}


def test_every_way_to_be_broken_leaves_all_others_as_they_are(installed: Path) -> None:
    found = load_catalog()
    assert {broken.provider.plugin for broken in found.broken} == {
        "third_party_absent",
        "third_party_exit",
        "third_party_twice",
        "third_party_typo",
        "third_party_wrong_type",
    }
    assert {"mean_color", "byol", "rotation", "aet", "dim"} <= names(found)
    assert not {"twin", "never_seen", "dictionary"} & names(found)


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
def test_the_reason_of_a_broken_plugin_is_one_line_that_says_what_is_wrong(
    installed: Path, plugin: str, words: list[str]
) -> None:
    said = reason(load_catalog(plugin), plugin)
    assert "\n" not in said
    for word in words:
        assert word in said


def test_the_traceback_of_a_broken_plugin_is_kept(installed: Path) -> None:
    (broken,) = load_catalog("third_party_absent").broken
    assert "import absent_accelerator" in broken.traceback


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("@benchmark.hookimpl\ndef bench_methods():\n    return None\n", ["bench_methods", "must yield MethodSpec"]),
        (
            "@benchmark.hookimpl\ndef bench_methods():\n"
            "    return benchmark.MethodSpec(name='one', summary='', build=lambda c: None)\n",
            ["bench_methods", "must yield MethodSpec"],
        ),
        (
            "@benchmark.hookimpl\ndef bench_encoders():\n"
            "    yield benchmark.MethodSpec(name='one', summary='', build=lambda c: None)\n",
            ["bench_encoders", "MethodSpec", "EncoderSpec"],
        ),
        (
            "@benchmark.hookimpl\ndef bench_methods():\n"
            "    yield benchmark.MethodSpec(name='a name', summary='', build=lambda c: None)\n",
            ["'a name'", "letters"],
        ),
        (
            "@benchmark.hookimpl\ndef bench_methods():\n"
            "    yield benchmark.MethodSpec(name='', summary='', build=lambda c: None)\n",
            ["name"],
        ),
        (
            "@benchmark.hookimpl\ndef bench_methods():\n"
            "    yield benchmark.MethodSpec(name='one', summary='', build=lambda c: None, params=dict)\n",
            ["'one'", "dataclass"],
        ),
        (
            "import dataclasses\n\n\n@dataclasses.dataclass(frozen=True, kw_only=True)\nclass Params:\n    width: int\n\n\n"
            "@benchmark.hookimpl\ndef bench_methods():\n"
            "    yield benchmark.MethodSpec(name='one', summary='', build=lambda c: None, params=Params)\n",
            ["'one'", "default", "width"],
        ),
        ("@benchmark.hookimpl\ndef bench_methods(catalog):\n    yield from ()\n", ["bench_methods", "catalog"]),
        ("@benchmark.hookimpl\ndef bench_methods():\n    yield from ()\n    1 / 0\n", ["ZeroDivisionError"]),
        ("def broken(:\n", ["SyntaxError"]),
    ],
    ids=[
        "none",
        "returned",
        "wrong kind",
        "blank in name",
        "no name",
        "dict",
        "no default",
        "argument",
        "late",
        "syntax",
    ],
)
def test_a_hook_that_gives_what_is_no_spec_is_told_so(plugin: PluginMaker, body: str, words: list[str]) -> None:
    plugin(body)
    said = reason(load_catalog("made"), "made")
    for word in words:
        assert word in said


def test_what_a_plugin_gave_before_it_broke_is_not_half_there(plugin: PluginMaker) -> None:
    plugin(
        "@benchmark.hookimpl\ndef bench_methods():\n"
        "    yield benchmark.MethodSpec(name='first', summary='', build=lambda c: None)\n"
        "    raise ValueError('no second one')\n"
    )
    found = load_catalog("made")
    assert found.methods == ()
    assert found.plugins == ()
    assert reason(found, "made") == "ValueError: no second one"


FIGURE = (
    "benchmark.Published(value=0.9, encoder='net', tap='conv2', evaluator='head', source='Ann 2020', status='recalled')"
)


def method_with(figures: str) -> str:
    """A plugin's body: the method `one` with these figures."""
    return (
        "@benchmark.hookimpl\ndef bench_methods():\n"
        f"    yield benchmark.MethodSpec(name='one', summary='', build=lambda c: None, published={figures})\n"
    )


@pytest.mark.parametrize("figures", ["(0.9,)", "({'value': 0.9},)", "('conv: 0.9',)", f"({FIGURE}, None)"])
def test_what_is_no_published_figure_is_told_so(plugin: PluginMaker, figures: str) -> None:
    plugin(method_with(figures))
    said = reason(load_catalog("made"), "made")
    for word in ("bench_methods", "published of 'one'", "benchmark.Published"):
        assert word in said


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("0.9", "91.16", "never a percentage"),
        ("'recalled'", "'Recalled'", "'read' or 'recalled'"),
        ("'recalled'", "'read', method={'transfrom': 'affine'}", "names the parameter 'transfrom'"),
    ],
)
def test_a_published_figure_that_would_mislead_or_never_fit_is_refused(
    plugin: PluginMaker, old: str, new: str, word: str
) -> None:
    assert old in FIGURE
    plugin(method_with(f"({FIGURE.replace(old, new)},)"))
    assert word in reason(load_catalog("made"), "made")


def test_published_figures_come_with_their_method_and_a_method_may_do_without(plugin: PluginMaker) -> None:
    plugin(method_with(f"({FIGURE},)"), name="with_figures")
    plugin(
        "@benchmark.hookimpl\ndef bench_methods():\n"
        "    yield benchmark.MethodSpec(name='two', summary='', build=lambda c: None)\n",
        name="without",
        distribution="repbench-without",
    )
    found = load_catalog("with_figures,without")
    assert found.broken == ()
    first, second = found.methods
    assert [(figure.value, figure.status, figure.dataset) for figure in first.spec.published] == [
        (0.9, "recalled", "cifar10")
    ]
    assert second.spec.published == ()


# --- clashes ----------------------------------------------------------------------------------------------------------


def test_a_clash_names_both_distributions(installed: Path) -> None:
    found = load_catalog("rotation,third_party_rotation")
    with pytest.raises(UsageError, match=r"write repbench:rotation or repbench-third-party:rotation"):
        found.find(found.methods, "method", "rotation")
    (sentence,) = found.clashes()
    assert "repbench" in sentence
    assert "repbench-third-party" in sentence


def test_a_name_with_its_distribution_is_found_in_spite_of_a_clash(installed: Path) -> None:
    found = load_catalog("rotation,third_party_rotation")
    theirs = found.find(found.methods, "method", "repbench-third-party:rotation")
    ours = found.find(found.methods, "method", "repbench:rotation")
    assert theirs.spec.summary == "a third-party method"
    assert ours.spec.summary.startswith("RotNet")


def test_a_name_without_a_clash_takes_its_distribution_as_well(installed: Path) -> None:
    found = load_catalog("third_party")
    assert found.find(found.methods, "method", "repbench-third-party:mean_color").spec.name == "mean_color"
    with pytest.raises(UnknownNameError):
        found.find(found.methods, "method", "repbench:mean_color")


def test_a_glob_may_name_the_distribution(installed: Path) -> None:
    found = load_catalog("rotation,third_party,third_party_rotation")
    chosen = found.match(found.methods, "method", "repbench-third-party:*")
    assert [(entry.provider.distribution, entry.spec.name) for entry in chosen] == [
        ("repbench-third-party", "mean_color"),
        ("repbench-third-party", "rotation"),
    ]


def test_two_plugins_of_one_distribution_that_clash_can_be_told_apart_by_blocking_one(plugin: PluginMaker) -> None:
    body = (
        "@benchmark.hookimpl\ndef bench_methods():\n"
        "    yield benchmark.MethodSpec(name='one', summary='', build=lambda c: None)\n"
    )
    site = plugin(body, name="left")
    package = site / "right_package"
    package.mkdir()
    (package / "__init__.py").write_text(f"import benchmark\n\n\n{body}")
    points = next(site.glob("*.dist-info")) / "entry_points.txt"
    points.write_text(points.read_text() + "right = right_package\n")
    found = load_catalog("left,right")
    with pytest.raises(UsageError, match=r"BENCH_PLUGINS=-left or BENCH_PLUGINS=-right"):
        found.find(found.methods, "method", "one")


# --- BENCH_PLUGINS ----------------------------------------------------------------------------------------------------


def test_bench_plugins_keeps_all_but_the_named_ones_out(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", "third_party, teacher")
    found = load_catalog()
    assert [provider.plugin for provider in found.plugins] == ["teacher", "third_party"]
    assert "third_party_absent" in found.blocked
    assert found.broken == ()


def test_bench_plugins_with_a_minus_keeps_one_out(installed: Path) -> None:
    found = load_catalog("-third_party_*,-rotation")
    assert found.broken == ()
    assert "rotation" not in names(found)
    assert {"mean_color", "aet"} <= names(found)
    assert "rotation" in found.blocked


def test_a_blocked_plugin_is_not_even_imported(installed: Path) -> None:
    for name in ("third_party_exit", "third_party_absent"):
        sys.modules.pop(name, None)
    load_catalog("-third_party_exit,-third_party_absent")
    assert "third_party_exit" not in sys.modules


def test_an_unknown_name_in_bench_plugins_is_an_error_with_the_nearest_one(installed: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'teacher'.*BENCH_PLUGINS"):
        load_catalog("techer")
    with pytest.raises(UnknownNameError, match=r"techer"):
        load_catalog("-techer")


def test_a_plugin_that_is_found_twice_on_the_path_is_loaded_once(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(site), f"{site}/.", *sys.path])
    assert len(load_catalog("third_party").methods) == 1


# --- finding ----------------------------------------------------------------------------------------------------------


def test_an_unknown_name_gets_the_nearest_one_and_all_that_exist(installed: Path) -> None:
    found = load_catalog("third_party,teacher")
    with pytest.raises(UnknownNameError, match=r"no method called 'mean_colour'; there is: byol, mean_color") as caught:
        found.find(found.methods, "method", "mean_colour")
    assert "did you mean 'mean_color'?" in str(caught.value)


def test_an_unknown_name_mentions_plugins_that_are_broken(installed: Path) -> None:
    found = load_catalog("third_party,third_party_typo")
    with pytest.raises(UnknownNameError, match=r"third_party_typo \(see bench list plugins\)"):
        found.find(found.methods, "method", "never_seen")


def test_a_glob_gives_all_that_match_in_order_and_must_match_something(installed: Path) -> None:
    found = load_catalog("third_party,teacher,rotation")
    assert [entry.spec.name for entry in found.match(found.methods, "method", "*")] == [
        "byol",
        "mean_color",
        "rotation",
    ]
    assert [entry.spec.name for entry in found.match(found.methods, "method", "?yol")] == ["byol"]
    with pytest.raises(UnknownNameError, match=r"'z\*'"):
        found.match(found.methods, "method", "z*")


def test_a_bracket_is_no_glob(installed: Path) -> None:
    found = load_catalog("third_party")
    with pytest.raises(UnknownNameError):
        found.match(found.methods, "method", "[m]ean_color")


def test_the_catalog_is_a_value(installed: Path) -> None:
    found = load_catalog("third_party")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.methods = ()  # type: ignore[misc]  # it is the point that it cannot be
    assert load_catalog("third_party").plugins == found.plugins


# --- bench list -------------------------------------------------------------------------------------------------------


def test_bench_list_shows_name_line_provider_version_and_paper(installed: Path, bench: Bench) -> None:
    shown = bench("list").stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("  mean_color")]
    assert " ".join(line.split()) == (
        "mean_color what color is the part that is hidden? repbench-third-party 0.3.1 A. Author, On Hidden Colors, 2024"
    )


def test_bench_list_shows_broken_plugins_with_the_reason_and_clashes_with_both(installed: Path, bench: Bench) -> None:
    result = bench("list")
    assert result.exit_code == 0
    assert "broken plugins:" in result.stdout
    assert "  third_party_absent (repbench-third-party 0.3.1): ModuleNotFoundError: No module named 'absent_accelerator'" in (
        result.stdout
    )
    assert "clash: method 'rotation' is given by repbench and repbench-third-party" in result.stdout
    assert "Traceback" not in result.stdout
    assert "Traceback" in bench("list", "-v").stdout


def test_bench_list_of_one_kind_shows_that_kind(third_party: Path, bench: Bench) -> None:
    shown = bench("list", "encoders").stdout
    assert "tiny" in shown
    assert "mean_color" not in shown


def test_bench_list_v_shows_parameters_with_default_choice_and_help(third_party: Path, bench: Bench) -> None:
    shown = bench("list", "methods", "-v").stdout
    assert "part=center" in shown
    assert "one of center, left" in shown
    assert "which part of the image is hidden" in shown


def test_bench_list_v_shows_published_figures_with_all_they_are_for_and_their_source(
    plugin: PluginMaker, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = FIGURE.replace("0.9", "0.625").replace("'recalled'", "'read', note='best epoch', spread=0.01")
    plugin(method_with(f"({FIGURE}, {second})"))
    monkeypatch.setenv("BENCH_PLUGINS", "made")
    lines = [" ".join(line.split()) for line in bench("list", "methods", "-v").stdout.splitlines()]
    place = lines.index("published:")
    assert lines[place + 1 : place + 3] == [
        "one net cifar10 conv2 head 0.9000 recalled Ann 2020",
        "one net cifar10 conv2 head 0.6250 ±0.0100 Ann 2020 (best epoch)",
    ]
    assert "published:" not in bench("list", "methods").stdout


def test_bench_list_v_of_a_method_without_figures_has_no_line_for_them(third_party: Path, bench: Bench) -> None:
    assert "published:" not in bench("list", "-v").stdout


def test_bench_list_plugins_shows_what_bench_plugins_keeps_out(installed: Path, bench: Bench, monkeypatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", "-third_party_*")
    shown = bench("list", "plugins").stdout
    assert "blocked by BENCH_PLUGINS" in shown
    assert "broken plugins" not in shown


def test_without_any_plugin_people_are_told_what_to_do(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogs, "entry_points", lambda group: ())
    assert "no plugin is installed; run pip install -e ." in bench("plan", "--methods", "aet").stderr
    shown = bench("list").stdout
    assert "plugins: none installed; run pip install -e ." in shown
    assert "methods: none installed" in shown


# --- a real installation ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="hatchling is needed to build the wheel")
@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="pip is needed to install the wheel")
def test_pip_installs_the_third_party_plugin_and_its_plugins_are_found(tmp_path: Path) -> None:
    target = tmp_path / "target"
    options = [
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--disable-pip-version-check",
        "--target",
        str(target),
    ]
    for name in ("third_party", "teacher"):
        source = tmp_path / name
        shutil.copytree(DATA / name, source)
        subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True, capture_output=True)
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
