"""`bench speed`: the plain way is the same law, meters count what is there, and every number ends up in every format."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import math
import mmap
import os
import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from numpy.typing import NDArray
from PIL import Image

from bench_aet import AETParams, plain
from bench_aet.transforms import Affine, Projective
from bench_rotation import RotationParams
from bench_rotation import plain as plain_rotation
from benchmark import warp
from benchmark.api.catalog import load_catalog
from benchmark.encoder import NormalizedEncoder, build_encoder
from benchmark.errors import BenchError, RecordError, TrainingError, UnknownNameError, UsageError
from benchmark.speed import measure as pace
from benchmark.speed import timing as meters
from benchmark.speed import training as trials
from benchmark.speed.measure import SpeedOptions, _plan, speed
from benchmark.speed.reference import PlainEncoder, PlainImages, plain_batches
from benchmark.speed.report import COLUMNS, SCALED, _shown, add, as_csv, as_json, speed_tables
from benchmark.speed.timing import TimedCall, Work, interleaved, peak_memory, ratio
from benchmark.speed.training import TrainingTimes
from benchmark.testing.miniature import SMALL_ENCODER, small_images

Bench = Callable[..., Result]
CPU = torch.device("cpu")


# --- the plain way: images --------------------------------------------------------------------------------------------


def pixels(count: int = 6, channels: int = 3, side: int = 8) -> NDArray[np.uint8]:
    draw = np.random.default_rng(0)
    return draw.integers(1, 256, (count, channels, side, side), dtype=np.uint8)


def plain_images(augment: Any, pad: int = 2, channels: int = 3) -> PlainImages:
    return PlainImages(pixels(channels=channels), augment, pad, None, None)


def every_window(image: NDArray[np.uint8], pad: int) -> dict[tuple[int, int], NDArray[np.uint8]]:
    """(row, column) of the corner -> the window of the image in its black border."""
    _, height, width = image.shape
    black = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
    corners = [(top, left) for top in range(2 * pad + 1) for left in range(2 * pad + 1)]
    return {(top, left): black[:, top : top + height, left : left + width] for top, left in corners}


def as_bytes(image: torch.Tensor) -> NDArray[np.uint8]:
    return np.rint(image.numpy() * 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_without_augmentation_a_plain_image_is_the_image_over_255(channels: int) -> None:
    images = pixels(channels=channels)
    dataset = plain_images("none", channels=channels)
    assert len(dataset) == 6
    for index, image in enumerate(images):
        found, numbers = dataset[index]
        assert found.dtype == torch.float32
        assert found.is_contiguous()
        np.testing.assert_allclose(found.numpy(), image / 255, rtol=1e-6)
        assert numbers.numel() == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_a_plain_crop_is_a_window_of_the_image_in_its_border_and_every_window_comes(channels: int) -> None:
    image = pixels(channels=channels)[2]
    windows = every_window(image, 1)
    dataset = plain_images("crop", pad=1, channels=channels)
    seen = set()
    for _ in range(200):
        found = as_bytes(dataset[2][0])
        which = [corner for corner, window in windows.items() if np.array_equal(found, window)]
        assert len(which) == 1
        seen.add(which[0])
    assert seen == set(windows)  # each is left out of 200 draws with a chance of 6e-11


def test_a_plain_flip_mirrors_about_every_second_image() -> None:
    image = pixels()[1]
    dataset = plain_images("flip")
    mirrored = 0
    for _ in range(400):
        found = as_bytes(dataset[1][0])
        is_mirrored = np.array_equal(found, image[:, :, ::-1])
        assert is_mirrored or np.array_equal(found, image)
        mirrored += is_mirrored
    assert abs(mirrored - 200) < 50  # five standard deviations


def test_a_plain_crop_and_flip_is_a_window_perhaps_mirrored() -> None:
    windows = [window.tobytes() for window in every_window(pixels()[0], 2).values()]
    dataset = plain_images("crop-flip")
    seen = set()
    for _ in range(60):
        found = as_bytes(dataset[0][0])
        straight, mirrored = found.tobytes() in windows, found[:, :, ::-1].tobytes() in windows
        assert straight or mirrored
        seen.add(mirrored)
    assert seen == {False, True}


def test_a_crop_without_a_border_leaves_the_image() -> None:
    np.testing.assert_array_equal(as_bytes(plain_images("crop", pad=0)[3][0]), pixels()[3])


def test_plain_batches_go_round_and_round_and_leave_the_rest_out() -> None:
    batches = plain_batches(plain_images("none"), 4, 0)
    for _ in range(5):
        images, numbers = next(batches)
        assert images.shape == (4, 3, 8, 8)
        assert numbers.shape == (4, 0)


def test_a_plain_batch_is_no_larger_than_the_dataset() -> None:
    assert len(next(plain_batches(plain_images("none"), 64, 0))[0]) == 6


def test_two_workers_draw_crops_of_their_own() -> None:
    """The first batch comes from one worker, the second from the other; all images are the same one."""
    images = np.repeat(pixels(1), 32, axis=0)
    batches = plain_batches(PlainImages(images, "crop-flip", 2, None, None), 16, 2)
    first, second = next(batches)[0], next(batches)[0]
    batches.close()  # type: ignore[attr-defined]  # it is a generator
    assert not torch.equal(first, second)


def test_the_plain_encoder_is_the_encoder_in_another_layout() -> None:
    def fresh() -> NormalizedEncoder:
        return build_encoder(
            SMALL_ENCODER,
            SMALL_ENCODER.params(),
            (3, 16, 16),
            num_images=4,
            seed=0,
            mean=[0.4, 0.5, 0.6],
            std=[0.3, 0.2, 0.1],
        )

    images = small_images(8)[0].float() / 255
    ours, theirs = fresh(), PlainEncoder(fresh())
    assert all(tensor.is_contiguous() for tensor in theirs.state_dict().values())
    assert list(theirs.state_dict()) == list(ours.state_dict())
    taps = ("conv1", "conv2")
    wanted, found = ours(images, taps), theirs(images, taps)
    for tap in taps:
        assert found[tap].is_contiguous()
        torch.testing.assert_close(found[tap], wanted[tap], rtol=1e-4, atol=1e-5)


# --- the plain way: views ---------------------------------------------------------------------------------------------


def smooth(side: int, channels: int) -> Image.Image:
    """A picture without edges, so that a hair's breadth of a coordinate is no gray value."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    planes = [127 + 100 * np.sin(3 * rows + number) * np.cos(2 * columns - number) for number in range(channels)]
    picture = np.stack(planes, axis=-1).astype(np.uint8)
    return Image.fromarray(picture[:, :, 0] if channels == 1 else picture)


