"""All that is built in keeps the contract, third-party plugins too; and each check catches what it is there for."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import benchmark
from benchmark.api.catalog import Catalog, Entry, load_catalog
from benchmark.api.methods import MethodContext
from benchmark.api.parameters import bind
from benchmark.errors import FrozenError, TrainingError
from benchmark.execution.plan import plan
from benchmark.execution.request import Request
from benchmark.testing.conformance import ConformanceError
from benchmark.testing.datasets import check_dataset
from benchmark.testing.encoders import check_encoder
from benchmark.testing.evaluators import check_evaluator
from benchmark.testing.methods import check_method
from benchmark.testing.miniature import SMALL_ENCODER, small_images

BUILT_IN = load_catalog("aet,bounds,dim,encoders,images,probes,rotation")


def params_of(entry: Entry[Any], given: dict[str, object]) -> Any:
    return bind(entry.spec.params, given, entry.spec.name)


def entry_of(found: Catalog, kind: str, name: str) -> Entry[Any]:
    return found.find(getattr(found, kind), kind, name)


# --- what is built in -------------------------------------------------------------------------------------------------

VARIANTS: dict[str, list[dict[str, object]]] = {
    "aet": [{}, {"transform": "affine"}, {"transform": "similarity"}],
    "dim": [
        *(
            {"units": 32, "scope": scope, "estimator": estimator}
            for scope, estimator in itertools.product(("local", "global", "both"), ("jsd", "dv", "nce", "nwj"))
        ),
        *({"critic": critic, "scope": "both", "local_samples": 2} for critic in ("concat", "linear", "bilinear")),
        {"units": 32, "gamma": 0},
        {"units": 32, "local_samples": 2},
    ],
    "rotation": [{}, {"turns": 2}, {"turns": 8}],
}
"""Parameters worth a check of their own; every other method is checked with its defaults."""


def method_cases() -> Iterator[Any]:
    for entry in BUILT_IN.methods:
        if entry.spec.name == "pretrained":
            continue  # wants a file: see below
        for given in VARIANTS.get(entry.spec.name, [{}]):
            words = ",".join(f"{key}={value}" for key, value in given.items())
            yield pytest.param(entry, given, id=f"{entry.spec.name}[{words}]" if words else entry.spec.name)


def test_nothing_that_is_built_in_is_broken_or_clashes() -> None:
    assert BUILT_IN.broken == ()
    assert BUILT_IN.clashes() == []


@pytest.mark.parametrize(("entry", "given"), list(method_cases()))
def test_a_built_in_method_keeps_the_contract(entry: Entry[Any], given: dict[str, object]) -> None:
    check_method(entry.spec, params_of(entry, given))


@pytest.mark.parametrize(
    "entry", [e for e in BUILT_IN.methods if e.spec.name != "pretrained"], ids=lambda e: e.spec.name
)
def test_a_built_in_method_takes_small_gray_images(entry: Entry[Any]) -> None:
    given = VARIANTS.get(entry.spec.name, [{}])[0]
    check_method(entry.spec, params_of(entry, given), image_shape=(1, 8, 8))


def test_pretrained_keeps_the_contract(tmp_path: Path) -> None:
    entry = entry_of(BUILT_IN, "methods", "pretrained")
    network = SMALL_ENCODER.build(benchmark.EncoderContext(params=None, image_shape=(3, 16, 16)))
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    check_method(entry.spec, params_of(entry, {"path": str(tmp_path / "weights.pt")}))


@pytest.mark.parametrize("entry", BUILT_IN.encoders, ids=lambda e: e.spec.name)
def test_a_built_in_encoder_keeps_the_contract(entry: Entry[Any]) -> None:
    check_encoder(entry.spec)


@pytest.mark.parametrize("given", [{"blocks": 3}, {"blocks": 5}, {"pool_after_block3": True}], ids=str)
def test_a_blocknet_of_another_depth_keeps_the_contract(given: dict[str, object]) -> None:
    entry = entry_of(BUILT_IN, "encoders", "blocknet")
    check_encoder(entry.spec, params_of(entry, given), image_shapes=[(3, 32, 32)])


@pytest.mark.parametrize("method", ["dim", "aet"])
@pytest.mark.parametrize("entry", BUILT_IN.encoders, ids=lambda e: e.spec.name)
@pytest.mark.slow
def test_a_built_in_encoder_is_trained_by_dim_and_aet(entry: Entry[Any], method: str) -> None:
    check_method(entry_of(BUILT_IN, "methods", method).spec, encoder=entry.spec, image_shape=(3, 32, 32))


@pytest.mark.parametrize("entry", BUILT_IN.evaluators, ids=lambda e: e.spec.name)
def test_a_built_in_evaluator_keeps_the_contract(entry: Entry[Any]) -> None:
    assert check_evaluator(entry.spec).measurements


def test_digits_keep_the_contract(tmp_path: Path) -> None:
    check_dataset(entry_of(BUILT_IN, "datasets", "digits").spec, data_dir=tmp_path)


def test_a_folder_of_images_keeps_the_contract(tmp_path: Path) -> None:
    for split, label, number in itertools.product(("train", "test"), ("cat", "dog"), range(3)):
        place = tmp_path / "photos" / split / label
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 9), (number * 40, 80, len(label))).save(place / f"{number}.png")
    entry = entry_of(BUILT_IN, "datasets", "folder")
    check_dataset(entry.spec, params_of(entry, {"path": str(tmp_path / "photos"), "size": 8}), tmp_path / "cache")


# --- third-party plugins -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["center", "left"])
def test_the_third_party_method_keeps_the_contract(installed: Path, part: str) -> None:
    entry = entry_of(load_catalog("third_party"), "methods", "mean_color")
    check_method(entry.spec, params_of(entry, {"part": part}))


def test_the_third_party_method_trains_the_third_party_encoder(installed: Path) -> None:
    found = load_catalog("third_party")
    check_method(entry_of(found, "methods", "mean_color").spec, encoder=entry_of(found, "encoders", "tiny").spec)


def test_the_third_party_encoder_dataset_and_evaluator_keep_the_contract(installed: Path) -> None:
    found = load_catalog("third_party")
    check_encoder(entry_of(found, "encoders", "tiny").spec)
    check_dataset(entry_of(found, "datasets", "stripes").spec)
    check_evaluator(entry_of(found, "evaluators", "centroid").spec)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_a_moving_average_teacher_keeps_the_contract(installed: Path, momentum: float) -> None:
    entry = entry_of(load_catalog("teacher"), "methods", "byol")
    check_method(entry.spec, params_of(entry, {"momentum": momentum}))


def test_a_moving_average_teacher_trains_built_in_encoders(installed: Path) -> None:
    found = load_catalog("teacher,encoders")
    check_method(
        entry_of(found, "methods", "byol").spec,
        encoder=entry_of(found, "encoders", "dim_conv").spec,
        image_shape=(3, 16, 16),
    )


def test_third_party_plugins_and_built_ins_make_one_plan(installed: Path, tmp_path: Path) -> None:
    from benchmark.api.grammar import parse_items

    found = load_catalog("-third_party_*")
    request = Request(
        methods=parse_items(["mean_color,byol,rotation,dim"]),
        encoders=parse_items(["tiny,dim_conv"]),
        datasets=parse_items(["stripes,digits"]),
        evaluators=parse_items(["centroid,knn"]),
        data_dir=tmp_path,
    )
    made = plan(request, found)
    # 4 methods x 2 encoders x 2 datasets; pixels once and untrained twice for each dataset.
    assert (len(made.cells), made.skips) == (16 + 2 + 4, ())


# --- methods that break the contract ----------------------------------------------------------------------------------


class Colors(nn.Module):
    """Right as it stands; each violation below changes one thing."""

    def __init__(self, context: MethodContext) -> None:
        super().__init__()
        self.encoder = context.encoder
        self.head = nn.Linear(12, 3)

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        return benchmark.Losses(total=self.error(batch).mean())

    def error(self, batch: benchmark.Batch) -> Tensor:
        return (self.head(self.encoder.vector(batch.images)) - batch.images.mean(dim=(2, 3))).square()


def method(build: Callable[[MethodContext], nn.Module], **spec: Any) -> benchmark.MethodSpec:
    return benchmark.MethodSpec(name="planted", summary="", build=build, **spec)


def test_the_method_that_the_violations_are_planted_in_is_right() -> None:
    check_method(method(Colors))


def test_state_outside_state_dict_is_caught_by_the_resume() -> None:
    class Hidden(Colors):
        def __init__(self, context: MethodContext) -> None:
            super().__init__(context)
            self.weight = 1.0

        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            self.weight *= 0.7
            return benchmark.Losses(total=self.error(batch).mean() * self.weight)

        def after_step(self, progress: float) -> None:
            with torch.no_grad():
                self.encoder.network.conv1[0].weight.add_(0.01 * self.weight)

    with pytest.raises(ConformanceError, match=r"two steps, save, load and two steps gave other weights.*state_dict"):
        check_method(method(Hidden))


def test_chance_of_ones_own_is_caught() -> None:
    draw = np.random.default_rng(7)  # goes on from one evaluation to the next

    class Restless(Colors):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            return benchmark.Losses(total=(self.error(batch) * draw.uniform(0.5, 1.5)).mean().sqrt())

    def noisy(context: MethodContext) -> nn.Module:
        built = Restless(context)
        with torch.no_grad():
            context.encoder.network.conv1[0].weight.add_(draw.uniform())
        return built

    with pytest.raises(ConformanceError, match=r"the same seed gave other weights; draw from batch\.generator"):
        check_method(method(noisy))


def test_halves_that_do_not_make_the_whole_loss_are_caught() -> None:
    class Halved(Colors):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            return self.loss_of(batch, 2 * batch.images)

        def views(self, batch: benchmark.Batch) -> Tensor:
            return batch.images

        def loss_of(self, batch: benchmark.Batch, views: Tensor) -> benchmark.Losses:
            return benchmark.Losses(total=self.error(dataclasses.replace(batch, images=views)).mean())

    with pytest.raises(ConformanceError, match=r"loss_of\(batch, views\(batch\)\) is"):
        check_method(method(Halved))


def test_a_loss_that_may_be_captured_reads_nothing_back() -> None:
    class Reading(Colors):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            error = self.error(batch).mean()
            return benchmark.Losses(total=error if error.item() > 0 else -error)

    check_method(method(Reading))
    with pytest.raises(ConformanceError, match=r"capturable=True, but its loss reads a tensor's value"):
        check_method(dataclasses.replace(method(Reading), capturable=True))


def test_a_loss_that_may_be_captured_does_not_read_the_progress() -> None:
    class Annealed(Colors):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            return benchmark.Losses(total=(1 - batch.progress) * self.error(batch).mean())

    check_method(method(Annealed))
    with pytest.raises(ConformanceError, match=r"capturable=True, but its loss reads batch\.progress"):
        check_method(dataclasses.replace(method(Annealed), capturable=True))


def test_a_label_that_came_in_by_another_way_is_caught() -> None:
    """batch.labels is None, so a method has to go out of its way: here it reads the harness's own frame."""
    import inspect

    class Peeking(Colors):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            assert batch.labels is None
            frame = inspect.currentframe()
            while frame is not None and "data" not in frame.f_locals:
                frame = frame.f_back
            assert frame is not None
            labels = frame.f_locals["data"].labels[batch.index]
            return benchmark.Losses(total=nn.functional.cross_entropy(self.encoder.vector(batch.images)[:, :4], labels))

    with pytest.raises(ConformanceError, match=r"other labels gave other weights"):
        check_method(method(Peeking))


