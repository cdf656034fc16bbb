"""`bench list`: names, providers, parameters, published scores, broken and excluded plugins."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from conftest import Bench, PluginMaker

FIGURE = (
    "benchmark.Published(value=0.9, encoder='net', tap='conv2', evaluator='head', source='Ann 2020', status='recalled'"
)


def test_list_shows_broken_plugins_and_clashes(installed: Path, bench: Bench) -> None:
    result = bench("list")
    assert result.exit_code == 0
    assert "broken plugins:" in result.stdout
    reason = "ModuleNotFoundError: No module named 'absent_accelerator'"
    assert f"  third_party_absent (repbench-third-party 0.3.1): {reason}" in result.stdout
    assert "clash: method 'rotation' is provided by repbench and repbench-third-party" in result.stdout
    assert "Traceback" not in result.stdout
    assert "Traceback" in bench("list", "-v").stdout


def test_list_of_one_kind_shows_that_kind(third_party: Path, bench: Bench) -> None:
    shown = bench("list", "encoders").stdout
    assert "tiny" in shown
    assert "mean_color" not in shown


def test_list_v_shows_published_scores(make_plugin: PluginMaker, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    second = FIGURE.replace("0.9", "0.625").replace("'recalled'", "'read', note='best epoch', spread=0.01")
    make_plugin(
        "@benchmark.hookimpl\ndef bench_methods():\n    yield benchmark.MethodSpec(name='one', summary='', "
        f"build=lambda context: None, published=({FIGURE}), {second})))\n"
    )
    monkeypatch.setenv("BENCH_PLUGINS", "made")
    lines = [" ".join(line.split()) for line in bench("list", "methods", "-v").stdout.splitlines()]
    start = lines.index("published:") + 1
    assert lines[start : start + 2] == [
        "one net cifar10 conv2 head 0.9000 recalled Ann 2020",
        "one net cifar10 conv2 head 0.6250 ±0.0100 Ann 2020 (best epoch)",
    ]
    assert "published:" not in bench("list", "methods").stdout


def test_without_plugins_messages_say_how_to_install_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda group: ())
    assert "no plugin is installed; run `pip install -e .`" in bench("plan", "--methods", "aet").stderr
    shown = bench("list").stdout
    assert "plugins: none installed; run `pip install -e .`" in shown
    assert "methods: none installed" in shown
