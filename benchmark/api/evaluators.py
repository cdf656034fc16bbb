"""Evaluators: the spec that a plugin provides, and the frozen features that it scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from benchmark.api.encoders import Layout, NoParams, Pool
from benchmark.api.limits import checked_name

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One kind of score that an evaluator computes."""

    name: str
    """Without a setting: `accuracy`, `map`, `recall`. A measurement may add one: `recall@k=10`."""
    higher_is_better: bool = True
    """False for a score where smaller is better."""
    unit: str = "fraction"
    """`fraction` (in [0, 1]), `count`, `dimensions`, `distance` (0 or more), or any other text, such as `nats`. A value
    outside of the range is refused."""
    headline: str | None = None
    """Full name of the score that represents the evaluator in a table, such as `accuracy@k=20`; None: not this metric."""

    def __post_init__(self) -> None:
        checked_name(self.name)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One score of one tap."""

    metric: str
    """`accuracy`, or with a setting `accuracy@k=20`. The part before `@` is the name of a `Metric` of the spec."""
    value: float
    """Raw fraction, never a percentage."""
    n: int
    """Number of test images (queries) that it is computed from: of all outcomes, or of those that are not NaN."""
    outcomes: NDArray[Any] | None = None
    """(number of test images,) bool or float32: one value for each test image; their mean is `value`.

    NaN for an image without a value. None for a score that is not a mean over images."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of an evaluator at one tap."""

    measurements: tuple[Measurement, ...]
    """At least one."""
    predictions: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Name -> array with one row for each test image that does not depend on test labels: classes, neighbor indices."""
    details: Mapping[str, object] = field(default_factory=dict)
    """Values that the evaluator selected, as JSON: the L2 strength, the number of iterations."""


class ProbeSplit(Protocol):
    """Frozen features of one split, computed on first use."""

    @property
    def images(self) -> Tensor:
        """(N, C, H, W) uint8 on the device, or on the CPU (perhaps memory-mapped) if they do not fit there."""
        ...

    @property
    def labels(self) -> Tensor:
        """(N,) int64 on the device."""
        ...

    def features(self, tap: str | None = None, pool: Pool | None = None) -> Tensor:
        """(N, D) float32 on the device, or (N, *tap.shape) for the pooling `none`.

        Default: the tap and the pooling that are scored.
        """
        ...


class Probe(Protocol):
    """The input of an evaluator: frozen features, labels, and a way to encode more images."""

    @property
    def train(self) -> ProbeSplit:
        """Training split: heads are fitted on it, and it is the gallery of neighbor search."""
        ...

    @property
    def test(self) -> ProbeSplit:
        """Test split: it is scored; its labels select nothing."""
        ...

    @property
    def tap(self) -> str:
        """Name of the tap that is scored."""
        ...

    @property
    def pool(self) -> Pool:
        """Pooling of the tap that is scored."""
        ...

    @property
    def layout(self) -> Layout:
        """All taps of the encoder."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names; the position is the label."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of images and features."""
        ...

    @property
    def generator(self) -> torch.Generator:
        """CPU generator, seeded by dataset and protocol, not by the cell's seed."""
        ...

    def encode(self, images: Tensor, tap: str | None = None, pool: Pool = "none") -> Tensor:
        """Frozen features of more images, in eval mode and without a graph.

        Args:
            images: (N, C, H, W) float32 in [0, 1].
            tap: default: the tap that is scored.
            pool: `none` keeps the tap's own shape; `probe.pool` gives (N, D), like `features`.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class EvaluatorSpec:
    """An evaluator that a plugin provides.

    The core adds the parameter `pool` if the spec allows more than one pooling.
    """

    name: str
    """Name on the command line: lower case, unique among installed evaluators."""
    summary: str
    """One line for `bench list`."""
    evaluate: Callable[[Probe, Any], Evaluation]
    """(probe, params) -> evaluation. Test labels may score, but select nothing.

    Raises UnsupportedError if it makes no sense for the data (for example, only one class): the score is left out with that
    reason, and the cell continues."""
    metrics: tuple[Metric, ...]
    """Every kind of score that it computes."""
    version: int = 1
    """Version of the protocol (`knn@1`). Raise it when a default or the computation changes."""
    params: type = NoParams
    """Frozen dataclass with a default for every field."""
    paper: str = ""
    """`Authors: Title, VENUE year` of the protocol."""
    bibtex: str = ""
    """BibTeX entries of `paper`, separated by blank lines. Entries with the same key must be the same."""
    pools: tuple[Pool, ...] = ("average", "flat")
    """Allowed poolings, the default first. `("none",)`: the evaluator uses features in the tap's own shape."""
    labels: Literal["none", "all"] = "all"
    """`none`: no label influences its scores. `bench correlate` compares such scores with accuracies."""

    @property
    def protocol(self) -> str:
        """Evaluator and version, `knn@1`. Scores are comparable only within one protocol."""
        return f"{self.name}@{self.version}"