def test_a_method_may_use_the_labels_that_it_declares() -> None:
    class Supervised(Colors):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            features = self.encoder.vector(batch.images)[:, :4]
            return benchmark.Losses(total=nn.functional.cross_entropy(features, batch.labels))

    check_method(method(Supervised, labels="all"))


def test_a_changed_default_type_is_caught() -> None:
    def build(context: MethodContext) -> nn.Module:
        torch.set_default_dtype(torch.float64)
        return Colors(context).float()

    try:
        with pytest.raises(ConformanceError, match=r"changed global state: torch's default type"):
            check_method(method(build))
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_changed_number_of_threads_is_caught() -> None:
    before = torch.get_num_threads()

    def build(context: MethodContext) -> nn.Module:
        torch.set_num_threads(before + 1)
        return Colors(context)

    try:
        with pytest.raises(ConformanceError, match=r"changed global state: the number of threads"):
            check_method(method(build))
    finally:
        torch.set_num_threads(before)


def test_gradients_that_were_left_off_are_caught() -> None:
    class Off(Colors):
        def trained_encoder(self) -> nn.Module:
            torch.set_grad_enabled(False)
            return self.encoder

    try:
        with pytest.raises(ConformanceError, match=r"changed global state: gradient mode"):
            check_method(method(Off))
    finally:
        torch.set_grad_enabled(True)