def as_tensor(image: Image.Image) -> torch.Tensor:
    array = np.array(image, dtype=np.float64)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1)).unsqueeze(0)


@pytest.mark.parametrize("fill", ["gray", "black"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("transform", ["projective", "affine", "similarity"])
def test_a_plain_copy_is_what_the_batched_warp_makes_of_the_same_numbers(
    transform: Any, channels: int, fill: Any
) -> None:
    chance, image = random.Random(1), smooth(32, channels)
    params = AETParams(transform=transform, fill=fill)
    gray = 128.0 if fill == "gray" else 0.0
    filled = 0
    for _ in range(25):
        (first, copy), numbers = plain.plain_views(params, image, chance)
        assert first is image
        assert copy.size == image.size
        matrix = torch.tensor([numbers], dtype=torch.float64)
        do = warp.projective if transform == "projective" else warp.affine
        wanted = do(as_tensor(image), matrix, gray)
        apart = (as_tensor(copy) - wanted).abs()
        # Pillow cuts to whole gray values, and judges a few pixels on the very border the other way.
        assert int((apart > 1.01).sum()) <= 3 * channels
        filled += int((wanted == gray).sum())
    assert filled > 100


def drawn_by_the_method(family: Any, side: int, count: int) -> NDArray[np.float64]:
    generator = torch.Generator().manual_seed(11)
    parameters = family(side).draw(count, generator)
    if family is Affine:
        angle, _, _, scale, shear = parameters.unbind(1)
        center = (side + 1) / 2
        parameters = warp.affine_inverse(angle, parameters[:, 1:3], scale, shear, (center, center))
    return np.asarray(parameters.double().numpy())


def drawn_plainly(family: Any, side: int, count: int) -> NDArray[np.float64]:
    chance = random.Random(12)
    if family is Affine:
        return np.array([plain.affine(side, chance, sheared=True) for _ in range(count)])
    return np.array([plain.projective(side, chance) for _ in range(count)])


@pytest.mark.parametrize("side", [32, 17])
@pytest.mark.parametrize("family", [Affine, Projective], ids=["affine", "projective"])
def test_plain_transformations_are_drawn_from_the_methods_law(family: Any, side: int) -> None:
    count = 20_000
    ours, theirs = drawn_by_the_method(family, side, count), drawn_plainly(family, side, count)
    assert ours.shape == theirs.shape == (count, 6 if family is Affine else 8)
    for one, other in zip(ours.T, theirs.T, strict=True):
        spread = math.hypot(one.std(), other.std()) / math.sqrt(count)
        assert abs(one.mean() - other.mean()) < 5 * spread
        # Tails: the part of each that lies beyond the other's quantiles is as it should be.
        for part in (0.05, 0.25, 0.5, 0.75, 0.95):
            at = np.quantile(other, part)
            error = 5 * math.sqrt(2 * part * (1 - part) / count)
            assert abs((one <= at + 1e-9).mean() - (other <= at + 1e-9).mean()) < error
        assert one.std() == pytest.approx(other.std(), rel=0.1)


def test_a_plain_similarity_keeps_right_angles() -> None:
    chance = random.Random(3)
    for _ in range(50):
        a, b, _, d, e, _ = plain.affine(32, chance, sheared=False)
        assert a * b + d * e == pytest.approx(0, abs=1e-12)
        assert a == pytest.approx(e)
        assert 1 / 1.3 - 1e-9 <= math.hypot(a, d) <= 1 / 0.7 + 1e-9


@pytest.mark.parametrize(("turns", "quarters"), [(4, (0, 1, 2, 3)), (2, (0, 2))])
@pytest.mark.parametrize("channels", [1, 3])
def test_plain_rotations_are_quarter_turns_to_the_left(turns: Any, quarters: Sequence[int], channels: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (9, 9, channels), dtype=np.uint8)
    image = Image.fromarray(picture[:, :, 0] if channels == 1 else picture)
    views, numbers = plain_rotation.plain_views(RotationParams(turns=turns), image, random.Random(0))
    assert numbers == list(range(turns))
    for view, quarter in zip(views, quarters, strict=True):
        np.testing.assert_array_equal(np.array(view), np.rot90(np.array(image), quarter))


def test_a_dataset_gives_the_views_with_their_numbers() -> None:
    params = AETParams()
    images, copies, numbers = PlainImages(pixels(), "none", 0, plain.plain_views, params)[4]
    np.testing.assert_array_equal(as_bytes(images), pixels()[4])
    assert copies.shape == images.shape
    assert numbers.shape == (8,)
    found = PlainImages(pixels(), "none", 0, plain_rotation.plain_views, RotationParams())[4]
    assert [tuple(each.shape) for each in found] == [(3, 8, 8)] * 4 + [(4,)]


# --- meters -----------------------------------------------------------------------------------------------------------


def test_a_product_costs_two_flops_for_each_pair_that_is_multiplied() -> None:
    one, other = torch.ones(3, 5), torch.ones(5, 7)
    assert meters.work(lambda: one @ other) == Work(flops=2 * 3 * 5 * 7, bytes=4 * (15 + 35 + 21))


def test_a_convolution_costs_two_flops_for_each_weight_at_each_place() -> None:
    images, weights = torch.ones(2, 3, 8, 8), torch.ones(6, 3, 3, 3)
    found = meters.work(lambda: torch.nn.functional.conv2d(images, weights, stride=2, padding=1))
    assert found.flops == 2 * (2 * 4 * 4) * 6 * (3 * 3 * 3)


def test_a_backward_costs_as_much_again_for_each_side_that_wants_a_gradient() -> None:
    one, other = torch.ones(3, 5, requires_grad=True), torch.ones(5, 7, requires_grad=True)
    assert meters.work(lambda: (one @ other).sum().backward()).flops == 3 * 2 * 3 * 5 * 7  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda x: x.relu(), 2 * 400),
        (lambda x: x + x, 3 * 400),
        (lambda x: x.double(), 400 + 800),
        (lambda x: x.t()[:5].unsqueeze(0), 0),
        (lambda x: x.view(100)[:50], 0),
        (lambda x: x.add_(1), 2 * 400),
        (lambda x: x.sum(), 400 + 4),
        (lambda x: (x * 2).relu(), 4 * 400),
    ],
    ids=[
        "one in, one out",
        "two in, one out",
        "another type",
        "views",
        "another shape",
        "in place",
        "a sum",
        "two operations",
    ],
)
def test_bytes_are_what_goes_in_and_what_comes_out(call: Callable[[torch.Tensor], object], wanted: int) -> None:
    x = torch.ones(10, 10)
    assert meters.work(lambda: call(x)) == Work(flops=0, bytes=wanted)


