"""`bench compare`: two questions to two sides, whatever the sides are."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Bench
from numpy.typing import NDArray
from sample_records import sample_record, sample_score

from benchmark.analysis.cka import linear_cka
from benchmark.records.leaderboard import export
from benchmark.records.record import PREDICTIONS, Record, read_record, read_records, write_record

NAME = "layer4|average|knn|knn@1|accuracy@k=20"
IMAGES = 1000
Rows = Callable[..., list[dict[str, Any]]]


def answers(seed: int, share: float) -> NDArray[np.bool_]:
    """Images get harder from the first to the last, for every method; a tenth of the answers is luck."""
    generator = np.random.default_rng(seed)
    ease = np.linspace(1, 0, IMAGES)
    return np.asarray(np.argsort(np.argsort(-(ease + generator.normal(0, 0.1, IMAGES)))) < share * IMAGES)


def leave(out: Path, method: str, seed: int | None, share: float, **changes: Any) -> Record:
    """A finished cell under `out` with outcomes of a thousand images, of which exactly this share is right."""
    score = {"n": IMAGES, "outcomes": NAME, **changes.pop("score", {})}
    hits = changes.pop("hits", answers(len(method) * 100 + (seed or 0), share))
    record = sample_record(method, seed=seed, scores=(sample_score(share, **score),), **changes)
    folder = out / f"{method}-s{seed}-{record.id[:6]}"
    write_record(folder, record)
    if hits is not None:
        np.savez_compressed(folder / PREDICTIONS, **{NAME: hits})
    return read_record(folder)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two methods of three seeds, five points apart."""
    out = tmp_path / "runs"
    for seed in range(3):
        leave(out, "aet", seed, 0.80 + 0.002 * seed)
        leave(out, "rotation", seed, 0.75 + 0.002 * seed)
    return out


@pytest.fixture
def compared(bench: Bench, runs: Path) -> Rows:
    """What `bench compare` says, a row for each score and question."""

    def rows(*words: str) -> list[dict[str, Any]]:
        result = bench("compare", *words, "--format", "json")
        assert result.exit_code == 0, result.output
        found: list[dict[str, Any]] = json.loads(result.stdout)["differences"]
        return found

    return rows


A, B = "aet/resnet18/digits", "rotation/resnet18/digits"


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    return [row["verdict"] for row in rows]


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_five_points_are_found_by_both_questions(compared: Rows) -> None:
    checkpoints, again = compared(A, B)
    assert checkpoints["question"] == "these checkpoints"
    assert again["question"] == "the method trained again"
    for row in (checkpoints, again):
        assert row["verdict"] == "better"
        assert row["difference"] == pytest.approx(0.05)
        assert 0 < row["low"] < 0.05 < row["high"]
        assert row["p"] < 0.01
        assert 0 < row["smallest"] < 0.05
        assert (row["seeds_a"], row["seeds_b"], row["images"]) == (3, 3, IMAGES)


def test_a_method_beside_itself_gives_no_evidence(compared: Rows) -> None:
    rows = compared(A, A)
    assert verdicts(rows) == ["no evidence", "no evidence"]
    assert [(row["difference"], row["p"]) for row in rows] == [(0.0, 1.0), (0.0, 1.0)]
    assert verdicts(compared(f"{A}/0", f"{A}/0")) == ["no evidence", "checkpoint only"]


def test_turning_the_sides_turns_the_signs(compared: Rows) -> None:
    for row, turned in zip(compared(A, B), compared(B, A), strict=True):
        assert turned["verdict"] == "worse"
        assert turned["difference"] == pytest.approx(-row["difference"])
        assert (turned["low"], turned["high"]) == pytest.approx((-row["high"], -row["low"]))
        assert turned["p"] == pytest.approx(row["p"])


def test_where_less_is_better_the_larger_is_worse(compared: Rows, runs: Path) -> None:
    for seed in range(3):
        for method, share in (("low", 0.7), ("high", 0.8)):
            leave(runs, method, seed, share, score={"higher_is_better": False})
    assert verdicts(compared("high/resnet18/digits", "low/resnet18/digits")) == ["worse", "worse"]


def test_one_seed_answers_for_its_checkpoint_only(compared: Rows) -> None:
    checkpoints, again = compared(f"{A}/0", B)
    assert checkpoints["verdict"] == "better"
    assert (again["verdict"], again["p"], again["low"], again["smallest"]) == ("checkpoint only", None, None, None)
    assert again["remarks"] == "1 seed of A: training again is not testable"


def test_what_has_no_seed_is_the_same_when_made_again(compared: Rows, runs: Path) -> None:
    leave(runs, "pixels", None, 0.7)
    assert verdicts(compared(A, "pixels/resnet18/digits")) == ["better", "better"]


