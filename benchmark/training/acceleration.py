"""What makes a training step faster and leaves its meaning alone: memory that is kept, TF32, compilation, captured graphs.

Each falls back to the plain step with a reason. What was used stands in the record; none of it is part of a cell's
identity.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmark.api.cells import Accelerate
from benchmark.api.methods import Batch

COMPILED_STEPS = 20_000
"""Steps from which compiling is taken to pay on a GPU: it costs about a minute."""
WARM_UP_STEPS = 11
"""Ordinary steps before a step is captured: libraries choose their kernels and optimizers make their state in them."""

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
"""Options of glibc's mallopt(3)."""
_LEARNED = 32 * 2**20
"""Bytes up to which glibc learns to keep blocks in a process that frees large ones (DEFAULT_MMAP_THRESHOLD_MAX)."""


# --- memory of the host -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def kept_memory() -> Iterator[bool]:
    """Within it, memory that a step gives back is kept for the next one and not returned to the system.

    glibc maps every large tensor anew and gives it back when it is freed; each of its pages is then cleared by the
    kernel, step by step. On two cores a step of AET on blocknet (32 x 32, batch 64) is 1.1 times as fast without that.
    Afterwards what is free is returned, and glibc does as it does in a process that has trained for a while: any
    mallopt stops it from learning which sizes to keep, so that it is told the most that it would have learned.

    Yields:
        Whether it could be done: the C library is glibc.
    """
    libc = _glibc()
    if libc is None:
        yield False
        return
    done = bool(
        libc.mallopt(_MMAP_MAX, 0) and libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1) and libc.mallopt(_TOP_PAD, 2**26)
    )
    try:
        yield done
    finally:
        libc.mallopt(_MMAP_MAX, 65536)
        libc.mallopt(_MMAP_THRESHOLD, _LEARNED)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _LEARNED)
        libc.mallopt(_TOP_PAD, 128 * 1024)
        libc.malloc_trim(0)


def _glibc() -> Any:
    """The C library where it is glibc, None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  # only glibc has it
        return libc
    return None


# --- precision and kernels on a GPU -----------------------------------------------------------------------------------


@contextlib.contextmanager
def training_kernels(device: torch.device) -> Iterator[None]:
    """Within it, a GPU may use TF32 in what is left in float32, and tries convolution kernels against each other.

    Shapes do not change while training, so that the trial is made once. What evaluators compute from features is outside.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[1:]


# --- compilation ------------------------------------------------------------------------------------------------------


def compilation_pays(device: torch.device, steps: int) -> bool:
    """Whether compiling is worth its time, by the number of steps alone, so that the same command computes the same."""
    return device.type == "cuda" and steps >= COMPILED_STEPS


COMPILE_ERRORS = (torch._dynamo.exc.TorchDynamoException, RuntimeError, OSError)
"""What is raised where there is no compiler, or one that fails; at once, or when the network is first called."""


def uncompile(network: nn.Module) -> None:
    """The network's plain forward again."""
    network._compiled_call_impl = None


# --- captured steps ---------------------------------------------------------------------------------------------------


class CaptureError(Exception):
    """Why a step cannot be captured, in words."""


class CapturedStep:
    """One training step recorded as a CUDA graph: replayed with one launch instead of hundreds.

    Args:
        step: does everything of a step on the device, from `inputs` to the optimizer; reads and writes tensors that stay
            where they are, and draws from `generator` and from the device's default generator only.
        inputs: tensors on the device that `step` reads and that each replay fills anew.
        generator: on the device; registered, so that a replay draws what the plain step would have drawn.

    Raises:
        CaptureError: the step does something that cannot be recorded: waits for the device, say.
    """

    def __init__(self, step: Callable[[], None], inputs: Sequence[Tensor], generator: torch.Generator) -> None:
        self._inputs = tuple(inputs)
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(generator)
        torch.cuda.synchronize()
        try:
            with torch.cuda.graph(self._graph):
                step()
        except Exception as error:  # whatever CUDA or a plugin makes of being recorded
            raise CaptureError(_in_words(error)) from error

    def replay(self, *inputs: Tensor) -> None:
        """Does the step for other inputs of the same shapes; nothing is waited for."""
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given, non_blocking=True)
        self._graph.replay()


class _Timeless(Batch):
    """A batch whose progress may not be read: a captured step would see one value for ever."""

    def __getattribute__(self, name: str) -> Any:
        if name == "progress":
            raise CaptureError("its loss reads batch.progress, which a captured step would see only once")
        return super().__getattribute__(name)


def without_time_limit(batch: Batch) -> Batch:
    """The batch as a captured step sees it: reading `progress` raises CaptureError."""
    return _Timeless(**{each.name: getattr(batch, each.name) for each in fields(Batch)})


# --- together ---------------------------------------------------------------------------------------------------------


class TrainableStep(Protocol):
    """What is accelerated: see `benchmark.train`."""

    device: torch.device
    batch: int
    total_steps: int
    draws: torch.Generator

    @property
    def network(self) -> nn.Module:
        """What is compiled."""
        ...

    @property
    def method(self) -> nn.Module:
        """All that a step changes, but for the optimizer."""
        ...

    @property
    def accelerate(self) -> Accelerate:
        """What the user asked for."""
        ...

    def cannot_capture(self) -> str | None:
        """Why its step may not be captured, as far as its declarations say."""
        ...

    def plain_step(self, optimizer: Optimizer, batch: Batch) -> None:
        """Forward, backward, the optimizer's step, and the losses added up."""
        ...

    def prepared(self, raw: Tensor, index: Tensor, progress: float) -> Batch:
        """The batch as the method sees it."""
        ...

    def note(self, text: str) -> None:
        """Tells the user."""
        ...