def test_a_fused_optimizer_writes_what_it_moves() -> None:
    """SGD with momentum reads weight, gradient and momentum, and writes weight and momentum."""
    weight = torch.nn.Parameter(torch.ones(1000))
    weight.grad = torch.ones(1000)
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, fused=True)
    optimizer.step()
    assert meters.work(optimizer.step).bytes == 5 * 4000


MEGABYTE = 2**20


def pages(size: int) -> mmap.mmap:
    """Memory asked of the system itself and written to: an allocator might hand out what it had kept from before."""
    found = mmap.mmap(-1, size)
    found.write(b"1" * size)
    return found


@pytest.mark.skipif(meters._resident() == 0, reason="this system does not tell a process's size")
def test_peak_memory_sees_what_was_held_for_a_while_inside_and_nothing_from_before() -> None:
    before = pages(64 * MEGABYTE)
    with peak_memory(CPU) as nothing:
        pass
    with peak_memory(CPU) as peak:
        pages(64 * MEGABYTE).close()
        held = pages(64 * MEGABYTE)
    assert nothing.bytes < 16 * MEGABYTE
    assert 60 * MEGABYTE < peak.bytes < 200 * MEGABYTE
    before.close()
    held.close()


@pytest.mark.skipif(meters._resident() == 0, reason="this system does not tell a process's size")
def test_peak_memory_is_told_although_the_call_failed() -> None:
    found, held = [], []

    def fail() -> None:
        with peak_memory(CPU) as peak:
            found.append(peak)
            held.append(pages(64 * MEGABYTE))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert found[0].bytes > 60 * MEGABYTE
    held[0].close()


