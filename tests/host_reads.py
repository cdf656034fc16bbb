"""Operations for whose result the host waits, and the size of tensors: what a GPU would wait for, seen on a CPU."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

READS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique")
"""Operations whose result the host waits for. `.item()`, `float()`, `bool()`, `if` and masks use them."""


class Watcher(TorchDispatchMode):
    """Lists the operations that would make the host wait for a GPU, and records the size of the largest new tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reads: list[str] = []
        self.calls, self.largest = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        if func._schema.name.partition("::")[2] in READS:
            self.reads.append(str(func))
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not func.is_view:
            self.largest = max(self.largest, result.numel())
        return result
