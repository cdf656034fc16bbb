"""What makes a step fast: what is reported and why not, what is given back, what stays as it was; losses kept on the device."""

from __future__ import annotations

import ctypes
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

import benchmark
from benchmark.api.catalog import load_catalog
from benchmark.api.methods import Batch, Losses, MethodContext, MethodSpec
from benchmark.encoder import NormalizedEncoder, build_encoder
from benchmark.errors import TrainingError
from benchmark.progress import silent
from benchmark.testing.miniature import CLASSES, SMALL_ENCODER, small_images
from benchmark.training import acceleration
from benchmark.training.acceleration import (
    COMPILED_STEPS,
    Accelerator,
    CaptureError,
    compilation_pays,
    kept_memory,
    training_kernels,
    without_time_limit,
)
from benchmark.training.loop import Loop, TrainingData, TrainingTask, train
from benchmark.training.losses import LossSums
from benchmark.training.optimizer import optimizer_for

CPU = torch.device("cpu")
GPU = torch.device("cuda", 0)
"""Only named: nothing is computed there."""
COUNT = 32
RECIPE = benchmark.Recipe(epochs=1, batch=16, lr=0.01, pad=2)
GLIBC = pytest.mark.skipif(acceleration._glibc() is None, reason="the C library is not glibc")


def encoder_of() -> NormalizedEncoder:
    params = SMALL_ENCODER.params()
    return build_encoder(SMALL_ENCODER, params, (3, 16, 16), num_images=COUNT, seed=0, mean=[0.4] * 3, std=[0.3] * 3)


class Plain(nn.Module):
    """The smallest method: vectors of length nothing."""

    def __init__(self, context: MethodContext) -> None:
        super().__init__()
        self.encoder = context.encoder

    def loss(self, batch: Batch) -> Losses:
        return Losses(total=self.encoder.vector(batch.images).square().mean())


class OwnStep(Plain):
    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Losses:
        losses = self.loss(batch)
        optimizer.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return losses


def loop_of(
    build: Any = Plain, accelerate: Any = "auto", recipe: benchmark.Recipe = RECIPE, *, capturable: bool = False
) -> Loop:
    images, _ = small_images(COUNT)
    spec = MethodSpec(name="tried", summary="", build=build, capturable=capturable)
    task = TrainingTask(spec=spec, params=None, recipe=recipe, seed=0, title="tried", accelerate=accelerate)
    return Loop(task, TrainingData(images=images, labels=None, num_classes=CLASSES), encoder_of(), silent)


# --- reports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accelerate", "wanted"),
    [
        ("auto", {"graph": "not on a GPU", "compile": "not on a GPU"}),
        ("off", {"graph": "not on a GPU", "compile": "switched off"}),
    ],
)
def test_a_training_on_a_cpu_tells_what_it_did_without(accelerate: Any, wanted: dict[str, str]) -> None:
    kept = "kept between steps" if accelerate == "auto" and acceleration._glibc() else "as the allocator does by itself"
    with torch.random.fork_rng(devices=[]):
        assert loop_of(accelerate=accelerate).run().acceleration == {**wanted, "memory": kept}


def test_what_is_to_be_compiled_is_reported_as_such() -> None:
    loop = loop_of(accelerate="compile")
    with loop.accelerator.running():
        assert loop.accelerator.report["compile"] == "compiled"
        assert loop.network._compiled_call_impl is not None
    assert loop.network._compiled_call_impl is None


def test_a_method_that_does_not_train_reports_no_step() -> None:
    images, _ = small_images(COUNT)
    spec = MethodSpec(name="tried", summary="", build=Plain, trains=False)
    task = TrainingTask(spec=spec, params=None, recipe=benchmark.Recipe(epochs=0), seed=0, title="tried")
    data = TrainingData(images=images, labels=None, num_classes=CLASSES)
    found = train(task, data, encoder_of(), silent)
    assert found.images_seen == 0
    assert "compile" not in found.acceleration
    assert "memory" not in found.acceleration


