"""Acceleration: what it reports, and that a network that cannot be compiled trains like an uncompiled one."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any, cast

import pytest
import torch
import torch._dynamo
from plain_training import CASES, Case, assert_equal_bits
from small_trainings import MeanColor, data_of, small_encoder, step_of, task_of
from torch import Tensor, nn

import benchmark
from benchmark.evaluation.features import state_checksum
from benchmark.progress import Event, silent
from benchmark.training.acceleration import COMPILED_STEPS, Accelerator, compilation_pays
from benchmark.training.loop import train
from benchmark.training.process_settings import glibc
from benchmark.training.task import TrainingLength

CPU = torch.device("cpu")
GPU = torch.device("cuda", 0)
"""A name only: nothing is computed there."""


def is_compiled(network: nn.Module) -> bool:
    """Whether calls of the network go to what `Module.compile` made."""
    return network._compiled_call_impl is not None


# --- reports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("accelerate", "compile_report"), [("auto", "not on a GPU"), ("off", "switched off")])
def test_report_of_a_cpu_has_neither_graph_nor_compilation(accelerate: Any, compile_report: str) -> None:
    kept = accelerate == "auto" and glibc() is not None
    trained = train(task_of(accelerate=accelerate), data_of(), small_encoder(), silent)
    assert trained.acceleration == {
        "graph": "not on a GPU",
        "compile": compile_report,
        "memory": "kept between steps" if kept else "default of the allocator",
    }


def long_training(steps: int) -> TrainingLength:
    return TrainingLength(batch=4, steps_per_epoch=steps, total_steps=steps, num_images=4 * steps)


@dataclasses.dataclass
class StepOnGpu:
    """A training step as its accelerator sees it, on a GPU that need not exist."""

    accelerate: Any = "auto"
    length: TrainingLength = dataclasses.field(default_factory=lambda: long_training(10))
    device: torch.device = GPU
    reason: str | None = None
    network: nn.Module = dataclasses.field(default_factory=lambda: nn.Linear(1, 1))

    def why_not_capturable(self) -> str | None:
        return self.reason


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (StepOnGpu(), "not captured yet: training was too short"),
        (StepOnGpu(accelerate="off"), "switched off"),
        (StepOnGpu(accelerate="compile"), "not captured yet: training was too short"),
        (StepOnGpu(reason="the method defines its own step"), "the method defines its own step"),
        (StepOnGpu(device=CPU), "not on a GPU"),
    ],
)
def test_report_says_why_no_graph_was_captured(step: StepOnGpu, reason: str) -> None:
    assert Accelerator(cast(Any, step)).report == {"graph": reason}


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (StepOnGpu(), f"fewer than {COMPILED_STEPS} steps"),
        (StepOnGpu(accelerate="off", length=long_training(10**6)), "switched off"),
        (StepOnGpu(device=CPU, length=long_training(10**6)), "not on a GPU"),
    ],
)
def test_report_says_why_nothing_was_compiled(step: StepOnGpu, reason: str) -> None:
    accelerator = Accelerator(cast(Any, step))
    with accelerator.running():
        assert accelerator.report["compile"] == reason
        assert not is_compiled(step.network)


def test_compilation_pays_on_a_gpu_from_a_number_of_steps() -> None:
    assert [compilation_pays(GPU, COMPILED_STEPS + more) for more in (-1, 0, 1)] == [False, True, True]
    assert not compilation_pays(CPU, 10**9)


# --- compilation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_network_is_compiled_while_it_trains_and_plain_afterwards(fails: bool) -> None:
    step = step_of(accelerate="compile")
    accelerator = Accelerator(step)
    weights = {name: tensor.data_ptr() for name, tensor in step.encoder.state_dict().items()}

    with pytest.raises(ZeroDivisionError) if fails else contextlib.nullcontext(), accelerator.running():
        assert accelerator.report["compile"] == "compiled"
        assert is_compiled(step.network)
        assert {name: tensor.data_ptr() for name, tensor in step.encoder.state_dict().items()} == weights
        if fails:
            raise ZeroDivisionError
    assert not is_compiled(step.network)
    assert {name: tensor.data_ptr() for name, tensor in step.encoder.state_dict().items()} == weights


def break_compilation(network: nn.Module, error: Exception, *, after: int = 0, backward: bool = False) -> list[int]:
    """The compiled network raises an error, after some calls that work or in its backward. Returns the calls."""
    calls: list[int] = []
    plain = network.forward

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, value: Tensor) -> Tensor:
            return value.clone()

        @staticmethod
        def backward(context: Any, *gradients: Any) -> Any:
            raise error

    def compiled(*arguments: Any, **named: Any) -> Any:
        calls.append(len(calls))
        if backward:
            return {name: Broken.apply(tensor) for name, tensor in plain(*arguments, **named).items()}
        if len(calls) > after:
            raise error
        return plain(*arguments, **named)

    def compile_network(**options: Any) -> None:
        network._compiled_call_impl = compiled  # as Module.compile does

    network.compile = compile_network  # type: ignore[method-assign,assignment]
    return calls


class NotTraceableError(torch._dynamo.exc.TorchDynamoException):
    """As torch reports a network that it cannot compile."""


FAILURES: dict[str, dict[str, Any]] = {
    "dynamo": {"error": NotTraceableError("this cannot be traced")},
    "no compiler": {"error": RuntimeError("no g++")},
    "no disk": {"error": OSError(28, "No space left on device")},
    "in the second branch": {"error": RuntimeError("no g++"), "after": 1},
    "in the backward": {"error": RuntimeError("no g++"), "backward": True},
}


@pytest.mark.parametrize("failure", FAILURES)
def test_network_that_cannot_be_compiled_trains_to_the_bits_of_the_plain_one(failure: str) -> None:
    case, error = CASES["aet projective"], str(FAILURES[failure]["error"])
    plain = case.harness("off")
    encoder, events = case.fresh_encoder(), cast(list[Event], [])
    calls = break_compilation(encoder.network, **FAILURES[failure])
    accelerated = case.harness("compile", encoder=encoder, reporter=events.append)
    assert calls
    assert_equal_bits(accelerated, plain)
    assert accelerated.trained.curve == plain.trained.curve
    assert not is_compiled(encoder.network)
    assert accelerated.trained.acceleration["compile"].startswith("not compiled: ")
    assert error in accelerated.trained.acceleration["compile"]
    (note,) = [event.text for event in events if event.kind == "note"]
    assert "could not compile the network; training continues without compilation" in note
    assert error in note


def test_torch_that_refuses_to_compile_trains_to_the_bits_of_the_plain_network() -> None:
    """torch.compile raises at once on a Python version that it does not support yet."""
    case = CASES["rotation"]
    encoder = case.fresh_encoder()

    def refuse(**options: Any) -> None:
        raise RuntimeError("torch.compile is not supported on Python 3.99")

    encoder.network.compile = refuse  # type: ignore[method-assign,assignment]
    assert_equal_bits(case.harness("compile", encoder=encoder), case.harness("off"))


class TwoUpdates(MeanColor):
    """A method whose step updates its head before it calls the encoder."""

    def step(self, batch: benchmark.Batch, optimizer: torch.optim.Optimizer) -> benchmark.Losses:
        optimizer.zero_grad()
        self.head.weight.square().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        losses = self.loss(batch)
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return losses


def test_step_that_fails_to_compile_half_way_is_undone() -> None:
    checksums = []
    for accelerate in ("off", "compile"):
        encoder = small_encoder()
        break_compilation(encoder.network, RuntimeError("no g++"))
        checksums.append(
            state_checksum(train(task_of(TwoUpdates, accelerate=accelerate), data_of(), encoder, silent).encoder)
        )
    assert checksums[0] == checksums[1]


@pytest.mark.parametrize("name", CASES)
def test_kept_memory_trains_to_the_same_bits(name: str) -> None:
    case: Case = CASES[name]
    kept, plain = case.harness("auto"), case.harness("off")
    assert_equal_bits(kept, plain)
    assert plain.trained.acceleration["memory"] == "default of the allocator"
