"""Evaluators: what a plugin provides, and the frozen features that it scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from benchmark.api.encoders import Layout, NoParams, Pool

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One kind of number that an evaluator gives."""

    name: str
    """Without its setting: `accuracy`, `map`, `recall`. A score may be called `recall@k=10`."""
    higher_is_better: bool = True
    unit: str = "fraction"
    """`fraction` in [0, 1], `nats`, `count`, ..."""
    headline: str | None = None
    """Full name of the score that stands for this evaluator where there is room for one; None: not it."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number with what it is the mean of."""

    metric: str
    """`accuracy` or, with its setting, `accuracy@k=20`; the part before `@` is declared in the spec."""
    value: float
    """Raw, never a percentage."""
    n: int
    """Number of test images (queries) behind it."""
    outcomes: NDArray[Any] | None = None
    """(number of test images,) bool or float32: one value per test image, whose mean is `value`; NaN where an image
    has none. None where the number is no mean over images."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluator found at one tap."""

    measurements: tuple[Measurement, ...]
    predictions: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Named arrays aligned to the test index that do not depend on test labels: predicted classes, neighbor ids."""
    details: Mapping[str, object] = field(default_factory=dict)
    """What was chosen on the way, JSON: the L2 strength, the number of iterations."""


class ProbeSplit(Protocol):
    """Frozen features of one split, computed when first asked for."""

    @property
    def images(self) -> Tensor:
        """(N, C, H, W) uint8 on the device; on the CPU, mapped from a file perhaps, if they are too many for it."""
        ...

    @property
    def labels(self) -> Tensor:
        """(N,) int64 on the device."""
        ...

    def features(self, tap: str | None = None, pool: Pool | None = None) -> Tensor:
        """(N, D) float32 on the device, or (N, *tap.shape) where the pooling is `none`.

        Default: the tap and the pooling that are being scored.
        """
        ...


class Probe(Protocol):
    """What an evaluator is given: frozen features, labels, and the means to encode more views."""

    @property
    def train(self) -> ProbeSplit:
        """The gallery: what heads are fitted on."""
        ...

    @property
    def test(self) -> ProbeSplit:
        """What is scored; its labels choose nothing."""
        ...

    @property
    def tap(self) -> str:
        """The tap that is being scored."""
        ...

    @property
    def pool(self) -> Pool:
        """How it is pooled."""
        ...

    @property
    def layout(self) -> Layout:
        """All taps of the encoder."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """Index = label."""
        ...

    @property
    def device(self) -> torch.device:
        """Where images and features are."""
        ...

    @property
    def generator(self) -> torch.Generator:
        """CPU generator fixed by the dataset and the protocol, not by the cell's seed."""
        ...

    def encode(self, images: Tensor, tap: str | None = None, pool: Pool = "none") -> Tensor:
        """A tap of more images, float32 in [0, 1] (N, C, H, W): frozen, eval mode, no graph.

        In the tap's own shape; with `pool=probe.pool` as `features` gives it: (N, D).
        """
        ...


@dataclass(frozen=True, kw_only=True)
class EvaluatorSpec:
    """An evaluator that a plugin provides. The core adds the parameter `pool` to those that have a choice."""

    name: str
    summary: str
    evaluate: Callable[[Probe, Any], Evaluation]
    """(probe, params) -> evaluation. Test labels may score, never choose. Raises UnsupportedError where the evaluator
    makes no sense (one class only): the score is left out, with that reason, and the cell goes on."""
    metrics: tuple[Metric, ...]
    version: int = 1
    """Of the protocol (`knn@1`): raised whenever a default or the computation changes."""
    params: type = NoParams
    paper: str = ""
    bibtex: str = ""
    """BibTeX entries of `paper`, separated by blank lines. Entries with the same key must be the same."""
    pools: tuple[Pool, ...] = ("average", "flat")
    """What `pool` may be; the first is the default. `("none",)`: features are taken in the tap's own shape."""
    labels: Literal["none", "all"] = "all"
    """`none`: no label plays any part in its numbers. `bench correlate` sets those against accuracies."""

    @property
    def protocol(self) -> str:
        """The name under which numbers are comparable, such as `knn@1`."""
        return f"{self.name}@{self.version}"
