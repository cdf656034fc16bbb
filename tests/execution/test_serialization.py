"""Jobs and outcomes as JSON text."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from sample_jobs import sample_cell, sample_job

from benchmark.api.cells import Item, Job, Outcome, ScoreRequest
from benchmark.api.parameters import as_dict, bind
from benchmark.api.recipes import Recipe
from benchmark.errors import PluginError, UsageError
from benchmark.execution.serialization import from_json, outcome_from_json, outcome_to_json, to_json

METHOD = Item(
    name="aet",
    params={"transform": "affine", "angle": 1.5, "turns": 3, "weights": None, "flip": True},
    identity={"transform": "affine", "nested": {"sha256": "ab"}},
    label="aet[transform=affine]",
    provider="repbench",
    version=2,
)
CELL = sample_cell(
    method=METHOD,
    dataset=Item(name="folder", params={"path": "/data/Füße\udcff", "size": 32}),
    subset=None,
    seed=None,
    recipe=Recipe(milestones=(2, 4), mean=(0.5, 0.25, 1e-30), clip=None, linear_from=3),
)
SCORES = (
    ScoreRequest(tap="conv2", pool="average", evaluator=Item(name="knn", params={"k": 5}), protocol="knn@1"),
    ScoreRequest(tap="conv2", pool="none", evaluator=Item(name="conv"), protocol="conv@1"),
)
JOB = sample_job(cell=CELL, scores=SCORES, timeout=30.0, expected_seconds=0.5, memory=2**40)


def job_with(**params: object) -> Job:
    """The job with other parameters of its method."""
    method = dataclasses.replace(METHOD, params=params, identity={})
    return dataclasses.replace(JOB, cell=dataclasses.replace(CELL, method=method))


def changed(**fields: Any) -> str:
    """The job's text with other fields; "missing" removes one."""
    body = {**json.loads(to_json(JOB)), **fields}
    return json.dumps({key: value for key, value in body.items() if value != "missing"})


def test_job_is_equal_after_a_round_trip() -> None:
    assert from_json(to_json(JOB)) == JOB


def test_sequences_in_parameters_bind_to_the_same_values_after_a_round_trip() -> None:
    """JSON has no tuples. A cell binds its parameters to their dataclass, which makes tuples of lists."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Params:
        k: tuple[int, ...] = (1,)
        size: int | tuple[int, ...] = 3

    params = bind(Params, {"k": (1, 5), "size": (2, 3)}, "evaluator 'knn'")
    again = from_json(to_json(job_with(**as_dict(params)))).cell.method.params
    assert bind(Params, again, "evaluator 'knn'") == params


@pytest.mark.parametrize("value", [{"list": [1, {"map": []}]}, {}, [], [[1.5, None]], "text", -1, 1e300])
def test_nested_parameters_are_equal_after_a_round_trip(value: object) -> None:
    assert from_json(to_json(job_with(value=value))).cell.method.params == {"value": value}


def test_parameters_keep_their_types() -> None:
    params = {"number": 1.0, "count": 1, "switch": True, "text": "1"}
    again = from_json(to_json(job_with(**params))).cell.method.params
    assert {key: type(value) for key, value in again.items()} == {key: type(value) for key, value in params.items()}


def test_text_of_a_job_is_one_line_of_json() -> None:
    text = to_json(JOB)
    assert "\n" not in text
    assert json.loads(text)["cell"]["recipe"]["milestones"] == [2, 4]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"path": Path("/data")}, r"parameters of 'aet': 'path' is a PosixPath, which cannot be sent"),
        ({"deep": {"by": {1: "one"}}}, r"parameters of 'aet': 'deep': 'by' is a dict"),
        ({"parts": [{1, 2}]}, r"parameters of 'aet': 'parts' is a set"),
    ],
)
def test_parameter_that_json_cannot_hold_is_rejected_with_its_name(params: dict[str, object], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        to_json(job_with(**params))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the text is not a valid job: .*line 1"),
        ("[]", "the text is not a valid job: Expected `object`, got `array`"),
        (changed(hurry=True), "other fields than this version.*every machine needs the same version"),
        (changed(timeout="missing"), "other fields than this version"),
        (changed(cell="missing"), "missing required field `cell`"),
        (changed(threads="two"), r"Expected `int`, got `str` - at `\$.threads`"),
        (changed(threads=1.5), r"Expected `int`, got `float` - at `\$.threads`"),
        (changed(accelerate="very"), r"Invalid enum value 'very' - at `\$.accelerate`"),
        (changed(timeout="soon"), r"got `str` - at `\$.timeout`"),
        (changed(scores={}), r"got `object` - at `\$.scores`"),
        (changed(scores=[{}]), r"missing required field `tap` - at `\$.scores\[0\]`"),
    ],
)
def test_text_that_is_not_a_job_is_rejected_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_json(text)


@pytest.mark.parametrize("state", ["done", "failed", "elsewhere"])
def test_outcome_is_equal_after_a_round_trip(state: Any) -> None:
    outcome = Outcome(
        cell_id="5", folder="a", state=state, seconds=1.5, reason="why", traceback="a\nb", cause="silence"
    )
    assert outcome_from_json(outcome_to_json(outcome)) == outcome


def test_job_is_not_an_outcome() -> None:
    with pytest.raises(UsageError, match=r"the text is not a valid outcome: .*missing required field `cell_id`"):
        outcome_from_json(to_json(JOB))
