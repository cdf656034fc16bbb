"""What could make a number worth less: each check has something planted that turns it red, and stays green without."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import benchmark
from benchmark.api.catalog import load_catalog
from benchmark.api.cells import Item, Job, ScoreRequest
from benchmark.api.encoders import Layout, Tap
from benchmark.api.evaluators import EvaluatorSpec
from benchmark.api.grammar import parse_items
from benchmark.evaluation import leakage as audits
from benchmark.evaluation.evaluate import LabeledImages, Subject
from benchmark.execution import cell as cells
from benchmark.execution.plan import cell_folder, plan
from benchmark.execution.request import Request
from benchmark.records.record import Record
from benchmark.records.record_files import read_record
from benchmark.training import loop

# --- test images in train ---------------------------------------------------------------------------------------------


def random_images(count: int, side: int = 8, channels: int = 3, seed: int = 0) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, side, side), generator=chance, dtype=torch.uint8)


def test_images_that_have_nothing_to_do_with_each_other_do_not_overlap() -> None:
    found = audits.overlap([random_images(200, seed=0)], random_images(50, seed=1))
    assert (found["exact"], found["near"], found["of"]) == (0, 0, 50)


def test_the_same_image_is_found_once_for_each_test_image() -> None:
    train, test = random_images(200), random_images(50, seed=1)
    test[3], test[7], test[8] = train[5], train[5], train[199]
    found = audits.overlap([train], test)
    assert (found["exact"], found["near"]) == (3, 0)


def test_images_that_were_not_labeled_but_trained_on_count() -> None:
    train, more, test = random_images(20), random_images(30, seed=2), random_images(10, seed=1)
    test[0] = more[29]
    assert audits.overlap([train, more], test)["exact"] == 1
    assert audits.overlap([train], test)["exact"] == 0


@pytest.mark.parametrize("side", [8, 32, 40])
def test_a_copy_that_is_brighter_or_slightly_noisy_is_near(side: int) -> None:
    smooth = torch.linspace(0, 200, side).view(1, 1, 1, side).expand(4, 3, side, side).clone()
    for number in range(4):
        smooth[number] += 20 * torch.sin(torch.arange(side) * (number + 1.0))[None, :, None]
    train = smooth.clamp(0, 230).to(torch.uint8)
    chance = torch.Generator().manual_seed(0)
    noise = torch.randint(-2, 3, train.shape, generator=chance)
    test = (train.int() + 10 + noise).clamp(0, 255).to(torch.uint8)
    found = audits.overlap([train], test)
    assert (found["exact"], found["near"]) == (0, 4)


def test_images_of_one_color_are_near_to_nothing() -> None:
    gray = torch.full((3, 3, 8, 8), 77, dtype=torch.uint8)
    found = audits.overlap([random_images(20)], gray)
    assert (found["exact"], found["near"]) == (0, 0)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = random_images(101), random_images(33, seed=1)
    test[5], test[32] = train[0], train[100]
    whole = audits.overlap([train], test)
    monkeypatch.setattr(audits, "BLOCK", 7)
    assert audits.overlap([train], test) == whole
    assert whole["exact"] == 2


def test_an_overlap_is_counted_once_and_again_where_its_file_is_damaged(tmp_path: Path) -> None:
    calls = []

    def count() -> dict[str, Any]:
        calls.append(1)
        return {"exact": 1, "near": 2, "of": 3}

    assert audits.known_overlap(tmp_path, "one", count) == audits.known_overlap(tmp_path, "one", count)
    assert len(calls) == 1
    audits.known_overlap(tmp_path, "two", count)
    assert len(calls) == 2
    for path in tmp_path.glob(".overlap-*"):
        path.write_text("{")
    assert audits.known_overlap(tmp_path, "one", count)["near"] == 2
    assert len(calls) == 3


# --- test labels that choose ------------------------------------------------------------------------------------------


class Vectors:
    """Features by class, far apart."""

    def __init__(self, labels: dict[str, Tensor]) -> None:
        self.layout = Layout(taps=(Tap(name="v", kind="vector", shape=(4,)),), output="v", probe="v")
        chance = torch.Generator().manual_seed(0)
        self.features = {
            split: torch.nn.functional.one_hot(each, 4).float() + 0.3 * torch.randn(len(each), 4, generator=chance)
            for split, each in labels.items()
        }

    def read(self, split: str, tap: str, pool: Any) -> Tensor:
        return self.features[split]

    def encode(self, images: Tensor, tap: str) -> Tensor:
        raise AssertionError("nobody encodes here")


def subject() -> Subject:
    chance = torch.Generator().manual_seed(1)
    labels = {
        split: torch.randint(0, 4, (count,), generator=chance) for split, count in (("train", 400), ("test", 200))
    }
    blank = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    train, test = (
        LabeledImages(images=blank.expand(len(labels[split]), -1, -1, -1), labels=labels[split])
        for split in ("train", "test")
    )
    return Subject(source=Vectors(labels), train=train, test=test, class_names=tuple("abcd"), fingerprint="made")


REQUEST = ScoreRequest(tap="v", pool="average", evaluator=Item(name="tried", label="tried"), protocol="tried@1")


def verdict(predict: Callable[[Any], Any]) -> bool | None:
    def evaluate(probe: Any, params: Any) -> benchmark.Evaluation:
        predicted = predict(probe)
        correct = np.ones(len(probe.test.labels), dtype=bool)
        measured = benchmark.Measurement(metric="accuracy", value=1.0, n=len(correct), outcomes=correct)
        named = {} if predicted is None else {"tried": predicted}
        return benchmark.Evaluation(measurements=(measured,), predictions=named)

    spec = EvaluatorSpec(name="tried", summary="", evaluate=evaluate, metrics=(benchmark.Metric(name="accuracy"),))
    return audits.depends_on_test_labels(subject(), REQUEST, lambda _: (spec, None))


def nearest_mean(probe: Any) -> Any:
    features, labels = probe.train.features(), probe.train.labels
    means = torch.stack([features[labels == label].mean(dim=0) for label in range(4)])
    return torch.cdist(probe.test.features(), means).argmin(dim=1).numpy()


def test_an_evaluator_that_predicts_from_features_is_clean() -> None:
    assert verdict(nearest_mean) is False


def test_an_evaluator_that_gives_the_test_labels_is_found() -> None:
    assert verdict(lambda probe: probe.test.labels.numpy()) is True


def test_an_evaluator_that_chooses_its_best_setting_on_test_is_found() -> None:
    def best_of_two(probe: Any) -> Any:
        guesses = [nearest_mean(probe), (nearest_mean(probe) + 1) % 4]
        right = [float((guess == probe.test.labels.numpy()).mean()) for guess in guesses]
        margin = 0.6  # the second is taken as soon as the first does badly
        return guesses[0] if right[0] > margin else guesses[1]

    assert verdict(best_of_two) is True


def test_an_evaluator_that_predicts_nothing_or_never_the_same_is_not_judged() -> None:
    assert verdict(lambda probe: None) is None
    assert verdict(lambda probe: np.random.default_rng().random(len(probe.test.labels))) is None


def test_an_evaluator_that_cannot_do_with_few_images_is_not_judged() -> None:
    def refuse(probe: Any) -> Any:
        raise benchmark.UnsupportedError("too few")

    assert verdict(refuse) is None


# --- in a record ------------------------------------------------------------------------------------------------------


@pytest.fixture
def done(third_party: Path, tmp_path: Path) -> Callable[..., Record]:
    """Carries out one cell and gives its record."""

    def carry_out(method: str = "mean_color", evaluators: str = "centroid") -> Record:
        asked = Request(
            methods=parse_items([method]),
            encoders=parse_items(["tiny"]),
            datasets=parse_items(["stripes"]),
            evaluators=parse_items([evaluators]),
            epochs=1,
            floors=False,
            data_dir=tmp_path / "data",
        )
        (planned,) = plan(asked, load_catalog()).cells
        job = Job(
            cell=planned.cell,
            scores=planned.scores,
            data_dir=str(tmp_path / "data"),
            out_dir=str(tmp_path / "runs"),
            folder=cell_folder(planned.cell),
        )
        outcome = cells.run_cell(job)
        assert outcome.state == "done", outcome.traceback
        return read_record(tmp_path / "runs" / job.folder)

    return carry_out


def test_a_clean_cell_has_clean_checks(done: Callable[..., Record]) -> None:
    checks = done().checks
    assert checks["labels_unseen"] is True
    assert checks["frozen"] is True
    assert checks["overlap"]["of"] > 0
    assert checks["audited"] == ["centroid"]
    assert checks["chosen_on_test"] == []
    assert checks["augmented"] == []


def test_labels_that_reach_a_method_unasked_are_seen(
    done: Callable[..., Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = loop.Loop.prepared

    def leaking(self: Any, raw: Tensor, index: Tensor, progress: float) -> benchmark.Batch:
        return dataclasses.replace(real(self, raw, index, progress), labels=index)

    monkeypatch.setattr(loop.Loop, "prepared", leaking)
    assert done().checks["labels_unseen"] is False


def test_test_images_in_train_are_counted_in_the_record(
    done: Callable[..., Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = done().checks["overlap"]
    catalog = load_catalog()
    spec = catalog.find(catalog.datasets, "dataset", "stripes").spec
    real = spec.load

    def leaking(params: Any, data_dir: Path) -> benchmark.Dataset:
        data = real(params, data_dir)
        images = data.train.images.copy()
        images[:2] = data.test.images[:2]
        return dataclasses.replace(data, train=dataclasses.replace(data.train, images=images))

    monkeypatch.setattr(
        cells, "load_catalog", lambda: dataclasses.replace(catalog, datasets=_with_load(catalog, spec, leaking))
    )
    for path in Path(done().folder).parent.glob(".overlap-*"):
        path.unlink()
    record = done("byol")
    assert record.checks["overlap"]["exact"] >= clean["exact"] + 2


def _with_load(catalog: Any, spec: Any, load: Any) -> Any:
    return tuple(
        dataclasses.replace(entry, spec=dataclasses.replace(spec, load=load)) if entry.spec is spec else entry
        for entry in catalog.datasets
    )


def test_views_that_an_evaluator_encodes_itself_are_told(
    done: Callable[..., Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench_third_party.centroid as centroid

    real = centroid.nearest_centroid

    def peeking(probe: Any) -> benchmark.Evaluation:
        probe.encode(probe.train.images[:4].float() / 255)
        return real(probe)

    monkeypatch.setattr(centroid, "nearest_centroid", peeking)
    assert done().checks["augmented"] == ["centroid"]


def test_a_cheating_evaluator_is_told_in_the_record(
    done: Callable[..., Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench_third_party.centroid as centroid

    real = centroid.nearest_centroid

    def cheating(probe: Any) -> benchmark.Evaluation:
        found = real(probe)
        return dataclasses.replace(found, predictions={"centroid": probe.test.labels.numpy()})

    monkeypatch.setattr(centroid, "nearest_centroid", cheating)
    checks = done().checks
    assert checks["chosen_on_test"] == ["centroid"]
    assert json.dumps(checks)


def test_a_slow_evaluator_is_not_tried_again(done: Callable[..., Record], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "AUDIT_SECONDS", -1.0)
    assert done().checks["audited"] == []