def test_a_seeded_global_stream_of_numpy_is_caught() -> None:
    def build(context: MethodContext) -> nn.Module:
        np.random.seed(3)  # the violation
        return Colors(context)

    before = np.random.get_state()
    try:
        with pytest.raises(ConformanceError, match=r"changed global state: numpy's random stream"):
            check_method(method(build))
    finally:
        np.random.set_state(before)


def test_a_seeded_global_stream_of_python_is_caught() -> None:
    import random

    def build(context: MethodContext) -> nn.Module:
        random.seed(3)
        return Colors(context)

    before = random.getstate()
    try:
        with pytest.raises(ConformanceError, match=r"changed global state: python's random stream"):
            check_method(method(build))
    finally:
        random.setstate(before)


def test_a_loss_that_does_not_depend_on_the_encoder_is_caught() -> None:
    class Detached(Colors):
        def error(self, batch: benchmark.Batch) -> Tensor:
            return self.head(self.encoder.vector(batch.images).detach()).square()

    with pytest.raises(TrainingError, match=r"does not depend on the encoder"):
        check_method(method(Detached))


def test_an_encoder_that_was_trained_but_is_not_the_one_handed_over_is_caught() -> None:
    import copy

    class Forgotten(Colors):
        def __init__(self, context: MethodContext) -> None:
            super().__init__(context)
            self.kept = copy.deepcopy(context.encoder)

        def trained_encoder(self) -> nn.Module:
            return self.kept

    with pytest.raises(ConformanceError, match=r"left the encoder that is to be scored as it was"):
        check_method(method(Forgotten))