def test_queries_without_outcome_are_left_out_on_both_sides(compared: Rows, runs: Path) -> None:
    for method, share in (("one", 0.8), ("two", 0.7)):
        for seed in range(2):
            hits = answers(seed, share).astype(np.float32)
            hits[::10] = np.nan
            leave(runs, method, seed, share, hits=hits)
    for row in compared("one/resnet18/digits", "two/resnet18/digits"):
        assert row["images"] == 900
        assert row["difference"] == pytest.approx(0.1, abs=0.02)


def test_without_outcomes_seeds_alone_are_compared_and_that_is_said(compared: Rows, runs: Path) -> None:
    for seed in range(3):
        leave(runs, "bare", seed, 0.6 + 0.001 * seed, hits=None)
    checkpoints, again = compared(A, "bare/resnet18/digits")
    assert (checkpoints["verdict"], checkpoints["remarks"]) == ("not comparable", "no outcomes of single images")
    assert again["verdict"] == "better"
    assert "images not counted" in again["remarks"]


def test_several_scores_share_one_chance_of_a_false_alarm(bench: Bench, runs: Path) -> None:
    for seed in range(3):
        for method, share in (("first", 0.8), ("second", 0.8)):
            record = leave(runs, method, seed, share)
            scores = [sample_score(share, tap=tap, n=IMAGES, outcomes=NAME) for tap in ("layer3", "layer4")]
            write_record(Path(record.folder), sample_record(method, seed=seed, scores=tuple(scores)))
    result = bench("compare", "first/resnet18/digits", "second/resnet18/digits", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["score"] for row in rows[::2]] == ["knn accuracy@k=20 at layer3", "knn accuracy@k=20 at layer4"]
    assert float(rows[0]["level"]) == pytest.approx(0.975)
    assert float(rows[0]["adjusted_p"]) >= float(rows[0]["p"])


# --- not comparable ---------------------------------------------------------------------------------------------------


def _dataset(**changes: Any) -> dict[str, Any]:
    cell: dict[str, Any] = json.loads(json.dumps(sample_record("other").cell))
    cell["dataset"].update(changes)
    return {"cell": cell}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"score": {"protocol": "knn@2"}}, "other protocol: knn@1 and knn@2"),
        ({"score": {"n": 999}, "hits": answers(0, 0.5)[:999]}, "other test set: 1000 and 999"),
        ({"score": {"params": {"k": [1]}}}, "other parameters of the evaluator"),
        ({"score": {"metric": "map"}}, "A has no such score"),
        ({"hits": answers(0, 0.5)[:999]}, "other test set: 1000 images against 999"),
        (_dataset(fingerprint="a" * 64), "other dataset fingerprint: ffffffffffff and aaaaaaaaaaaa"),
        (_dataset(subset=500), "other training subset: all and 500"),
        (_dataset(name="cifar10"), "other dataset: digits and cifar10"),
        ({"state": "smoke"}, "B is smoke: no result"),
    ],
)
def test_what_cannot_be_compared_is_named(compared: Rows, runs: Path, changes: dict[str, Any], reason: str) -> None:
    record = leave(runs, "other", 0, 0.5, **changes)
    rows = compared(f"{A}/0", record.folder)
    named = [row for row in rows if row["remarks"].startswith(reason)]
    assert named, rows
    assert set(verdicts(named)) == {"not comparable"}
    assert all(row["p"] is None and row["difference"] is None for row in named)


def test_encoders_without_a_common_tap_are_compared_where_they_end(compared: Rows, runs: Path) -> None:
    record = leave(runs, "deep", 0, 0.5, encoder="blocknet", score={"tap": "conv4"})
    (row, _) = compared(f"{A}/0", record.folder)
    assert row["score"] == "knn accuracy@k=20 at layer4 - conv4"
    assert row["verdict"] == "better"


# --- sides ------------------------------------------------------------------------------------------------------------


def test_a_side_is_named_in_every_way(compared: Rows, runs: Path) -> None:
    record = next(r for r in read_records(runs)[0] if r.cell["method"]["label"] == "aet" and r.cell["seed"] == 1)
    expected = compared(f"{A}/1", B)[0]["difference"]
    for word in (record.folder, Path(record.folder).name, record.id, record.id[:8]):
        assert compared(word, B)[0]["difference"] == expected


def test_leaderboards_are_sides_and_their_cells_are(compared: Rows, runs: Path, tmp_path: Path) -> None:
    export(read_records(runs)[0], tmp_path / "results")
    board = str(tmp_path / "results" / "digits.jsonl")
    direct = compared(A, B)
    assert compared(f"{board}#{A}", f"{board}#{B}")[1]["low"] == direct[1]["low"]
    assert compared(A, B, "--out", board)[1]["low"] == direct[1]["low"]
    whole = compared(board, board)
    assert sorted({row["cell"] for row in whole}) == [A, B]
    assert set(verdicts(whole)) == {"no evidence"}


