"""Run training steps as fast as the device and the method allow: compilation and captured steps.

Each falls back to the plain step, with a reason. What was used is recorded and is no part of a cell's identity.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmark.training.captured_step import CapturedStep, CaptureError, one_line, side_stream, without_progress
from benchmark.training.generators import generator_states, set_generator_states
from benchmark.training.process_settings import keep_freed_memory, training_kernels
from benchmark.training.step import TrainingStep

COMPILED_STEPS = 20_000
"""Smallest number of training steps for which a network is compiled on a GPU. Compilation takes about a minute."""
WARM_UP_STEPS = 11
"""Plain steps before a capture. In them, libraries choose kernels and optimizers allocate their state."""


def compilation_pays(device: torch.device, steps: int) -> bool:
    """Whether to compile: on a GPU, from `COMPILED_STEPS` on. Nothing is timed, so the same command computes the same."""
    return device.type == "cuda" and steps >= COMPILED_STEPS


def uncompile(network: nn.Module) -> None:
    """Restores the plain forward of a compiled network."""
    network._compiled_call_impl = None


class Accelerator:
    """Runs training steps, and reports what made them faster or why nothing did.

    Args:
        step: the step.
    """

    def __init__(self, step: TrainingStep) -> None:
        self._step = step
        self.report: dict[str, str] = {}
        """`memory`, `compile`, `graph` -> what was done, or why not."""
        self._compiling = False
        self._captured: CapturedStep | None = None
        self._plain_steps = 0
        reason = self._why_not_captured()
        self._may_capture = reason is None
        self.report["graph"] = reason or "not captured yet: training was too short"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Around all steps of a training. The compiled network and the captured step are released at its end."""
        step = self._step
        self._compiling = step.accelerate == "compile" or (
            step.accelerate == "auto" and compilation_pays(step.device, step.length.total_steps)
        )
        self.report["compile"] = "compiled" if self._compiling else self._why_not_compiled()
        try:
            if self._compiling:
                # Parameters and their names stay the same. The compiler runs at the first call.
                step.network.compile(dynamic=False)
        except compile_errors() as error:
            self._give_up_compiling(error)
        try:
            yield
        finally:
            uncompile(step.network)
            self._captured = None  # frees its memory

    @contextlib.contextmanager
    def setting(self) -> Iterator[None]:
        """Around steps: the allocator of the process and the kernels of a GPU. Cheap to enter and to leave."""
        step = self._step
        keeps = step.accelerate != "off" and step.device.type == "cpu"
        memory = keep_freed_memory() if keeps else contextlib.nullcontext(False)
        with training_kernels(step.device), memory as kept:
            self.report["memory"] = "kept between steps" if kept else "default of the allocator"
            yield

    def step(self, optimizer: Optimizer, raw: Tensor, index: Tensor, progress: float) -> None:
        """Runs one step, captured if possible.

        Args:
            optimizer: updates the weights.
            raw: (N, C, H, W) uint8.
            index: (N,) int64, the positions of the images in the training images.
            progress: finished fraction of the training, in [0, 1).
        """
        full = len(index) == self._step.length.batch
        if self._may_capture and self._captured is None and full and self._plain_steps >= WARM_UP_STEPS:
            self._capture(optimizer, raw, index)
        if self._captured is not None and full:
            self._captured.replay(raw, index)
            return
        self._plain_steps += full
        with side_stream(self._step.device) if self._may_capture else contextlib.nullcontext():
            if self._compiling:
                self._first_compiled(optimizer, raw, index, progress)
            else:
                self._plain(optimizer, raw, index, progress)

    def _plain(self, optimizer: Optimizer, raw: Tensor, index: Tensor, progress: float) -> None:
        self._step.run(optimizer, self._step.make_batch(raw, index, progress))

    def _first_compiled(self, optimizer: Optimizer, raw: Tensor, index: Tensor, progress: float) -> None:
        """The step that compiles the network; if that fails, the plain step from the same state."""
        restore = self._restorer(optimizer)
        self._compiling = False
        try:
            self._plain(optimizer, raw, index, progress)
        except compile_errors() as error:
            self._give_up_compiling(error)
            restore()
            self._plain(optimizer, raw, index, progress)

    def _restorer(self, optimizer: Optimizer) -> Callable[[], None]:
        """A function that restores the present weights, optimizer and generators."""
        step = self._step
        weights = {name: tensor.clone() for name, tensor in step.method.state_dict().items()}
        moments = copy.deepcopy(optimizer.state_dict())
        generators = generator_states(step.generator, step.device)

        def restore() -> None:
            step.method.load_state_dict(weights)
            optimizer.load_state_dict(moments)
            set_generator_states(generators, step.generator, step.device)

        return restore

    def _give_up_compiling(self, error: BaseException) -> None:
        self._compiling = False
        uncompile(self._step.network)
        self.report["compile"] = f"not compiled: {one_line(error)}"
        self._step.note(f"could not compile the network; training continues without compilation ({one_line(error)})")

    def _capture(self, optimizer: Optimizer, raw: Tensor, index: Tensor) -> None:
        step = self._step
        inputs = raw.clone(), index.clone()
        generators = generator_states(step.generator, step.device)

        def captured() -> None:
            step.run(optimizer, without_progress(step.make_batch(*inputs, 0.0)))

        self._may_capture = False
        try:
            self._captured = CapturedStep(captured, inputs, step.generator)
            self.report["graph"] = "captured"
        except CaptureError as error:
            # The generator stays registered with the failed graph. A new one continues from the same state.
            step.generator = torch.Generator(step.device)
            set_generator_states(generators, step.generator, step.device)
            self.report["graph"] = f"not captured: {error}"
            step.note(f"could not capture the training step; training continues without capture ({error})")

    def _why_not_captured(self) -> str | None:
        if self._step.device.type != "cuda":
            return "not on a GPU"
        return "switched off" if self._step.accelerate == "off" else self._step.why_not_capturable()

    def _why_not_compiled(self) -> str:
        if self._step.accelerate == "off":
            return "switched off"
        return "not on a GPU" if self._step.device.type != "cuda" else f"fewer than {COMPILED_STEPS} steps"


def compile_errors() -> tuple[type[Exception], ...]:
    """What torch raises if there is no compiler or it fails, at once or when the network is first called.

    Evaluated only when an error occurs, because importing torch._dynamo takes a second.
    """
    from torch._dynamo.exc import TorchDynamoException

    return TorchDynamoException, RuntimeError, OSError