@dataclasses.dataclass
class Elsewhere:
    """A loop as its accelerator sees it, on a GPU that need not be there."""

    accelerate: Any = "auto"
    total_steps: int = 10
    device: torch.device = GPU
    batch: int = 4
    declared: str | None = None

    def cannot_capture(self) -> str | None:
        return self.declared


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (Elsewhere(), "not yet: training was too short"),
        (Elsewhere(accelerate="off"), "switched off"),
        (Elsewhere(accelerate="compile"), "not yet: training was too short"),
        (Elsewhere(declared="the method has a step of its own"), "the method has a step of its own"),
        (Elsewhere(device=CPU), "not on a GPU"),
    ],
)
def test_why_no_graph_is_captured(given: Elsewhere, reason: str) -> None:
    assert Accelerator(cast(Any, given)).report == {"graph": reason}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (Elsewhere(), f"fewer than {COMPILED_STEPS} steps"),
        (Elsewhere(accelerate="off", total_steps=10**6), "switched off"),
        (Elsewhere(device=CPU, total_steps=10**6), "not on a GPU"),
    ],
)
def test_why_nothing_is_compiled(given: Elsewhere, reason: str) -> None:
    given_network = nn.Linear(1, 1)
    given.network = given_network  # type: ignore[attr-defined]
    accelerator = Accelerator(cast(Any, given))
    with accelerator.running():
        assert accelerator.report["compile"] == reason
        assert given_network._compiled_call_impl is None


def test_compiling_pays_on_a_gpu_from_so_many_steps_on() -> None:
    assert [compilation_pays(GPU, COMPILED_STEPS + more) for more in (-1, 0, 1)] == [False, True, True]
    assert not compilation_pays(CPU, 10**9)


def test_what_a_method_declares_decides_whether_a_step_may_be_captured() -> None:
    assert loop_of(capturable=True).cannot_capture() is None
    assert loop_of().cannot_capture() == "the method does not declare that its step may be captured"
    assert loop_of(OwnStep, capturable=True).cannot_capture() == "the method has a step of its own"


def test_a_forward_is_plain_again_after_an_error() -> None:
    loop = loop_of(accelerate="compile")

    def fail() -> None:
        with loop.accelerator.running():
            assert loop.network._compiled_call_impl is not None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert loop.network._compiled_call_impl is None


def test_compiling_changes_no_name_and_copies_nothing() -> None:
    loop = loop_of(accelerate="compile")
    before = {name: tensor.data_ptr() for name, tensor in loop.encoder.state_dict().items()}
    with loop.accelerator.running():
        assert {name: tensor.data_ptr() for name, tensor in loop.encoder.state_dict().items()} == before
    assert {name: tensor.data_ptr() for name, tensor in loop.encoder.state_dict().items()} == before


# --- memory -----------------------------------------------------------------------------------------------------------


class Recorded:
    """A C library that writes down what it was asked for."""

    def __init__(self, answer: int = 1) -> None:
        self.answer = answer
        self.calls: list[tuple[Any, ...]] = []

    def mallopt(self, *given: int) -> int:
        self.calls.append(given)
        return self.answer

    def malloc_trim(self, pad: int) -> int:
        self.calls.append(("trim", pad))
        return 1


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_free_is_given_back_in_the_end_even_after_an_error(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    libc = Recorded()
    monkeypatch.setattr(acceleration, "_glibc", lambda: libc)

    def run() -> None:
        with kept_memory() as kept:
            assert kept
            assert ("trim", 0) not in libc.calls
            if fails:
                raise ZeroDivisionError

    if fails:
        with pytest.raises(ZeroDivisionError):
            run()
    else:
        run()
    m_mmap_max, m_mmap_threshold, m_top_pad, m_trim_threshold = -4, -3, -2, -1  # malloc.h
    assert libc.calls[0] == (m_mmap_max, 0)
    most = 32 * 2**20  # the threshold that glibc learns at most; it trims at twice that
    learned = {(m_mmap_max, 65536), (m_mmap_threshold, most), (m_trim_threshold, 2 * most), (m_top_pad, 128 * 1024)}
    assert set(libc.calls[-5:-1]) == learned
    assert libc.calls[-1] == ("trim", 0)


def test_an_allocator_that_refuses_is_not_reported_as_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "_glibc", lambda: Recorded(answer=0))
    with kept_memory() as kept:
        assert not kept