def test_contestants_take_turns_in_order_each_inside_of_its_setting() -> None:
    told: list[str] = []

    def contestant(name: str) -> TimedCall:
        @contextlib.contextmanager
        def setting() -> Iterator[None]:
            told.append(f"{name} in")
            yield
            told.append(f"{name} out")

        return TimedCall(call=lambda: told.append(name), setting=setting)

    found = interleaved({name: contestant(name) for name in "ab"}, CPU, 3, 0.0)
    turn = [word for name in "ab" for word in (f"{name} in", *[name] * 3, f"{name} out")]
    assert told == turn * 3  # one call that is not timed and two that are
    assert {name: len(seconds) for name, seconds in found.items()} == {"a": 3, "b": 3}
    assert all(second > 0 for seconds in found.values() for second in seconds)


def test_a_setting_is_left_when_its_contestant_fails() -> None:
    told = []

    @contextlib.contextmanager
    def setting() -> Iterator[None]:
        try:
            yield
        finally:
            told.append("left")

    with pytest.raises(ZeroDivisionError):
        interleaved({"a": TimedCall(call=lambda: 1 / 0, setting=setting)}, CPU, 1, 0.0)
    assert told == ["left"]


def test_a_ratio_is_the_median_of_the_ratios_within_each_round() -> None:
    assert ratio([2.0, 9.0, 40.0], [1.0, 3.0, 10.0]) == 3.0
    assert ratio([4.0, 100.0], [2.0, 100.0]) == 1.5
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0], [1.0, 2.0])


# --- the book ---------------------------------------------------------------------------------------------------------

CONDITIONS: dict[str, object] = {
    "rounds": 3,
    "threads": 2,
    "workers": 1,
    "accelerate": "auto",
    "device": "cpu",
    "device_name": "a machine, with a comma",
    "precision": "float32",
    "torch": "2.99",
    "python": "3.99",
    "repbench": "0.9",
    "commit": None,
    "time": "2020-01-01T00:00:00+00:00",
}


def measured(quantity: str, value: float, unit: str, **given: Any) -> TrainingTimes:
    return TrainingTimes(
        subject=given.pop("subject", "aet / small / digits"), quantity=quantity, value=value, unit=unit, **given
    )


FOUND = [
    measured("matrix product", 1.2345678e12, "flop/s", subject="device", detail="float32, best"),
    measured("data", 1111.0, "images/s", spread=(1001.0, 1221.0), batch=64),
    measured("both", 222.0, "images/s", spread=(201.0, 231.0), batch=64),
    measured("plain both", 111.0, "images/s", spread=(101.0, 119.0), batch=64),
    measured("both ratio", 2.125, "x", spread=(1.875, 2.25), batch=64),
    measured("flops per image", 33_300_000.0, "flop", batch=64),
    measured("part of product ceiling", 0.4321, "fraction", batch=64),
    measured("schedule", 5_430.0, "s", batch=64, detail="projected: 6 epochs"),
    measured("seconds", 0.0876, "s", subject="knn", spread=(0.0812, 0.0954), detail="20 train"),
    measured("not timed", 0.0, "", subject="conv", detail="it takes a map as it is"),
]


