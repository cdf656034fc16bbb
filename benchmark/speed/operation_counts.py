"""Count the floating point operations and the memory traffic of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

WITHOUT_TRAFFIC = (
    torch.ops.aten._unsafe_view,
    torch.ops.aten.empty,
    torch.ops.aten.empty_like,
    torch.ops.aten.empty_strided,
)
"""Operations that return a tensor without reading or writing memory."""
OVERWRITES_FIRST = (torch.ops.aten.copy_, torch.ops.aten.fill_, torch.ops.aten.zero_)
"""Operations that write their first argument without reading it."""


@dataclass(frozen=True, kw_only=True)
class OperationCounts:
    """The work of one call."""

    flops: int
    """Multiplications and additions of matrix products and convolutions, by torch's formulas."""
    bytes: int
    """Bytes read and written if every operation reads its inputs and writes its outputs once: no fusion, no caches."""


def count_operations(call: Callable[[], object]) -> OperationCounts:
    """Runs a call once and counts its floating point operations and its memory traffic."""
    with _Counter() as counter:
        call()
    return OperationCounts(flops=counter.flops, bytes=counter.bytes)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Sums FLOPs, and the sizes of the inputs and outputs of all operations that access memory.

    torch's FlopCounterMode cannot be used: it follows modules with hooks, which fail for a loss that calls autograd.grad,
    such as a gradient penalty.
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
        if not func.is_view and func.overloadpacket not in WITHOUT_TRAFFIC:
            self.bytes += _bytes_read(func, args, kwargs) + _bytes_written(func, args, kwargs, result)
        return result


def _bytes_read(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Size of all inputs, except those that are only written: the target of a copy, and `out`."""
    inputs = args[1:] if func.overloadpacket in OVERWRITES_FIRST else args
    return _size((inputs, {name: value for name, value in kwargs.items() if name != "out"}))


def _bytes_written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> int:
    """Size of all returned tensors; if none is returned, of the arguments that the operation changes."""
    if any(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(result)):
        return _size(result)
    declared = {argument.name: argument for argument in func._schema.arguments}
    values = {**dict(zip(declared, args, strict=False)), **kwargs}
    return _size([value for name, value in values.items() if _is_changed(declared[name])])


def _is_changed(argument: Any) -> bool:
    """Whether an operation writes to this argument.

    Fused optimizers declare that they write gradients, but do so only to undo a gradient scale, which is not used here.
    """
    return argument.alias_info is not None and argument.alias_info.is_write and argument.name != "grads"


def _size(values: Any) -> int:
    """Bytes of all tensors in nested containers. An expanded tensor counts with its storage."""
    tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]
    return sum(min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()) for tensor in tensors)