def test_without_glibc_nothing_is_done_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "_glibc", lambda: None)
    with kept_memory() as kept:
        assert kept is False
    loop = loop_of()
    with loop.accelerator.setting():
        pass
    assert loop.accelerator.report["memory"] == "as the allocator does by itself"


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_have_no_glibc(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.setattr(acceleration.sys, "platform", platform)
    assert acceleration._glibc() is None


def test_another_c_library_on_linux_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration.sys, "platform", "linux")
    monkeypatch.setattr(acceleration.ctypes, "CDLL", lambda name: object())
    assert acceleration._glibc() is None


@GLIBC
def test_memory_that_a_step_freed_stays_with_the_process_and_leaves_it_in_the_end() -> None:
    """Seen in the process's size: 256 MB are touched and freed, once inside and once after."""
    from benchmark.speed.timing import _resident

    size = 2**28
    with kept_memory() as kept:
        assert kept
        before = _resident()
        torch.ones(size, dtype=torch.uint8)  # made and let go
        assert _resident() - before > size // 2
    assert _resident() - before < size // 4


MALLOC = """
import ctypes
from benchmark.acceleration import kept_memory

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype, libc.malloc.restype = Info, ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]

def mapped(size):
    before = libc.mallinfo2().hblks
    place = libc.malloc(size)
    found = libc.mallinfo2().hblks - before
    libc.free(place)
    return found

{before}
print(mapped(30 * 2**20), mapped(30 * 2**20))
"""


@GLIBC
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="this glibc cannot be asked")
@pytest.mark.parametrize(
    ("before", "mapped"),
    [("pass", ["1", "0"]), ("with kept_memory(): pass", ["0", "0"])],
    ids=["never entered", "entered and left"],
)
def test_afterwards_the_allocator_knows_what_it_would_have_learned(before: str, mapped: list[str]) -> None:
    """By default glibc maps a large block once and from then on keeps blocks of that size; afterwards it keeps them at once."""
    script = MALLOC.format(before=before)
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.split() == mapped


# --- kernels ----------------------------------------------------------------------------------------------------------


def flags() -> tuple[Any, ...]:
    cudnn = torch.backends.cudnn
    return torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark


@pytest.fixture
def other_flags() -> Iterator[tuple[Any, ...]]:
    """None of them as training wants it, and all of them as they were in the end."""
    before = flags()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = False, False
    yield flags()
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[1:]


def test_kernels_are_chosen_freely_inside_and_as_before_outside(other_flags: tuple[Any, ...]) -> None:
    with training_kernels(GPU):
        assert flags() == ("high", True, True)
    assert flags() == other_flags


def test_kernels_are_chosen_as_before_after_an_error(other_flags: tuple[Any, ...]) -> None:
    def fail() -> None:
        with training_kernels(GPU):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert flags() == other_flags


def test_on_a_cpu_no_flag_is_touched(other_flags: tuple[Any, ...]) -> None:
    with training_kernels(CPU):
        assert flags() == other_flags
    assert flags() == other_flags


def test_a_training_leaves_the_flags_as_they_were(other_flags: tuple[Any, ...]) -> None:
    with torch.random.fork_rng(devices=[]):
        loop_of().run()
    assert flags() == other_flags


# --- optimizers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_a_cpu_gets_a_fused_optimizer_with_a_rate_that_is_a_number(kind: Any) -> None:
    recipe = dataclasses.replace(RECIPE, optimizer=kind)
    (group,) = optimizer_for([{"params": [nn.Parameter(torch.zeros(2))]}], recipe, CPU).param_groups
    assert group["fused"] is True
    assert group["lr"] == 0.01
    assert isinstance(group["lr"], float)


# --- a batch in a captured step ---------------------------------------------------------------------------------------