def test_tables_show_every_number_beside_what_it_is() -> None:
    first, rest = speed_tables(FOUND, CONDITIONS)
    rows = {row[0]: row[1:] for row in first.rows}
    assert first.title == "aet / small / digits (batch 64)"
    assert rows["data, images/s"] == ("1111 [1001, 1221]", "-", "-")
    assert rows["both, images/s"] == ("222 [201, 231]", "111 [101, 119]", "2.12 x [1.88, 2.25]") or rows[
        "both, images/s"
    ] == ("222 [201, 231]", "111 [101, 119]", "2.13 x [1.88, 2.25]")
    assert rows["step, images/s"] == ("-", "-", "-")
    assert rows["flops per image"][0] == "33.3 Mflop"
    assert rows["part of product ceiling"][0] == "0.432"
    assert rows["schedule"] == ("5430 s", "", "projected: 6 epochs")
    others = {row[0]: row[1:] for row in rest.rows}
    assert others["device"] == ("matrix product", "1.23 Tflop/s", "", "float32, best")
    assert others["knn"] == ("seconds", "0.0876 s", "[0.0812, 0.0954]", "20 train")
    assert others["conv"][-1] == "it takes a map as it is"
    assert any("device_name a machine" in note for note in rest.notes)
    assert not any("commit" in note for note in rest.notes)


def test_a_table_of_nothing_is_none() -> None:
    assert speed_tables([], CONDITIONS) == []


@pytest.mark.parametrize("unit", sorted(SCALED))
@pytest.mark.parametrize("value", [1.0, 12.3, 999.0, 1000.0, 45_600.0, 2.5e9, 1.25e14])
def test_large_numbers_are_shown_without_an_exponent(unit: str, value: float) -> None:
    shown = _shown(measured("x", value, unit))
    number = shown.split()[0]
    assert "e" not in number
    factor = {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3}.get(shown.split()[1][0], 1) if value >= 1000 else 1
    assert float(number) * factor == pytest.approx(value, rel=5e-3)


@pytest.mark.parametrize("value", [999.7, 999_700.0, 999.7e9, 1.2e15])
def test_numbers_that_round_up_to_a_thousand_are_shown_without_an_exponent(value: float) -> None:
    assert "e" not in _shown(measured("x", value, "flop/s")).split()[0]


def test_json_holds_every_number_unrounded_with_the_conditions() -> None:
    body = json.loads(as_json(FOUND, CONDITIONS))
    assert body["conditions"] == CONDITIONS
    assert len(body["measured"]) == len(FOUND)
    for each, wanted in zip(body["measured"], FOUND, strict=True):
        assert (each["subject"], each["quantity"], each["unit"]) == (wanted.subject, wanted.quantity, wanted.unit)
        assert each["value"] == wanted.value
        assert each["spread"] == (None if wanted.spread is None else list(wanted.spread))


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_holds_every_number_and_every_condition_in_its_row() -> None:
    rows = rows_of(as_csv(FOUND, CONDITIONS))
    assert len(rows) == len(FOUND)
    for row, wanted in zip(rows, FOUND, strict=True):
        assert tuple(row) == COLUMNS
        assert float(row["value"]) == pytest.approx(wanted.value, rel=1e-5)
        assert (row["subject"], row["quantity"], row["unit"]) == (wanted.subject, wanted.quantity, wanted.unit)
        assert row["detail"] == wanted.detail
        assert row["batch"] == ("" if wanted.batch is None else str(wanted.batch))
        bounds = ("", "") if wanted.spread is None else wanted.spread
        assert [float(row[key]) if row[key] else "" for key in ("low", "high")] == pytest.approx(list(bounds))
        for key, value in CONDITIONS.items():
            assert row[key] == ("" if value is None else str(value))


def test_rows_are_added_and_what_stood_there_is_kept(tmp_path: Path) -> None:
    path = add(FOUND[:2], CONDITIONS, tmp_path / "results")
    assert path == tmp_path / "results" / "speed.csv"
    first = path.read_text()
    assert first == as_csv(FOUND[:2], CONDITIONS)
    add(FOUND[2:], {**CONDITIONS, "threads": 9}, tmp_path / "results")
    assert path.read_text().startswith(first)
    rows = rows_of(path.read_text())
    assert [row["quantity"] for row in rows] == [each.quantity for each in FOUND]
    assert [row["threads"] for row in rows] == ["2"] * 2 + ["9"] * (len(FOUND) - 2)


def test_a_last_line_without_an_end_is_not_run_into(tmp_path: Path) -> None:
    path = add(FOUND[:1], CONDITIONS, tmp_path)
    path.write_text(path.read_text().rstrip("\n"))
    add(FOUND[1:2], CONDITIONS, tmp_path)
    assert [row["quantity"] for row in rows_of(path.read_text())] == ["matrix product", "data"]


