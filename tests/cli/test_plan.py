"""`bench plan` refuses what `bench run` refuses, with the same words."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import STRIPES
from conftest import Bench

import benchmark
from benchmark.errors import BenchError

QUICK = (*STRIPES, "--device", "cpu", "--no-floors")
REFUSED = (
    "--device gpu",
    "--device cuda",
    "--device cuda:9",
    "--device cuda:",
    "--executor nobody",
    "--executor local[bogus=1]",
    "--executor local[patience=-1]",
    "--executor local,inline",
    "--executor slurm",
    "--executor slurm[cluster=mars]",
    "--taps nonsense",
    "--taps ,",
    "--set bogus=1",
    "--set lr=abc",
    "--set lr=-1",
    "--per-device 0",
    "--per-device many",
    "--threads-per-cell 0",
    "--checkpoint-epochs 0",
    "--out file",
    "--out file/runs",
    "--out /proc/runs",
    f"--out {'long' * 100}",
    "--data-dir file",
    "--dataset folder[path=missing]",
    "--dataset stripes[subset=1]",
    "--dataset stripes[size=4]",
    "--evaluators nobody",
    "--evaluators centroid[bogus=1]",
    "--evaluators centroid[pool=max]",
    "--methods nobody",
    "--methods mean_color[bogus=1]",
    "--methods pretrained[path=missing.pt]",
    "--encoders nobody",
    "--encoders wide",
    "--seeds -1",
    "--seeds x",
    "--epochs 0",
    "--budget large",
    "--rerun sometimes",
    "--accelerate much",
    "--config missing.toml",
    "--bogus",
)
"""Arguments that cannot be satisfied, on a machine without a GPU, without Slurm, where `file` is a file."""


@pytest.fixture
def plugins(third_party: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The third-party plugins, and those with the executors, datasets and methods of `REFUSED`."""
    monkeypatch.setenv("BENCH_PLUGINS", "third_party,executors,images,bounds")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "file").touch()


@pytest.mark.parametrize("argument", REFUSED)
def test_plan_refuses_what_run_refuses_with_the_same_words(
    plugins: None, bench: Bench, tmp_path: Path, argument: str
) -> None:
    words = ("--methods", "mean_color", *QUICK, *argument.split())
    before = sorted(tmp_path.iterdir())
    results = [bench(*command, *words) for command in (["plan"], ["run", "--dry-run"], ["run"])]
    texts = [result.stderr.replace("main plan", "main run") for result in results]
    assert [result.exit_code for result in results] == [2, 2, 2], texts
    assert texts[0] == texts[1] == texts[2] != ""
    assert sorted(tmp_path.iterdir()) == before


def test_plan_refuses_an_executor_whose_plugin_fails(
    plugins: None, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench_executors.local

    monkeypatch.setattr(bench_executors.local, "Local", lambda context: 1 / 0)
    words = ("--methods", "mean_color", *QUICK)
    results = [bench(command, *words) for command in ("plan", "run")]
    assert [result.exit_code for result in results] == [2, 2]
    assert {result.stderr for result in results} == {
        "bench: executor 'local' cannot be used: ZeroDivisionError: division by zero\n"
    }


def test_invalid_option_is_refused_although_every_cell_is_finished(finished: Bench, bench: Bench) -> None:
    words = ("--methods", "mean_color", *QUICK, "--executor", "nobody")
    assert [bench(command, *words).exit_code for command in ("plan", "run")] == [2, 2]


@pytest.mark.parametrize("argument", ["device=gpu", "executor=nobody", "taps=nonsense", "out=file", "per_device=0"])
def test_python_refuses_it_too(plugins: None, bench: Bench, monkeypatch: pytest.MonkeyPatch, argument: str) -> None:
    name, _, value = argument.partition("=")
    words = ("--methods", "mean_color", *QUICK, f"--{name.replace('_', '-')}", value)
    planned = bench("plan", *words)
    settings = {"encoders": "tiny", "datasets": "stripes", "evaluators": "centroid", "epochs": 1, "device": "cpu"}
    with pytest.raises(BenchError) as refused:
        benchmark.run("mean_color", **{**settings, "floors": False, name: value})  # type: ignore[arg-type]
    message = str(refused.value).removeprefix(f"{name}=")  # the option is named by its value's type
    assert message in planned.stderr