class Accelerator:
    """Does a loop's steps as fast as its device and its method allow, and keeps the reasons where they do not.

    Args:
        loop: whose steps.
    """

    def __init__(self, loop: TrainableStep) -> None:
        self.loop = loop
        self.report: dict[str, str] = {}
        """`memory`, `compile`, `graph` -> what was done, or why not."""
        self._compiling = False
        self._captured: CapturedStep | None = None
        self._plain_steps = 0
        reason = self._no_graph()
        self._may_capture = reason is None
        self.report["graph"] = reason or "not yet: training was too short"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Around all steps of a training: what is compiled and captured in it is let go at its end."""
        loop = self.loop
        wanted = loop.accelerate == "compile" or (
            loop.accelerate == "auto" and compilation_pays(loop.device, loop.total_steps)
        )
        self.report["compile"] = "compiled" if wanted else _why_not_compiled(loop)
        self._compiling = wanted
        try:
            if wanted:
                # Parameters and their names stay as they are; nothing is compiled before the first call.
                loop.network.compile(dynamic=False)
        except COMPILE_ERRORS as error:
            self._do_without_compiling(error)
        try:
            yield
        finally:
            uncompile(loop.network)
            self._captured = None  # its memory is given back

    @contextlib.contextmanager
    def setting(self) -> Iterator[None]:
        """Around steps: how the process allocates and which kernels a GPU may choose. Cheap to enter and to leave."""
        loop = self.loop
        keep = (
            kept_memory() if loop.accelerate != "off" and loop.device.type == "cpu" else contextlib.nullcontext(False)
        )
        with training_kernels(loop.device), keep as kept:
            self.report["memory"] = "kept between steps" if kept else "as the allocator does by itself"
            yield

    def step(self, optimizer: Optimizer, raw: Tensor, index: Tensor, progress: float) -> None:
        """One step, captured if that can be."""
        whole = len(index) == self.loop.batch
        if self._may_capture and self._captured is None and whole and self._plain_steps >= WARM_UP_STEPS:
            self._capture(optimizer, raw, index)
        if self._captured is not None and whole:
            self._captured.replay(raw, index)
            return
        self._plain_steps += whole
        warming = side_stream(self.loop.device) if self._may_capture else contextlib.nullcontext()
        with warming:
            if self._compiling:
                self._first_compiled(optimizer, raw, index, progress)
            else:
                self._plain(optimizer, raw, index, progress)

    def _plain(self, optimizer: Optimizer, raw: Tensor, index: Tensor, progress: float) -> None:
        self.loop.plain_step(optimizer, self.loop.prepared(raw, index, progress))

    def _first_compiled(self, optimizer: Optimizer, raw: Tensor, index: Tensor, progress: float) -> None:
        """The step in which compilation happens; where that fails, the plain step from the same state."""
        loop = self.loop
        before = {name: tensor.clone() for name, tensor in loop.method.state_dict().items()}
        moments = copy.deepcopy(optimizer.state_dict())
        drawn, host = loop.draws.get_state(), torch.get_rng_state()
        on_gpu = loop.device.type == "cuda"
        device_state = torch.cuda.get_rng_state(loop.device) if on_gpu else None
        self._compiling = False
        try:
            self._plain(optimizer, raw, index, progress)
        except COMPILE_ERRORS as error:
            self._do_without_compiling(error)
            loop.method.load_state_dict(before)
            optimizer.load_state_dict(moments)
            loop.draws.set_state(drawn)
            torch.set_rng_state(host)
            if device_state is not None:
                torch.cuda.set_rng_state(device_state, loop.device)
            self._plain(optimizer, raw, index, progress)

    def _do_without_compiling(self, error: BaseException) -> None:
        self._compiling = False
        uncompile(self.loop.network)
        self.report["compile"] = f"not compiled: {_in_words(error)}"
        self.loop.note(f"the network could not be compiled, training goes on without ({_in_words(error)})")

    def _capture(self, optimizer: Optimizer, raw: Tensor, index: Tensor) -> None:
        loop = self.loop
        inputs = raw.clone(), index.clone()
        drawn, device_state = loop.draws.get_state(), torch.cuda.get_rng_state(loop.device)

        def step() -> None:
            loop.plain_step(optimizer, without_time_limit(loop.prepared(*inputs, 0.0)))

        self._may_capture = False
        try:
            self._captured = CapturedStep(step, inputs, loop.draws)
            self.report["graph"] = "captured"
        except CaptureError as error:
            # The registered generator counts for the broken graph: a fresh one goes on where it stood.
            loop.draws = torch.Generator(loop.device)
            loop.draws.set_state(drawn)
            torch.cuda.set_rng_state(device_state, loop.device)
            self.report["graph"] = f"not captured: {error}"
            loop.note(f"the training step could not be captured, training goes on without ({error})")

    def _no_graph(self) -> str | None:
        if self.loop.device.type != "cuda":
            return "not on a GPU"
        if self.loop.accelerate == "off":
            return "switched off"
        return self.loop.cannot_capture()


def _why_not_compiled(loop: TrainableStep) -> str:
    if loop.accelerate == "off":
        return "switched off"
    if loop.device.type != "cuda":
        return "not on a GPU"
    return f"fewer than {COMPILED_STEPS} steps"


def _in_words(error: BaseException) -> str:
    return (
        str(error)
        if isinstance(error, CaptureError)
        else f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    )


@contextlib.contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """Within it, work goes to a stream of its own, as steps before a capture must; it is joined at both ends."""
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(device).wait_stream(stream)