@pytest.mark.parametrize("text", ["subject,quantity,value\nold,row,1\n", "", "no table at all"])
def test_a_file_with_other_columns_is_refused_with_a_sentence_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "speed.csv").write_text(text)
    with pytest.raises(RecordError, match=r"speed\.csv has other columns .* --to"):
        add(FOUND, CONDITIONS, tmp_path)
    assert (tmp_path / "speed.csv").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["speed.csv"]


def test_a_full_disk_leaves_the_old_rows_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = add(FOUND[:1], CONDITIONS, tmp_path)
    before = path.read_text()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match="No space left on device"):
        add(FOUND[1:], CONDITIONS, tmp_path)
    assert path.read_text() == before
    assert [each.name for each in tmp_path.iterdir()] == ["speed.csv"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RecordError, match="cannot be written"):
        add(FOUND, CONDITIONS, tmp_path / "file" / "results")


# --- what cannot be asked for -----------------------------------------------------------------------------------------


@pytest.fixture
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts to measure fails the test."""

    def refuse(*given: Any, **named: Any) -> None:
        pytest.fail("something was measured")

    monkeypatch.setattr(speed, "device", refuse)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--parts", "training,evaluaters"), "no part called 'evaluaters'"),
        (("--parts", "evaluaters"), "did you mean 'evaluators'?"),
        (("--features", "200,50"), "--features 200,50: three numbers are wanted"),
        (("--features", "200,50,sixteen"), "--features 200,50,sixteen: three numbers are wanted"),
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
def test_what_does_not_exist_is_told_before_anything_is_measured(
    bench: Bench, no_clock: None, tmp_path: Path, words: Sequence[str], sentence: str
) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "speed.csv").write_text("kept")
    result = bench("speed", *words, "--to", str(tmp_path / "to"))
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert (tmp_path / "to" / "speed.csv").read_text() == "kept"


def test_options_are_refused_as_errors_of_ours() -> None:
    with pytest.raises(UnknownNameError):
        pace.measure(SpeedOptions(parts="all"), load_catalog())
    with pytest.raises(UsageError):
        pace.measure(SpeedOptions(features="many"), load_catalog())
    assert issubclass(UsageError, BenchError)


CHEAP = ("--rounds", "1", "--seconds", "0.01", "--threads", "1", "--device", "cpu")


@pytest.fixture
def cheap_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine can do at best takes a second to find out; here it is told."""
    told = meters.DeviceLimits(flops=1e11, bytes=1e10)
    monkeypatch.setattr(meters, "ceilings", lambda device, precision, rounds: told)


def test_a_method_that_does_not_train_has_nothing_to_time(bench: Bench, cheap_ceilings: None, tmp_path: Path) -> None:
    result = bench("speed", "--methods", "untrained", "--parts", "training", *CHEAP, "--to", str(tmp_path))
    assert result.exit_code == 2
    assert "nothing to time: none of the methods trains" in " ".join(result.stderr.split())
    assert not (tmp_path / "speed.csv").exists()


def test_why_a_combination_makes_no_sense_is_told_where_nothing_is_left(
    bench: Bench, cheap_ceilings: None, tmp_path: Path
) -> None:
    """DIM's paper recipe is for another encoder."""
    result = bench(
        *("speed", "--methods", "dim", "--encoders", "blocknet", "--budget", "paper", "--parts", "training"),
        *(*CHEAP, "--to", str(tmp_path)),
    )
    assert result.exit_code == 2
    assert "paper" in result.stderr
    assert not (tmp_path / "speed.csv").exists()


# --- all of it --------------------------------------------------------------------------------------------------------


def quantities(*, compared: bool) -> dict[str, str]:
    """Quantity of a training -> its unit."""
    rates = dict.fromkeys(("data", "step", "both"), "images/s")
    beside = {f"plain {name}": unit for name, unit in rates.items()} | {f"{name} ratio": "x" for name in rates}
    counted = {
        "peak memory": "bytes",
        "flops per image": "flop",
        "bytes per image": "bytes",
        "part of product ceiling": "fraction",
        "part of copy ceiling": "fraction",
        "schedule": "s",
    }
    return {**rates, **(beside if compared else {}), **counted}