def test_a_method_that_refuses_the_checks_encoder_says_why() -> None:
    with pytest.raises(ConformanceError, match=r"only on Tuesdays"):
        check_method(method(Colors, supports=lambda setting: "only on Tuesdays"))


def test_a_method_without_a_quick_recipe_is_told_so() -> None:
    def recipe(setting: benchmark.Setting) -> benchmark.Recipe:
        raise benchmark.UnsupportedError("for nobody")

    with pytest.raises(ConformanceError, match=r"no quick recipe.*for nobody"):
        check_method(method(Colors, recipe=recipe))


# --- encoders that break the contract ---------------------------------------------------------------------------------


class Network(nn.Module):
    """Right as it stands."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(4, 5)

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        found = {"conv": self.conv(images)}
        if "fc" in taps:
            found["fc"] = self.fc(found["conv"].mean(dim=(2, 3)))
        return found


def layout(params: Any, shape: tuple[int, int, int]) -> benchmark.Layout:
    conv = benchmark.Tap(name="conv", kind="map", shape=(4, *shape[1:]))
    fc = benchmark.Tap(name="fc", kind="vector", shape=(5,))
    return benchmark.Layout(taps=(conv, fc), output="fc", probe="conv", local="conv")


def encoder(network: Callable[[int], nn.Module] = Network, **spec: Any) -> benchmark.EncoderSpec:
    given = {"layout": layout, **spec}
    return benchmark.EncoderSpec(
        name="planted", summary="", build=lambda context: network(context.image_shape[0]), **given
    )


def test_the_encoder_that_the_violations_are_planted_in_is_right() -> None:
    check_encoder(encoder())


def test_a_tap_of_another_shape_than_its_layout_says_is_caught() -> None:
    class Strided(Network):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            self.conv = nn.Sequential(nn.Conv2d(channels, 4, 3, stride=2, padding=1))

    with pytest.raises(ConformanceError, match=r"tap 'conv' has the shape \(4, 4, 4\), its layout says \(4, 8, 8\)"):
        check_encoder(encoder(Strided))


def test_a_tap_that_is_never_given_is_caught() -> None:
    class Shallow(Network):
        def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
            return {"conv": self.conv(images)}

    with pytest.raises(ConformanceError, match=r"gives no tap 'fc'"):
        check_encoder(encoder(Shallow))


def test_an_encoder_that_always_runs_to_the_end_is_caught() -> None:
    class Eager(Network):
        def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
            return super().forward(images, ["conv", "fc"])

    with pytest.raises(ConformanceError, match=r"asking for 'conv' alone runs everything"):
        check_encoder(encoder(Eager))


def test_taps_in_the_wrong_order_are_caught() -> None:
    def upside_down(params: Any, shape: tuple[int, int, int]) -> benchmark.Layout:
        return dataclasses.replace(layout(params, shape), taps=layout(params, shape).taps[::-1])

    with pytest.raises(ConformanceError, match=r"order taps by depth"):
        check_encoder(encoder(layout=upside_down))


def test_features_that_depend_on_the_rest_of_the_batch_are_caught() -> None:
    class Centerd(Network):
        def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
            return super().forward(images - images.mean(dim=0), taps)

    with pytest.raises(ConformanceError, match=r"depend on the other images of its batch"):
        check_encoder(encoder(Centerd))


def test_an_output_that_carries_no_gradient_is_caught() -> None:
    class Frozen(Network):
        def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
            with torch.no_grad():
                return super().forward(images, taps)

    with pytest.raises(ConformanceError, match=r"no gradient reaches its parameters"):
        check_encoder(encoder(Frozen))


def test_weights_that_are_drawn_elsewhere_are_caught() -> None:
    draw = np.random.default_rng(7)  # goes on from one evaluation to the next

    class Own(Network):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            nn.init.constant_(self.fc.weight, draw.uniform())

    with pytest.raises(ConformanceError, match=r"the same seed gave other weights"):
        check_encoder(encoder(Own))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"output": "fc2"}, r"its output 'fc2' is none of its taps"),
        ({"probe": "conv2"}, r"its probe 'conv2' is none of its taps"),
        ({"local": "conv2"}, r"its local 'conv2' is none of its taps"),
        ({"local": "fc"}, r"its local tap 'fc' is no map"),
    ],
)
def test_a_layout_that_names_what_there_is_not_is_caught(change: dict[str, str], words: str) -> None:
    def changed(params: Any, shape: tuple[int, int, int]) -> benchmark.Layout:
        return dataclasses.replace(layout(params, shape), **change)

    with pytest.raises(ConformanceError, match=words):
        check_encoder(encoder(layout=changed))


def test_an_encoder_for_large_images_is_checked_on_those_that_it_takes() -> None:
    def strict(params: Any, shape: tuple[int, int, int]) -> benchmark.Layout:
        assert min(shape[1:]) >= 16
        return layout(params, shape)

    check_encoder(encoder(layout=strict, min_side=16))
    with pytest.raises(ConformanceError, match=r"takes none of the shapes"):
        check_encoder(encoder(layout=strict, min_side=64))


def test_an_encoder_for_colors_alone_is_checked_on_colors() -> None:
    def color(params: Any, shape: tuple[int, int, int]) -> benchmark.Layout:
        if shape[0] != 3:
            raise benchmark.UnsupportedError("colors only")
        return layout(params, shape)

    check_encoder(encoder(layout=color))
    with pytest.raises(ConformanceError, match=r"takes none of the shapes.*colors only"):
        check_encoder(encoder(layout=color), image_shapes=[(1, 8, 8)])


# --- evaluators that break the contract -------------------------------------------------------------------------------


def evaluator(evaluate: Callable[[benchmark.Probe, Any], Any]) -> benchmark.EvaluatorSpec:
    return benchmark.EvaluatorSpec(
        name="planted", summary="", evaluate=evaluate, metrics=(benchmark.Metric(name="accuracy"),)
    )


def scored(right: Any, predicted: Any = None, **change: Any) -> benchmark.Evaluation:
    given = {"metric": "accuracy", "value": float(np.mean(right)), "n": len(right), "outcomes": right, **change}
    predictions = {} if predicted is None else {"class": predicted}
    return benchmark.Evaluation(measurements=(benchmark.Measurement(**given),), predictions=predictions)


def by_sign(probe: benchmark.Probe, params: Any) -> benchmark.Evaluation:
    """Right as it stands, if useless: the sign of the first feature names class 0 or 1."""
    predicted = (probe.test.features()[:, 0] > probe.train.features()[:, 0].median()).long()
    return scored((predicted == probe.test.labels).numpy(), predicted.numpy())


def test_the_evaluator_that_the_violations_are_planted_in_is_right() -> None:
    assert check_evaluator(evaluator(by_sign)).measurements[0].n == 40


def test_predictions_that_depend_on_test_labels_are_caught() -> None:
    def cheat(probe: benchmark.Probe, params: Any) -> benchmark.Evaluation:
        labels = probe.test.labels.numpy()
        return scored(np.ones(len(labels), dtype=bool), labels)

    with pytest.raises(ConformanceError, match=r"other test labels gave other predictions \('class'\)"):
        check_evaluator(evaluator(cheat))


def test_an_evaluator_that_trains_the_encoder_is_caught() -> None:
    def train(probe: Any, params: Any) -> benchmark.Evaluation:
        with torch.no_grad():
            next(probe.source.encoder.parameters()).add_(0.1)
        return by_sign(probe, params)

    with pytest.raises(FrozenError, match=r"changed while it was scored"):
        check_evaluator(evaluator(train))


def test_an_evaluator_that_lets_running_statistics_move_is_caught() -> None:
    def run(probe: Any, params: Any) -> benchmark.Evaluation:
        network = probe.source.encoder.train()
        with torch.no_grad():
            network(probe.train.images.float() / 255, ["conv2"])
        return by_sign(probe, params)

    with pytest.raises(FrozenError):
        check_evaluator(evaluator(run))


def test_an_evaluator_with_chance_of_its_own_is_caught() -> None:
    draw = np.random.default_rng(7)  # goes on from one evaluation to the next

    def guess(probe: benchmark.Probe, params: Any) -> benchmark.Evaluation:
        return scored(draw.random(len(probe.test.labels)) < 0.5)

    with pytest.raises(ConformanceError, match=r"the same features gave other numbers; draw from probe\.generator"):
        check_evaluator(evaluator(guess))


def test_an_evaluator_that_moves_the_global_stream_is_caught() -> None:
    def seed(probe: benchmark.Probe, params: Any) -> benchmark.Evaluation:
        torch.manual_seed(0)
        torch.rand(3)
        return by_sign(probe, params)

    before = torch.random.get_rng_state()
    try:
        with pytest.raises(ConformanceError, match=r"changed global state: torch's random stream"):
            check_evaluator(evaluator(seed))
    finally:
        torch.random.set_rng_state(before)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"metric": "f1"}, benchmark.PluginError, r"the metric 'f1' is not declared; declared: accuracy"),
        ({"value": float("nan"), "outcomes": None}, benchmark.PluginError, r"accuracy is nan, but must be finite"),
        ({"outcomes": np.ones(3, dtype=bool)}, benchmark.PluginError, r"3 outcomes for 40 test images"),
        ({"value": 87.5, "outcomes": None}, ConformanceError, r"accuracy is 87\.5, but its unit is a fraction"),
        ({"value": 0.25}, ConformanceError, r"accuracy is 0\.25, but the mean of its outcomes is 1\.0"),
    ],
    ids=["undeclared", "nan", "length", "per cent", "mean"],
)
def test_a_score_that_cannot_be_is_caught(change: dict[str, Any], error: type[Exception], words: str) -> None:
    spec = evaluator(lambda probe, params: scored(np.ones(40, dtype=bool), **change))
    with pytest.raises(error, match=words):
        check_evaluator(spec)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, r"returned NoneType, but must return benchmark\.Evaluation"),
        (benchmark.Evaluation(measurements=()), r"has no measurement"),
        (
            benchmark.Evaluation(measurements=(benchmark.Measurement(metric="accuracy", value=1.0, n=40),) * 2),
            r"metric 'accuracy' is measured twice",
        ),
    ],
    ids=["none", "empty", "twice"],
)
def test_an_evaluation_that_cannot_be_is_caught(given: Any, words: str) -> None:
    with pytest.raises(benchmark.PluginError, match=words):
        check_evaluator(evaluator(lambda probe, params: given))


# --- datasets that break the contract ---------------------------------------------------------------------------------


def dataset(
    change: Callable[[benchmark.Dataset], benchmark.Dataset] = lambda data: data, **info: Any
) -> benchmark.DatasetSpec:
    def split(count: int) -> benchmark.Split:
        images, labels = small_images(count, (3, 8, 8), seed=count)
        return benchmark.Split(images=images.numpy(), labels=labels.numpy())

    def load(params: Any, data_dir: Path) -> benchmark.Dataset:
        return change(benchmark.Dataset(train=split(12), test=split(8), class_names=("a", "b", "c", "d")))

    told = {"label": "planted", "fingerprint": "1", "image_shape": (3, 8, 8), "num_train": 12, "num_test": 8}
    described = benchmark.DatasetInfo(**{**told, "class_names": ("a", "b", "c", "d"), **info})
    return benchmark.DatasetSpec(name="planted", summary="", describe=lambda params, data_dir: described, load=load)


def replaced(part: str, **change: Callable[[Any], Any]) -> Callable[[benchmark.Dataset], benchmark.Dataset]:
    def apply(data: benchmark.Dataset) -> benchmark.Dataset:
        split = getattr(data, part)
        new = dataclasses.replace(split, **{name: done(getattr(split, name)) for name, done in change.items()})
        return dataclasses.replace(data, **{part: new})

    return apply


def test_the_dataset_that_the_violations_are_planted_in_is_right() -> None:
    check_dataset(dataset())


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (dataset(replaced("train", images=lambda x: x.astype(np.float32))), r"train: images are float32, not uint8"),
        (dataset(replaced("test", images=lambda x: x.astype(np.float64))), r"test: images are float64, not uint8"),
        (dataset(replaced("train", labels=lambda x: x.astype(np.int32))), r"train: labels are int32, not int64"),
        (dataset(replaced("test", labels=lambda x: x + 1)), r"test: labels go beyond the 4 classes"),
        (dataset(replaced("test", labels=lambda x: x - 1)), r"test: labels go beyond the 4 classes"),
        (dataset(replaced("train", labels=lambda x: x[:-1])), r"train: labels have the shape \(11,\)"),
        (dataset(replaced("train", images=lambda x: x.transpose(0, 2, 3, 1))), r"\(12, 8, 8, 3\), describe says"),
        (dataset(num_test=9), r"describe says \(9, 3, 8, 8\)"),
        (dataset(class_names=("a", "b")), r"describe and load name other classes"),
        (
            dataset(lambda data: dataclasses.replace(data, unlabeled=np.zeros((5, 3, 9, 9), dtype=np.uint8))),
            r"unlabeled: images have the shape \(5, 3, 9, 9\)",
        ),
        (
            dataset(lambda data: dataclasses.replace(data, unlabeled=np.zeros((5, 3, 8, 8), dtype=np.float32))),
            r"unlabeled: images are float32",
        ),
    ],
    ids=[
        "float",
        "double",
        "int32",
        "above",
        "below",
        "length",
        "channels last",
        "count",
        "classes",
        "extra shape",
        "extra type",
    ],
)
def test_a_dataset_that_is_not_what_it_says_is_caught(spec: benchmark.DatasetSpec, words: str) -> None:
    with pytest.raises(ConformanceError, match=words):
        check_dataset(spec)


@pytest.mark.parametrize(("part", "field"), list(itertools.product(("train", "test"), ("images", "labels"))))
def test_a_dataset_that_is_another_each_time_is_caught(part: str, field: str) -> None:
    times = itertools.count()

    def turned(values: Any) -> Any:
        return values[::-1].copy() if next(times) else values

    with pytest.raises(ConformanceError, match=r"loading twice gave other images or labels"):
        check_dataset(dataset(replaced(part, **{field: turned})))


def test_a_fingerprint_that_moves_is_caught() -> None:
    times = itertools.count()
    spec = dataset()
    info = spec.describe(None, Path())
    moving = dataclasses.replace(
        spec, describe=lambda params, data_dir: dataclasses.replace(info, fingerprint=str(next(times)))
    )
    with pytest.raises(ConformanceError, match=r"describe gave something else"):
        check_dataset(moving)
