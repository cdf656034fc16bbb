"""`bench speed`: invalid options, and measurements of methods and evaluators."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from speed_samples import Bench, rows_of

from benchmark.api.catalog import load_catalog
from benchmark.errors import BenchError, UnknownNameError, UsageError
from benchmark.speed import measure
from benchmark.speed import training as speed_training
from benchmark.speed.device_limits import DeviceLimits
from benchmark.speed.measure import SpeedOptions, measure_speed
from benchmark.speed.measurement import Measurement
from benchmark.speed.timed_training import TimedTraining


@pytest.fixture
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if a measurement starts."""
    monkeypatch.setattr(measure, "measure_device", lambda settings: pytest.fail("something was measured"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--parts", "training,evaluaters"), "no part called 'evaluaters'"),
        (("--parts", "evaluaters"), "did you mean 'evaluators'?"),
        (("--features", "200,50"), "--features 200,50: must be three numbers"),
        (("--features", "200,50,sixteen"), "--features 200,50,sixteen: must be three numbers"),
        (("--features", "200,10,16"), "20 or more"),
        (("--features", "200,50,0"), "such as 50000,10000,512"),
        (("--methods", "aett"), "no method called 'aett'"),
        (("--encoders", "blocknot"), "no encoder called 'blocknot'"),
        (("--datasets", "digit"), "no dataset called 'digit'"),
        (("--evaluators", "knnn"), "no evaluator called 'knnn'"),
        (("--evaluators", "knn[kk=3]"), "kk"),
        (("--methods", "aet[transform=round]"), "transform"),
        (("--set", "rate=3"), "rate"),
        (("--device", "cuda:77"), "cuda:77"),
    ],
)
def test_invalid_option_is_an_error_before_any_measurement(
    bench: Bench, nothing_is_measured: None, tmp_path: Path, words: Sequence[str], sentence: str
) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "speed.csv").write_text("kept")
    result = bench("speed", *words, "--to", str(tmp_path / "to"))
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert (tmp_path / "to" / "speed.csv").read_text() == "kept"


def test_invalid_options_raise_usage_errors() -> None:
    with pytest.raises(UnknownNameError):
        measure_speed(SpeedOptions(parts="all"), load_catalog())
    with pytest.raises(UsageError):
        measure_speed(SpeedOptions(features="many"), load_catalog())
    assert issubclass(UsageError, BenchError)


CHEAP = ("--rounds", "1", "--seconds", "0.01", "--threads", "1", "--device", "cpu")


def test_method_that_does_not_train_is_an_error(bench: Bench, tmp_path: Path) -> None:
    result = bench("speed", "--methods", "untrained", "--parts", "training", *CHEAP, "--to", str(tmp_path))
    assert result.exit_code == 2
    assert "no training to measure: none of the methods trains" in " ".join(result.stderr.split())
    assert not (tmp_path / "speed.csv").exists()


def test_error_gives_the_reason_of_a_skip(bench: Bench, tmp_path: Path) -> None:
    """DIM's paper recipe is for another encoder."""
    result = bench(
        *("speed", "--methods", "dim", "--encoders", "blocknet", "--budget", "paper", "--parts", "training"),
        *(*CHEAP, "--to", str(tmp_path)),
    )
    assert result.exit_code == 2
    assert "paper" in result.stderr
    assert not (tmp_path / "speed.csv").exists()


def quantities(*, compared: bool) -> dict[str, str]:
    """Quantity of a training -> its unit."""
    rates = dict.fromkeys(("data", "step", "both"), "images/s")
    beside = {f"plain {name}": unit for name, unit in rates.items()} | {f"{name} ratio": "x" for name in rates}
    counted = {
        "peak memory": "bytes",
        "flops per image": "flop",
        "bytes per image": "bytes",
        "fraction of product limit": "fraction",
        "fraction of copy limit": "fraction",
        "training time": "s",
    }
    return {**rates, **(beside if compared else {}), **counted}