@pytest.mark.filterwarnings("default:.*fork.*:DeprecationWarning")
def test_speed_measures_every_method_and_evaluator_that_was_asked_for(
    bench: Bench, cheap_ceilings: None, tmp_path: Path
) -> None:
    to = tmp_path / "to"
    result = bench(
        *("speed", "--methods", "aet,rotation,dim", "--encoders", "dim_conv", "--batch", "16"),
        *("--features", "200,50,16", "--parts", "training,evaluators", "--format", "json", *CHEAP, "--to", str(to)),
    )
    assert result.exit_code == 0, result.output
    body = json.loads(result.stdout)
    found: dict[str, dict[str, Any]] = {}
    for each in body["measured"]:
        assert each["quantity"] not in found.setdefault(each["subject"], {})
        found[each["subject"]][each["quantity"]] = each
    titles = [f"{name} / dim_conv / digits" for name in ("aet", "rotation", "dim")]
    assert set(found) == {"device", "linear", "knn", "retrieval", *titles}
    for title in titles:
        numbers = found[title]
        assert {name: each["unit"] for name, each in numbers.items()} == quantities(compared=True)
        for name, each in numbers.items():
            assert math.isfinite(each["value"]), name
            assert each["value"] > 0 or name == "peak memory", name
            assert each["batch"] == 16
            if each["spread"] is not None:
                assert each["spread"][0] <= each["value"] <= each["spread"][1]
        for name in ("data", "step", "both"):
            quotient = numbers[name]["value"] / numbers[f"plain {name}"]["value"]
            assert numbers[f"{name} ratio"]["value"] == pytest.approx(quotient)  # one round
        step = numbers["step"]["value"]
        reached = numbers["flops per image"]["value"] * step / 1e11
        moved = numbers["bytes per image"]["value"] * step / 1e10
        assert numbers["part of product ceiling"]["value"] == pytest.approx(reached)
        assert numbers["part of copy ceiling"]["value"] == pytest.approx(moved)
        assert "6 epochs of 1437 images" in numbers["schedule"]["detail"]
        assert numbers["schedule"]["value"] == pytest.approx(6 * 1437 / numbers["both"]["value"])
    for name in ("linear", "knn", "retrieval"):
        assert set(found[name]) == {"peak memory", "seconds"}
        assert found[name]["seconds"]["value"] > 0
        assert "200 train, 50 test, 16 dimensions" in found[name]["seconds"]["detail"]
    conditions = body["conditions"]
    assert (conditions["rounds"], conditions["threads"], conditions["workers"]) == (1, 1, 1)
    rows = rows_of((to / "speed.csv").read_text())
    assert [(row["subject"], row["quantity"]) for row in rows] == [
        (each["subject"], each["quantity"]) for each in body["measured"]
    ]
    assert {row["torch"] for row in rows} == {str(torch.__version__)}
    assert f"{len(rows)} numbers added" in result.stderr


def test_a_rotation_costs_four_times_as_much_as_one_forward_and_backward(
    bench: Bench, cheap_ceilings: None, tmp_path: Path
) -> None:
    """Counted by hand for dim_conv on 8 x 8 gray images: what one image costs, four times over, and the head."""
    result = bench(
        *("speed", "--methods", "rotation", "--encoders", "dim_conv", "--batch", "16", "--no-plain"),
        *("--parts", "training", "--format", "json", *CHEAP, "--to", str(tmp_path)),
    )
    assert result.exit_code == 0, result.output
    numbers = {each["quantity"]: each for each in json.loads(result.stdout)["measured"] if each["subject"] != "device"}
    assert {name: each["unit"] for name, each in numbers.items()} == quantities(compared=False)
    first = 16 * 64 * (1 * 4 * 4)  # places x channels x weights of each
    deeper = 4 * 128 * (64 * 4 * 4) + 1 * 256 * (128 * 4 * 4)
    dense = 256 * 1024 + 1024 * 64 + 64 * 4
    # Forward, slope of the weights and slope of the inputs, which the images do not want.
    once = 2 * (2 * first + 3 * (deeper + dense))
    assert numbers["flops per image"]["value"] == 4 * once


def test_a_part_of_a_dataset_is_what_is_timed(tmp_path: Path) -> None:
    catalog = load_catalog()
    (planned,) = _plan(
        SpeedOptions(
            methods=("rotation",), encoders=("dim_conv",), datasets=("digits[subset=100]",), data_dir=tmp_path
        ),
        catalog,
    ).cells
    training = trials.training_of(planned.cell, catalog, tmp_path, trials.TrainingSettings(device=CPU, threads=1))
    assert training is not None
    assert training.cell.subset == 100
    assert len(training.images) == 100