def a_batch() -> Batch:
    raw, labels = small_images(4)
    images = raw.float() / 255
    return Batch(
        images=images, raw=raw, index=torch.arange(4), progress=0.25, generator=torch.Generator(), labels=labels
    )


def test_a_captured_batch_is_the_batch_but_for_its_progress() -> None:
    batch = a_batch()
    found = without_time_limit(batch)
    assert isinstance(found, Batch)
    for name in ("images", "raw", "index", "generator", "labels"):
        assert getattr(found, name) is getattr(batch, name)
    with pytest.raises(CaptureError, match=r"batch\.progress"):
        _ = found.progress
    assert batch.progress == 0.25


def test_a_copy_of_a_captured_batch_does_not_tell_its_progress_either() -> None:
    with pytest.raises(CaptureError, match=r"batch\.progress"):
        dataclasses.replace(without_time_limit(a_batch()), images=torch.zeros(1))


def test_a_captured_batch_refuses_what_every_batch_refuses() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        without_time_limit(a_batch()).images = torch.zeros(1)  # type: ignore[misc]


# --- losses -----------------------------------------------------------------------------------------------------------


def losses(total: float, **parts: float) -> Losses:
    made = {name: torch.tensor(value) for name, value in parts.items()}
    return Losses(total=torch.tensor(total, requires_grad=True), parts=made)


def test_sums_give_the_mean_of_each_part_over_the_steps() -> None:
    sums = LossSums(CPU)
    for total, part in ((1.0, 10.0), (2.0, 20.0), (6.0, 60.0)):
        sums.add(losses(total, prior=part))
    assert sums.means(3, "tried", 0, 3) == {"total": 3.0, "prior": 30.0}


def test_sums_start_anew_with_each_epoch() -> None:
    sums = LossSums(CPU)
    sums.add(losses(100.0))
    sums.reset()
    sums.add(losses(1.0))
    sums.add(losses(2.0))
    assert sums.means(2, "tried", 1, 2) == {"total": 1.5}


def test_many_small_losses_are_not_lost_beside_a_large_one() -> None:
    """In float32, 2^24 + 1 is 2^24."""
    sums = LossSums(CPU)
    for value in (2.0**24, *[1.0] * 8):
        sums.add(losses(value))
    assert sums.means(1, "tried", 0, 9)["total"] == 2**24 + 8


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_the_first_bad_step_is_told_with_its_own_parts(bad: float) -> None:
    sums = LossSums(CPU)
    sums.add(losses(1.0, prior=0.5))
    sums.add(losses(bad, prior=0.25))
    sums.add(losses(float("nan"), prior=0.125))
    sums.add(losses(1.0, prior=4.0))
    with pytest.raises(TrainingError, match=rf"in step 12 \(epoch 3\): total {bad:g}, prior 0\.25\. ") as caught:
        sums.means(4, "tried", 2, 5)
    assert "tried: " in str(caught.value)
    assert "--set lr=" in str(caught.value)


def test_a_part_that_is_not_finite_is_no_bad_step_while_the_total_is() -> None:
    sums = LossSums(CPU)
    sums.add(losses(1.0, prior=float("inf")))
    assert sums.means(1, "tried", 0, 1) == {"total": 1.0, "prior": float("inf")}


def test_a_bad_step_is_forgotten_in_the_next_epoch() -> None:
    sums = LossSums(CPU)
    sums.add(losses(float("nan")))
    sums.reset()
    sums.add(losses(2.0))
    assert sums.means(1, "tried", 1, 1) == {"total": 2.0}


def test_the_tensors_of_the_sums_stay_where_they_are() -> None:
    """A captured step writes to these addresses for ever."""
    sums = LossSums(CPU)

    def places() -> list[int]:
        held = [*sums._sums.values(), *sums._bad.values(), sums._step, sums._bad_step]
        return [tensor.data_ptr() for tensor in held]

    sums.add(losses(1.0, prior=1.0))
    before = places()
    assert len(before) == len(set(before)) == 6
    for value in (2.0, float("nan"), 3.0):
        sums.add(losses(value, prior=value))
    sums.reset()
    sums.add(losses(1.0, prior=1.0))
    assert places() == before