@pytest.mark.filterwarnings("default:.*fork.*:DeprecationWarning")
def test_speed_measures_every_method_and_evaluator(bench: Bench, tmp_path: Path) -> None:
    to = tmp_path / "to"
    result = bench(
        *("speed", "--methods", "aet,rotation,dim", "--encoders", "dim_conv", "--batch", "16"),
        *("--features", "200,50,16", "--parts", "training,evaluators", "--format", "json", *CHEAP, "--to", str(to)),
    )
    assert result.exit_code == 0, result.output
    body = json.loads(result.stdout)
    actual: dict[str, dict[str, Any]] = {}
    for each in body["rows"]:
        assert each["quantity"] not in actual.setdefault(each["subject"], {})
        actual[each["subject"]][each["quantity"]] = each
    titles = [f"{name} / dim_conv / digits" for name in ("aet", "rotation", "dim")]
    assert set(actual) == {"device", "linear", "knn", "retrieval", *titles}
    for title in titles:
        numbers = actual[title]
        assert {name: each["unit"] for name, each in numbers.items()} == quantities(compared=True)
        for name, each in numbers.items():
            assert math.isfinite(each["value"]), name
            assert each["value"] > 0 or name == "peak memory", name
            assert each["batch"] == 16
            assert each["low"] is None or each["low"] <= each["value"] <= each["high"]
        for name in ("data", "step", "both"):
            quotient = numbers[name]["value"] / numbers[f"plain {name}"]["value"]
            assert numbers[f"{name} ratio"]["value"] == pytest.approx(quotient)  # one round
        step = numbers["step"]["value"]
        for counted, limited, limit in (("flops", "product", "matrix product"), ("bytes", "copy", "copy")):
            fraction = numbers[f"{counted} per image"]["value"] * step / actual["device"][limit]["value"]
            assert numbers[f"fraction of {limited} limit"]["value"] == pytest.approx(fraction)
        assert "6 epochs of 1437 images" in numbers["training time"]["detail"]
        assert numbers["training time"]["value"] == pytest.approx(6 * 1437 / numbers["both"]["value"])
    for name in ("linear", "knn", "retrieval"):
        assert set(actual[name]) == {"peak memory", "seconds"}
        assert actual[name]["seconds"]["value"] > 0
        assert "200 train, 50 test, 16 dimensions" in actual[name]["seconds"]["detail"]
    conditions = body["conditions"]
    assert (conditions["rounds"], conditions["threads"], conditions["workers"]) == (1, 1, 1)
    rows = rows_of((to / "speed.csv").read_text())
    assert [(row["subject"], row["quantity"]) for row in rows] == [
        (each["subject"], each["quantity"]) for each in body["rows"]
    ]
    assert {row["torch"] for row in rows} == {str(torch.__version__)}
    assert f"{len(rows)} rows added" in result.stderr


def test_rotation_has_the_flops_counted_by_hand(bench: Bench, tmp_path: Path) -> None:
    """By hand for dim_conv on 8 x 8 gray images: four rotations, each through the encoder and the head."""
    result = bench(
        *("speed", "--methods", "rotation", "--encoders", "dim_conv", "--batch", "16", "--no-plain"),
        *("--parts", "training", "--format", "json", *CHEAP, "--to", str(tmp_path)),
    )
    assert result.exit_code == 0, result.output
    numbers = {each["quantity"]: each for each in json.loads(result.stdout)["rows"] if each["subject"] != "device"}
    assert {name: each["unit"] for name, each in numbers.items()} == quantities(compared=False)
    first = 16 * 64 * (1 * 4 * 4)  # positions x channels x weights of each
    deeper = 4 * 128 * (64 * 4 * 4) + 1 * 256 * (128 * 4 * 4)
    dense = 256 * 1024 + 1024 * 64 + 64 * 4
    # Forward, gradient of the weights and gradient of the inputs, which images do not need.
    once = 2 * (2 * first + 3 * (deeper + dense))
    assert numbers["flops per image"]["value"] == 4 * once


def fake_training(training: TimedTraining, limits: DeviceLimits) -> list[Measurement]:
    """Fails for AET, and returns one number for all other methods."""
    if training.title.startswith("aet"):
        raise RuntimeError("out of memory")
    return [training.measurement("both", 2.0, "images/s")]


def test_failing_cell_does_not_affect_other_cells(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed_training, "measure_training", fake_training)
    bench(
        *("speed", "--methods", "rotation,aet,untrained", "--encoders", "dim_conv", "--parts", "training", *CHEAP),
        *("--to", str(tmp_path)),
    )
    rows = {(row["subject"], row["quantity"]): row for row in rows_of((tmp_path / "speed.csv").read_text())}
    assert float(rows["rotation / dim_conv / digits", "both"]["value"]) == 2.0
    assert rows["aet / dim_conv / digits", "not timed"]["detail"] == "RuntimeError: out of memory"
    assert rows["untrained / dim_conv / digits", "not timed"]["detail"] == "the method does not train"


def test_evaluator_that_cannot_be_measured_is_reported(bench: Bench, tmp_path: Path) -> None:
    result = bench(
        *("speed", "--parts", "evaluators", "--evaluators", "knn,conv", "--features", "100,40,8", "--format", "csv"),
        *(*CHEAP, "--to", str(tmp_path)),
    )
    assert result.exit_code == 0, result.output
    rows = {(row["subject"], row["quantity"]): row for row in rows_of(result.stdout)}
    assert float(rows["knn", "seconds"]["value"]) > 0
    assert "map" in rows["conv", "not timed"]["detail"]
    assert ("conv", "seconds") not in rows