def test_images_without_labels_are_part_of_what_is_timed_as_they_are_of_a_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = load_catalog()
    (planned,) = _plan(SpeedOptions(methods=("rotation",), encoders=("dim_conv",), data_dir=tmp_path), catalog).cells
    real = trials.cell_room.entry_of

    def with_more(catalog: Any, kind: str, singular: str, item: Any) -> Any:
        entry = real(catalog, kind, singular, item)
        if kind != "datasets":
            return entry

        def load(*given: Any) -> Any:
            data = entry.spec.load(*given)
            return dataclasses.replace(data, unlabeled=data.test.images)

        return dataclasses.replace(entry, spec=dataclasses.replace(entry.spec, load=load))

    monkeypatch.setattr(trials.cell_room, "entry_of", with_more)
    training = trials.training_of(planned.cell, catalog, tmp_path, trials.TrainingSettings(device=CPU, threads=1))
    assert training is not None
    assert len(training.images) == 1437 + 360


def test_a_combination_that_fails_costs_no_other_its_numbers(
    bench: Bench, cheap_ceilings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(training: trials.TimedTraining, ceilings: meters.DeviceLimits) -> list[TrainingTimes]:
        if training.title.startswith("aet"):
            raise RuntimeError("out of memory")
        return [measured("both", 2.0, "images/s", subject=training.title)]

    monkeypatch.setattr(trials, "measured", measure)
    bench(
        *("speed", "--methods", "rotation,aet", "--encoders", "dim_conv", "--parts", "training", *CHEAP),
        *("--to", str(tmp_path)),
    )
    assert "rotation / dim_conv / digits" in (tmp_path / "speed.csv").read_text()


def test_an_evaluator_that_cannot_be_timed_says_so_and_the_others_are(
    bench: Bench, cheap_ceilings: None, tmp_path: Path
) -> None:
    result = bench(
        *("speed", "--parts", "evaluators", "--evaluators", "knn,conv", "--features", "100,40,8", "--format", "csv"),
        *(*CHEAP, "--to", str(tmp_path)),
    )
    assert result.exit_code == 0, result.output
    rows = {(row["subject"], row["quantity"]): row for row in rows_of(result.stdout)}
    assert float(rows["knn", "seconds"]["value"]) > 0
    assert "map" in rows["conv", "not timed"]["detail"]
    assert ("conv", "seconds") not in rows


def test_ceilings_are_the_best_of_all_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "interleaved", lambda *given: {"product": [2.0, 0.5, 1.0], "copy": [0.25, 1.0, 4.0]})
    found = meters.device_limits(CPU, torch.float32, 3)
    assert found.flops == 2 * 2048**3 / 0.5
    assert found.bytes == 2 * 2**27 / 0.25


def test_help_is_timed_in_processes_of_its_own_without_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Sequence[str]] = []

    def run(words: Sequence[str], **given: Any) -> None:
        started.append(words)

    monkeypatch.setattr(meters.subprocess, "run", run)
    assert len(meters.help_seconds(3)) == 3
    assert len(started) == 4
    assert {tuple(words[1:]) for words in started} == {("-m", "benchmark", "--help")}


def test_a_clock_counts_from_one_cells_end_to_the_next_ones_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 11.5, 20.0, 20.25])
    monkeypatch.setattr(meters.time, "perf_counter", lambda: next(times))
    clock = meters.Clock(ended=next(times))
    clock.begun()
    clock.over()
    clock.begun()
    assert clock.seconds == [1.5, 0.25]
    assert statistics.median(clock.seconds) == 0.875


def test_what_does_not_train_is_told_beside_what_does(
    bench: Bench, cheap_ceilings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(training: trials.TimedTraining, ceilings: meters.DeviceLimits) -> list[TrainingTimes]:
        return [measured("both", 2.0, "images/s", subject=training.title)]

    monkeypatch.setattr(trials, "measured", measure)
    result = bench(
        *("speed", "--methods", "rotation,untrained", "--encoders", "dim_conv", "--parts", "training", *CHEAP),
        *("--format", "csv", "--to", str(tmp_path)),
    )
    rows = {(row["subject"], row["quantity"]): row for row in rows_of(result.stdout)}
    assert rows["untrained / dim_conv / digits", "not timed"]["detail"] == "it does not train"
    assert ("rotation / dim_conv / digits", "both") in rows


@pytest.mark.slow
def test_processes_that_fail_together_are_waited_for_no_longer(tmp_path: Path) -> None:
    catalog = load_catalog()
    asked = SpeedOptions(methods=("rotation",), encoders=("dim_conv",), data_dir=tmp_path)
    (planned,) = _plan(asked, catalog).cells
    lost = dataclasses.replace(planned.cell, dataset=dataclasses.replace(planned.cell.dataset, name="nowhere"))
    settings = trials.TrainingSettings(device=CPU, threads=1, rounds=1, least_seconds=0.01, together=2)
    with pytest.raises(TrainingError, match="2 of 2 processes failed"):
        trials._rate_of(lost, tmp_path, settings, 2)
