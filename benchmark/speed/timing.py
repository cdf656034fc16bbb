"""How fast, how much: seconds side by side, the device's ceilings, FLOPs, bytes, peak memory, start-up time.

Nothing here knows a method or an encoder. Seconds are medians over rounds in which everything that is compared takes its
turn, so that what slows the machine for a while slows all of it.
"""

from __future__ import annotations

import contextlib
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmark.execution.devices import cores


@dataclass(frozen=True, kw_only=True)
class TimedCall:
    """Something that is timed against others."""

    call: Callable[[], object]
    setting: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext
    """Entered before its turn and left after it; one call inside is not timed."""


def interleaved(
    contestants: Mapping[str, TimedCall], device: torch.device, rounds: int, least_seconds: float
) -> dict[str, list[float]]:
    """Seconds of one call, for each contestant one number a round.

    Args:
        contestants: each has its turn in every round, in order.
        device: waited for at both ends.
        rounds: 1 or more.
        least_seconds: a turn lasts at least so long and at least two calls.
    """
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            with contestant.setting():
                contestant.call()
                wait_for(device)
                start = time.perf_counter()
                calls = 0
                while calls < 2 or time.perf_counter() - start < least_seconds:
                    contestant.call()
                    calls += 1
                wait_for(device)
                found[name].append((time.perf_counter() - start) / calls)
    return found


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """How many times as fast: the median over rounds of the ratio within a round."""
    return statistics.median(one / other for one, other in zip(slow, fast, strict=True))


def wait_for(device: torch.device) -> None:
    """Until all that was asked of a GPU is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# --- ceilings ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DeviceLimits:
    """What the device can do at best, as measured here."""

    flops: float
    """Floating point operations a second in a large matrix product of the precision that training uses."""
    bytes: float
    """Bytes a second read and written in a copy on the device."""


def device_limits(device: torch.device, precision: torch.dtype, rounds: int) -> DeviceLimits:
    """The best of `rounds` of a matrix product and of a copy: a ceiling is what was reached once."""
    side = 8192 if device.type == "cuda" else 2048
    one = torch.randn(side, side, device=device, dtype=precision)
    other = torch.randn(side, side, device=device, dtype=precision)
    product = torch.empty_like(one)
    source = torch.ones((2**30 if device.type == "cuda" else 2**27) // 4, device=device)
    target = torch.empty_like(source)
    found = interleaved(
        {
            "product": TimedCall(call=lambda: torch.mm(one, other, out=product)),
            "copy": TimedCall(call=lambda: target.copy_(source)),
        },
        device,
        rounds,
        0.2,
    )
    return DeviceLimits(flops=2 * side**3 / min(found["product"]), bytes=2 * source.nbytes / min(found["copy"]))


# --- work -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one call does."""

    flops: int
    """Multiplications and additions of matrix products and convolutions, counted by torch."""
    bytes: int
    """Read and written if every operation reads its inputs and writes its outputs once: unfused traffic, caches unseen."""


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Adds up FLOPs by torch's formulas, and the sizes of the inputs and outputs of all operations that touch memory.

    torch's own FlopCounterMode follows modules with hooks, which a loss that calls autograd.grad (a gradient penalty)
    does not survive; its formulas are used without them.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.flops = 0
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops += int(formula(*args, **kwargs, out_val=result))
        if not func.is_view and func.overloadpacket not in UNTOUCHED:
            self.bytes += _read(func, args, kwargs) + _written(func, args, kwargs, result)
        return result


UNTOUCHED = (torch.ops.aten._unsafe_view, torch.ops.aten.empty, torch.ops.aten.empty_like, torch.ops.aten.empty_strided)
"""Operations that give a tensor without reading or writing one."""


def _read(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Bytes of all inputs, but for what is only written: the target of a copy, outputs that are handed in."""
    inputs = (
        args[1:] if func.overloadpacket in (torch.ops.aten.copy_, torch.ops.aten.fill_, torch.ops.aten.zero_) else args
    )
    return _size((inputs, {name: value for name, value in kwargs.items() if name != "out"}))


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> int:
    """Bytes of all outputs: what is given, or, where nothing is given, the arguments that the operation changes."""
    if any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(result)):
        return _size(result)
    declared = {each.name: each for each in func._schema.arguments}
    given = {**dict(zip(declared, args, strict=False)), **kwargs}
    return _size([value for name, value in given.items() if _is_changed(declared[name])])


def _is_changed(argument: Any) -> bool:
    """Whether an operation writes into it; fused optimizers write gradients only to undo a scale, and there is none."""
    return argument.alias_info is not None and argument.alias_info.is_write and argument.name != "grads"


def _size(values: Any) -> int:
    """Bytes of all tensors in it; what is expanded lies in memory once."""
    tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]
    return sum(min(each.numel() * each.element_size(), each.untyped_storage().nbytes()) for each in tensors)


def work(call: Callable[[], object]) -> Work:
    """Of one call."""
    with _Counter() as counter:
        call()
    return Work(flops=counter.flops, bytes=counter.bytes)


PROFILED = 6
"""Operations that a profile names."""


def profile(call: Callable[[], object], device: torch.device) -> list[tuple[str, float]]:
    """The operations that one call spends most time in, each with its part of the time: the GPU's if there is one."""
    on_gpu = device.type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CPU]
    if on_gpu:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        call()
        wait_for(device)
    spent = {
        event.key: float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)
        for event in profiler.key_averages()
    }
    whole = sum(spent.values()) or 1.0
    most = sorted(spent.items(), key=lambda item: -item[1])[:PROFILED]
    return [(name, seconds / whole) for name, seconds in most]


# --- memory -----------------------------------------------------------------------------------------------------------


@dataclass
class Peak:
    """Filled in when `peak_memory` ends."""

    bytes: int = 0
    """Above what was held before: of the GPU's allocator, or resident in the host's memory."""


@contextlib.contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """The most memory that was held within it, above what was held before. The host is looked at every 5 ms."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device) - before
        return
    before, stop = _resident(), threading.Event()
    most = [before]

    def watch() -> None:
        while not stop.wait(0.005):
            most[0] = max(most[0], _resident())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()
        peak.bytes = max(most[0], _resident()) - before


def _resident() -> int:
    """Bytes of this process in the host's memory; 0 where that cannot be asked."""
    with contextlib.suppress(OSError, ValueError):
        import resource

        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    return 0


def cpu_name() -> str:
    """The processor's name and the number of cores that may be used."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {cores()} cores"
    return f"{platform.machine()}, {cores()} cores"


# --- start-up ---------------------------------------------------------------------------------------------------------


def help_seconds(rounds: int) -> list[float]:
    """Of `bench --help` in a process of its own."""
    found = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "benchmark", "--help"], check=True, capture_output=True)
        found.append(time.perf_counter() - start)
    return found[1:]  # the first may read from the disk


@dataclass
class Clock:
    """When each cell's process said that it had begun, and when the one before had ended."""

    ended: float = field(default_factory=time.perf_counter)
    seconds: list[float] = field(default_factory=list)

    def begun(self) -> None:
        """A process is up."""
        self.seconds.append(time.perf_counter() - self.ended)

    def over(self) -> None:
        """A cell's outcome is here."""
        self.ended = time.perf_counter()