def _git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_revisions_of_a_leaderboard_are_compared(compared: Rows, runs: Path, tmp_path: Path) -> None:
    export(read_records(runs)[0], tmp_path / "results")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", "results")
    _git(tmp_path, "commit", "-q", "-m", "before")
    later = tmp_path / "later"
    for seed in range(3):
        leave(later, "aet", seed, 0.70 + 0.002 * seed)
    export(read_records(later)[0], tmp_path / "results")
    rows = compared("results/digits.jsonl", "HEAD:results/digits.jsonl")
    told = {(row["cell"], row["question"]): row["verdict"] for row in rows}
    assert told == {
        (A, "these checkpoints"): "worse",
        (A, "the method trained again"): "worse",
        (B, "these checkpoints"): "no evidence",
        (B, "the method trained again"): "no evidence",
    }
    assert compared(f"results/digits.jsonl#{A}", f"HEAD:results/digits.jsonl#{A}")[0]["verdict"] == "worse"


def test_cells_that_stand_on_one_side_only_are_told_of(bench: Bench, runs: Path, tmp_path: Path) -> None:
    export(read_records(runs)[0], tmp_path / "results")
    leave(runs, "extra", 0, 0.5)
    export(read_records(runs)[0], tmp_path / "more")
    result = bench("compare", "more/digits.jsonl", "results/digits.jsonl")
    assert result.exit_code == 0, result.output
    assert "Only in A: extra/resnet18/digits." in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("aet/resnet18/cifar10", B), ("'aet/resnet18/cifar10': no record fits", "There is:", A)),
        (("nowhere.jsonl", B), ("'nowhere.jsonl': there is no such file", "REV:FILE.jsonl")),
        (("--", "-x:results/digits.jsonl", B), ("-x:results/digits.jsonl",)),
        ((A, B, "--cka"), ("--cka reads features with an encoder's weights", "has none")),
    ],
)
def test_a_side_that_is_not_there_is_told_of(bench: Bench, runs: Path, words: tuple[str, ...], said: Any) -> None:
    result = bench("compare", *words)
    assert result.exit_code == 2, result.output
    for word in said:
        assert word in result.stderr
    assert "Traceback" not in result.stderr


def test_two_settings_of_one_name_are_not_mixed(bench: Bench, runs: Path) -> None:
    leave(runs, "aet", 0, 0.8, recipe={"epochs": 12})
    result = bench("compare", A, B)
    assert result.exit_code == 2
    assert "2 settings" in result.stderr
    assert "(12 epochs)" in result.stderr


@pytest.mark.parametrize("form", ["table", "md", "latex"])
def test_people_read_both_questions_and_what_could_have_been_seen(bench: Bench, runs: Path, form: str) -> None:
    shown = bench("compare", A, B, "--format", form)
    assert shown.exit_code == 0, shown.output
    for words in ("these checkpoints", "the method trained again", "smallest to be seen", "+0.0500", "better"):
        assert words in shown.stdout


# --- real runs --------------------------------------------------------------------------------------------------------


def test_cells_that_were_run_are_compared_and_their_features_too(third_party: Path, bench: Bench) -> None:
    run = bench(
        *("run", "--methods", "mean_color", "--encoders", "tiny", "--dataset", "stripes", "--evaluators", "centroid"),
        *("--executor", "inline", "--device", "cpu", "--epochs", "1", "--no-floors", "--seeds", "2", "-q"),
    )
    assert run.exit_code == 0, run.output
    words = ("mean_color/tiny/stripes", "mean_color/tiny/stripes/1")
    shown = bench("compare", *words, "--cka", "--format", "json")
    assert shown.exit_code == 0, shown.output
    body = json.loads(shown.stdout)
    assert verdicts(body["differences"][1:2]) == ["checkpoint only"]
    assert [row["pair"] for row in body["cka"]] == ["A with B", "A, two seeds"]
    assert all(0 <= row["cka"] <= 1 for row in body["cka"])
    table = bench("compare", words[0], words[0], "--cka")
    assert "linear CKA of average-pooled test features" in table.stdout
    assert "1.000" in table.stdout


def test_linear_cka_forgets_turns_and_scales_alone() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(500, 8))
    turn, _ = np.linalg.qr(generator.normal(size=(8, 8)))
    assert linear_cka(x, 3 * x @ turn + 1) == pytest.approx(1.0)
    assert linear_cka(x, generator.normal(size=(500, 8))) < 0.1
    assert linear_cka(x, x * np.arange(1, 9)) < 0.99
    # By hand: (sum xy)^2 / (sum x^2 sum y^2), both centerd, for one dimension each.
    assert linear_cka(np.array([[0.0], [1], [2]]), np.array([[0.0], [0], [3]])) == pytest.approx(0.75)
    wide = generator.normal(size=(5, 40))
    assert linear_cka(wide, wide) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="features of 5 and of 4 images"):
        linear_cka(wide, wide[:4])
    with pytest.raises(ValueError, match="the same for every image"):
        linear_cka(wide, np.ones((5, 2)))
