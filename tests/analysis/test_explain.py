"""`bench explain`: every field that differs, once, with its consequence."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from sample_records import sample_record, sample_score

from benchmark.analysis.explain import explanation_report, setting_differences, verdict
from benchmark.records.record import Record
from benchmark.records.record_files import write_record
from benchmark.reports.render import FORMATS, render_report


def differences(a: Record, b: Record) -> dict[str, tuple[object, object, str]]:
    """Field -> value in A, value in B, consequence."""
    return {each.field: (each.a, each.b, each.consequence) for each in setting_differences(a, b)}


def changed(record: Record, *path: str, to: object) -> Record:
    """The record with another value of its cell."""
    cell: Any = json.loads(json.dumps(record.cell))
    parent = cell
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = to
    return dataclasses.replace(record, cell=cell, id="e" * 64)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("method", "name"), "dim", "method.name"),
        (("method", "params"), {"loss": "image"}, "method.params.loss"),
        (("encoder", "name"), "blocknet", "encoder.name"),
        (("encoder", "params"), {"blocks": 3}, "encoder.params.blocks"),
        (("dataset", "fingerprint"), "a" * 64, "dataset.fingerprint"),
        (("dataset", "subset"), 50, "dataset.subset"),
        (("seed",), 1, "seed"),
        (("recipe", "lr"), 0.01, "recipe.lr"),
        (("recipe", "milestones"), [1, 2], "recipe.milestones"),
    ],
)
def test_training_settings_make_another_cell(path: tuple[str, ...], value: object, field: str) -> None:
    a = sample_record()
    consequences = {name: each[2] for name, each in differences(a, changed(a, *path, to=value)).items()}
    assert consequences == {field: "another cell"}
    assert verdict(a, changed(a, *path, to=value)).endswith(f"What differs: {path[0]}.")


def test_smoke_run_is_another_cell() -> None:
    smoke = sample_record(state="smoke", id="e" * 64)
    assert differences(sample_record(), smoke) == {"smoke": (False, True, "another cell")}


def test_version_provider_and_protocol_make_a_record_stale() -> None:
    a = changed(sample_record(), "method", "provider", to="repbench")
    provenance = {**a.provenance, "versions": {"method": 2, "encoder": 1, "dataset": 1}}
    b = dataclasses.replace(
        changed(a, "method", "provider", to="other"), provenance=provenance, scores=(sample_score(protocol="knn@2"),)
    )
    assert differences(a, b) == {
        "provider.method": ("repbench", "other", "stale"),
        "version.method": (1, 2, "stale"),
        "protocol.knn at layer4 (average)": ("knn@1", "knn@2", "stale"),
    }


def test_provider_that_was_not_recorded_has_no_consequence() -> None:
    a = sample_record()
    assert differences(a, changed(a, "method", "provider", to="repbench")) == {
        "provider.method": ("-", "repbench", "recorded only")
    }


def test_score_of_one_side_only_is_missing() -> None:
    more = (sample_score(), sample_score(evaluator="linear", protocol="linear@1", pool="flat"))
    assert differences(sample_record(), sample_record(scores=more)) == {
        "protocol.linear at layer4 (flat)": ("-", "linear@1", "scores missing")
    }


def test_provenance_and_dataset_label_are_recorded_only() -> None:
    a = sample_record()
    b = changed(a, "dataset", "label", to="numerals")
    b = dataclasses.replace(b, provenance={**a.provenance, "device": "cuda", "threads": 2, "plugins": {"aet": "1.0"}})
    assert differences(a, b) == {
        "dataset.label": ("digits", "numerals", "recorded only"),
        "provenance.device": ("cpu", "cuda", "recorded only"),
        "provenance.threads": ("-", 2, "recorded only"),
        "provenance.plugins.aet": ("-", "1.0", "recorded only"),
    }


def test_score_values_and_costs_are_not_compared() -> None:
    a, b = sample_record(), sample_record(scores=(sample_score(0.25),), cost={"train_seconds": 99.0})
    assert setting_differences(a, b) == []
    assert verdict(a, b).startswith(f"The same cell, {a.id[:10]}")
    assert "nothing else differs" in verdict(a, b)


def test_record_of_a_killed_process_is_the_same_cell() -> None:
    whole = sample_record()
    names = {kind: {"name": "x", "label": "x", "params": {}} for kind in ("method", "encoder", "dataset")}
    died = dataclasses.replace(whole, cell={**names, "seed": 0}, provenance={}, scores=(), state="failed")
    assert "another cell" not in {each.consequence for each in setting_differences(whole, died)}
    assert "lists what else differs" in verdict(whole, died)


def test_ids_that_differ_without_a_setting_are_explained() -> None:
    assert "but no recorded setting differs" in verdict(sample_record(), sample_record(id="e" * 64))


def test_gravest_consequences_come_first() -> None:
    a = sample_record()
    b = dataclasses.replace(
        changed(a, "seed", to=3),
        provenance={**a.provenance, "device": "cuda", "versions": {"method": 1, "encoder": 2, "dataset": 1}},
        scores=(),
    )
    assert [each.consequence for each in setting_differences(a, b)] == [
        *("another cell", "stale", "scores missing", "recorded only")
    ]


def test_report_keeps_values_in_json() -> None:
    a = sample_record()
    b = changed(a, "recipe", "lr", to=0.01)
    report = explanation_report(a, b)
    (table,) = report.tables()
    assert table.rows == (("recipe.lr", "0.001", "0.01", "another cell"),)
    for form in FORMATS:
        assert "recipe" in render_report(report, form)
    body = json.loads(render_report(report, "json"))
    assert (body["same"], body["a"]["id"], body["b"]["id"]) == (False, a.id, b.id)
    assert body["rows"] == [{"field": "recipe.lr", "a": 0.001, "b": 0.01, "consequence": "another cell"}]


@pytest.fixture
def left(tmp_path: Path) -> tuple[Record, Record]:
    """Two seeds of one cell in runs/."""
    pair = (sample_record(), sample_record(seed=1))
    for record in pair:
        write_record(tmp_path / "runs" / f"aet-resnet18-digits-s{record.cell['seed']}", record)
    return pair


def test_command_accepts_folder_id_and_name(bench: Bench, left: tuple[Record, Record]) -> None:
    result = bench("explain", "aet/resnet18/digits/0", left[1].id[:8])
    assert result.exit_code == 0, result.output
    assert [line.split() for line in result.stdout.splitlines() if line.strip().startswith("seed")] == [
        ["seed", "0", "1", "another", "cell"]
    ]
    body = json.loads(
        bench("explain", "runs/aet-resnet18-digits-s0", "aet-resnet18-digits-s1", "--format", "json").stdout
    )
    assert [each["field"] for each in body["rows"]] == ["seed"]


def test_cell_is_the_same_as_itself(bench: Bench, left: tuple[Record, Record]) -> None:
    result = bench("explain", "aet/resnet18/digits/0", left[0].id)
    assert result.exit_code == 0, result.output
    assert "The same cell" in result.stdout


def test_missing_record_is_reported(bench: Bench, left: tuple[Record, Record]) -> None:
    result = bench("explain", "aet/resnet18/digits/0", "aet/resnet18/digits/7")
    assert result.exit_code == 2
    assert "no record matches 'aet/resnet18/digits/7'" in result.stderr
