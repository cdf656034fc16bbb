"""Whatever a plugin raises: the exit code of `bench` stays its own, and other cells keep their results."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from command_line import INLINE
from conftest import Bench, PluginMaker

import benchmark
from benchmark.errors import ExitCode

ERRORS = {
    "EOFError": "raise EOFError()",
    "SystemExit(0)": "raise SystemExit(0)",
    "SystemExit(1)": "raise SystemExit(1)",
    "GeneratorExit": "raise GeneratorExit()",
    "click.Abort": "import click; raise click.Abort()",
    "click.Exit": "import click; raise click.exceptions.Exit(0)",
    "BrokenPipeError": "raise BrokenPipeError(32, 'Broken pipe')",
    "RecursionError": "(lambda call: call(call))(lambda call: call(call))",
    "MemoryError": "raise MemoryError()",
}
PLUGIN = """
from pathlib import Path


def raise_at(hook):
    if {at!r} == hook:
        {statement}


def layout(params, image_shape):
    raise_at("layout")
    tap = benchmark.Tap(name="fc", kind="vector", shape=(4,))
    return benchmark.Layout(taps=(tap,), output="fc", probe="fc")


def build(context):
    raise_at("build")


def describe(params, data_dir):
    raise_at("describe")
    return benchmark.DatasetInfo(
        label="made", fingerprint="made", image_shape=(3, 8, 8), num_train=8, num_test=8, class_names=("a", "b")
    )


def load(params, data_dir):
    raise_at("load")
    import torch
    images = torch.zeros(8, 3, 8, 8, dtype=torch.uint8)
    split = benchmark.Split(images=images, labels=torch.arange(8) % 2)
    return benchmark.Dataset(class_names=("a", "b"), train=split, test=split)


class Executor:
    def run(self, jobs, reporter):
        raise_at("run")
        yield from ()


def executor(context):
    raise_at("executor")
    return Executor()


@benchmark.hookimpl
def bench_encoders():
    yield benchmark.EncoderSpec(name="made", summary="made", build=build, layout=layout)


@benchmark.hookimpl
def bench_datasets():
    yield benchmark.DatasetSpec(name="made", summary="made", describe=describe, load=load)


@benchmark.hookimpl
def bench_executors():
    yield benchmark.ExecutorSpec(name="made", summary="made", build=executor)
"""
EXPECTED = {
    "layout": ExitCode.USAGE,  # the plan skips the cell, and nothing is left
    "describe": ExitCode.USAGE,
    "load": ExitCode.USAGE,
    "build": ExitCode.FAILED_CELLS,
    "executor": ExitCode.USAGE,
    "run": ExitCode.INTERNAL,
}
"""Function that raises -> exit code of `bench run`."""
WORDS = ("run", "--methods", "untrained", "--encoders", "made", "--dataset", "made", "--evaluators", "knn", *INLINE[2:])


@pytest.fixture
def install(make_plugin: PluginMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PluginMaker:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def install_plugin(at: str, statement: str) -> Path:
        return make_plugin(PLUGIN.format(at=at, statement=statement))

    return install_plugin


@pytest.mark.parametrize(
    ("at", "statement"),
    [
        *(("run", statement) for statement in ERRORS.values()),
        *(
            ("build", ERRORS[name])
            for name in ("EOFError", "SystemExit(0)", "GeneratorExit", "click.Exit", "RecursionError")
        ),
        *(
            (at, ERRORS[name])
            for at in ("layout", "describe", "load", "executor")
            for name in ("EOFError", "SystemExit(0)")
        ),
    ],
)
def test_error_of_a_plugin_has_an_exit_code_and_a_message_of_bench(
    install: PluginMaker, bench: Bench, at: str, statement: str
) -> None:
    install(at, statement)
    executor = "made" if at in ("executor", "run") else "inline"
    result = bench(*WORDS, "--executor", executor)
    assert result.exit_code == EXPECTED[at], result.output
    assert "Aborted" not in result.output
    assert "Traceback" not in result.stderr
    if EXPECTED[at] == ExitCode.INTERNAL:
        assert "bench: internal error: " in result.stderr
        assert "in made_package/__init__.py, line " in result.stderr
        assert "traceback in " in result.stderr


@pytest.mark.parametrize("statement", ["raise SystemExit(0)", "raise GeneratorExit()"])
def test_exit_of_a_plugin_does_not_end_a_script(install: PluginMaker, tmp_path: Path, statement: str) -> None:
    install("run", statement)
    with pytest.raises(RuntimeError, match="a plugin raised"):
        benchmark.run(
            "untrained",
            encoders="made",
            datasets="made",
            evaluators="knn",
            executor="made",
            device="cpu",
            out=tmp_path / "runs",
            floors=False,
            quiet=True,
        )


@pytest.mark.parametrize("name", ["SystemExit(0)", "GeneratorExit", "click.Abort", "RecursionError"])
def test_error_while_a_plugin_is_imported_breaks_only_this_plugin(
    make_plugin: PluginMaker, bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", "made")
    make_plugin(f"{ERRORS[name]}\n")
    result = bench("list")
    assert result.exit_code == 0
    assert "broken plugins:\n  made (repbench-made 2.0): " in result.stdout