def test_no_graph_hangs_on_the_sums() -> None:
    sums = LossSums(CPU)
    sums.add(losses(1.0))
    assert not any(tensor.requires_grad for tensor in (*sums._sums.values(), *sums._bad.values()))


def test_a_loss_of_one_element_is_a_scalar_as_the_loop_says() -> None:
    class Wide(Plain):
        def loss(self, batch: Batch) -> Losses:
            return Losses(total=super().loss(batch).total[None])

    with torch.random.fork_rng(devices=[]):
        assert loop_of(Wide).run().images_seen == COUNT


# --- the two halves of a loss -----------------------------------------------------------------------------------------

HALVES: dict[str, tuple[str, dict[str, Any]]] = {
    "aet": ("aet", {}),
    "aet affine": ("aet", {"transform": "affine"}),
    "aet similarity": ("aet", {"transform": "similarity"}),
    "aet joint": ("aet", {"statistics": "joint"}),
    "aet image": ("aet", {"loss": "image", "fill": "black"}),
    "rotation": ("rotation", {}),
    "rotation 2": ("rotation", {"turns": 2}),
    "rotation 8": ("rotation", {"turns": 8}),
}


def shipped_loop(method: str, params: dict[str, Any]) -> Loop:
    catalog = load_catalog()
    spec = catalog.find(catalog.methods, "method", method).spec
    images, labels = small_images(COUNT)
    bound = spec.params(**params)
    task = TrainingTask(spec=spec, params=bound, recipe=RECIPE, seed=0, title=method)
    kept = labels if spec.labels == "all" else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Loop(task, TrainingData(images=images, labels=kept, num_classes=CLASSES), encoder_of(), silent)


@pytest.mark.parametrize("name", HALVES)
def test_a_loss_is_the_loss_of_its_views(name: str) -> None:
    loop = shipped_loop(*HALVES[name])
    batch = loop.prepared(loop.data.images[:8], torch.arange(8), 0.0)
    drawn = loop.draws.get_state()

    def made(of: Any) -> tuple[Losses, list[Tensor]]:
        loop.draws.set_state(drawn)
        loop.method.zero_grad()
        found = of()
        found.total.backward()
        return found, [p.grad.clone() for p in loop.method.parameters() if p.grad is not None]

    whole, slopes = made(lambda: loop.hooks.loss(batch))
    after = loop.draws.get_state()
    halves, other_slopes = made(lambda: loop.hooks.loss_of(batch, loop.hooks.views(batch)))
    assert torch.equal(loop.draws.get_state(), after)
    assert torch.equal(whole.total, halves.total)
    assert {key: float(value) for key, value in whole.parts.items()} == {
        key: float(value) for key, value in halves.parts.items()
    }
    assert len(slopes) == len(other_slopes) > 0
    assert all(torch.equal(one, other) for one, other in zip(slopes, other_slopes, strict=True))


def test_every_shipped_method_with_views_is_compared_above() -> None:
    catalog = load_catalog()
    trained = [entry.spec.name for entry in catalog.methods if entry.spec.trains]
    assert {"aet", "rotation", "dim", "supervised"} <= set(trained)
    for name in trained:
        loop = shipped_loop(name, {})
        assert loop.has("views") == loop.has("loss_of")
        assert loop.has("views") == (name in {method for method, _ in HALVES.values()})


@pytest.mark.parametrize("name", HALVES)
def test_views_draw_all_that_the_loss_of_them_draws(name: str) -> None:
    """So that `bench speed` may make them once and train on them again and again."""
    loop = shipped_loop(*HALVES[name])
    batch = loop.prepared(loop.data.images[:8], torch.arange(8), 0.0)
    views = loop.hooks.views(batch)
    drawn = loop.draws.get_state()
    first, second = (float(loop.hooks.loss_of(batch, views).total.detach()) for _ in range(2))
    assert torch.equal(loop.draws.get_state(), drawn)
    assert first == second
