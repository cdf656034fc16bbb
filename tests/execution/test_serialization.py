"""Jobs and outcomes as text: what comes back is what was sent, and what is no job is refused with a reason."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.api.cells import Cell, Item, Job, Outcome, ScoreRequest
from benchmark.api.recipes import Recipe
from benchmark.errors import PluginError, UsageError
from benchmark.execution.serialization import from_json, outcome_from_json, outcome_to_json, to_json

METHOD = Item(
    name="aet",
    params={"transform": "affine", "angle": 1.5, "turns": (1, 2, 3), "weights": None, "list": [1, (2, [3])]},
    identity={"transform": "affine", "nested": {"list": (1,), "other": [{"map": 1}]}, "one": {"map": {"list": []}}},
    label="aet[transform=affine]",
    provider="repbench",
    version=2,
)
CELL = Cell(
    id="5" * 64,
    method=METHOD,
    encoder=Item(name="blocknet"),
    dataset=Item(name="folder", params={"path": "/data/Füße", "size": 32}),
    fingerprint="digits-1",
    subset=None,
    seed=None,
    recipe=Recipe(milestones=(2, 4), mean=(0.5, 0.25, 1e-30), clip=None, linear_from=3),
)
JOB = Job(
    cell=CELL,
    scores=(
        ScoreRequest(tap="conv2", pool="average", evaluator=Item(name="knn", params={"k": (1, 5)}), protocol="knn@1"),
        ScoreRequest(tap="conv2", pool="none", evaluator=Item(name="conv"), protocol="conv@1"),
    ),
    data_dir="data",
    out_dir="runs",
    folder="aet-blocknet-folder-s0-5555555555",
    timeout=30.0,
    expected_seconds=0.5,
    memory=2**40,
)


def changed(**fields: Any) -> str:
    """The job's text with other fields; None takes one away."""
    body = {**json.loads(to_json(JOB)), **fields}
    return json.dumps({key: value for key, value in body.items() if value != "gone"})


def test_a_job_comes_back_as_it_was_sent() -> None:
    again = from_json(to_json(JOB))
    assert again == JOB
    assert to_json(again) == to_json(JOB)


def test_lists_and_tuples_and_dictionaries_stay_what_they_were() -> None:
    again = from_json(to_json(JOB)).cell.method
    assert again.params["list"] == [1, (2, [3])]
    assert again.params["turns"] == (1, 2, 3)
    assert again.identity["nested"] == {"list": (1,), "other": [{"map": 1}]}
    assert again.identity["one"] == {"map": {"list": []}}


@pytest.mark.parametrize("value", [{"list": 1}, {"map": 1}, {"list": [1]}, {"map": {"map": ()}}, {}, (), [], [[]]])
def test_a_dictionary_with_a_marks_name_is_no_mark(value: object) -> None:
    method = dataclasses.replace(METHOD, params={"given": value}, identity={})
    job = dataclasses.replace(JOB, cell=dataclasses.replace(CELL, method=method))
    assert from_json(to_json(job)).cell.method.params == {"given": value}


def test_whole_numbers_texts_and_truth_values_keep_their_type() -> None:
    params = {"number": 1.0, "count": 1, "switch": True, "text": "1"}
    job = dataclasses.replace(JOB, cell=dataclasses.replace(CELL, encoder=Item(name="tiny", params=params)))
    again = from_json(to_json(job)).cell.encoder.params
    assert {key: type(value) for key, value in again.items()} == {key: type(value) for key, value in params.items()}


def test_the_text_is_one_line_of_json() -> None:
    text = to_json(JOB)
    assert "\n" not in text
    assert json.loads(text)["cell"]["recipe"]["milestones"] == [2, 4]


def test_what_json_cannot_hold_is_named_with_its_place() -> None:
    cell = dataclasses.replace(CELL, method=dataclasses.replace(METHOD, params={"path": Path("/data")}))
    with pytest.raises(PluginError, match=r"job\.cell\.method\.params\.path is a PosixPath.*parameters are texts"):
        to_json(dataclasses.replace(JOB, cell=cell))
    numbered = dataclasses.replace(CELL, method=dataclasses.replace(METHOD, params={"by": {1: "one"}}))
    with pytest.raises(PluginError, match=r"params\.by is a dict"):
        to_json(dataclasses.replace(JOB, cell=numbered))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no job: it is not JSON"),
        ("[]", "job is no Job: .*'cell' is missing"),
        (changed(hurry=True), "job is no Job: 'hurry' is unknown; every machine needs the same version"),
        (changed(cell="gone"), "job is no Job: 'cell' is missing"),
        (changed(threads="two"), r'job\.threads cannot be "two"'),
        (changed(threads=1.5), r"job\.threads cannot be 1\.5"),
        (changed(accelerate="very"), r'job\.accelerate cannot be "very"'),
        (changed(timeout="soon"), r'job\.timeout cannot be "soon"'),
        (changed(scores={}), r"job\.scores cannot be"),
        (changed(scores=[{}]), r"job\.scores\[0\] is no ScoreRequest: 'evaluator' is missing"),
    ],
)
def test_what_is_no_job_is_refused_with_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        from_json(text)


@pytest.mark.parametrize("state", ["done", "failed", "elsewhere"])
def test_an_outcome_comes_back_as_it_was_sent(state: Any) -> None:
    outcome = Outcome(
        cell_id="5", folder="a", state=state, seconds=1.5, reason="why", traceback="a\nb", cause="silence"
    )
    assert outcome_from_json(outcome_to_json(outcome)) == outcome


def test_a_job_is_no_outcome() -> None:
    with pytest.raises(UsageError, match="outcome is no Outcome: 'cause' is missing"):
        outcome_from_json(to_json(JOB))
