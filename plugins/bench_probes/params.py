"""Parameters of each evaluator. This module imports no torch, so that listing stays fast."""

from __future__ import annotations

from dataclasses import dataclass, field


def _check_counts(name: str, counts: tuple[int, ...]) -> None:
    if not counts or min(counts) < 1 or len(set(counts)) != len(counts):
        raise ValueError(
            f"{name}={';'.join(map(str, counts))} is not valid: must be distinct whole numbers of 1 or more, such as 1;20"
        )


@dataclass(frozen=True, kw_only=True)
class NeighborsParams:
    """Parameters of `knn`."""

    k: tuple[int, ...] = field(
        default=(1, 5, 10, 20, 100, 200), metadata={"help": "numbers of neighbors, such as 1;20;200"}
    )
    """Each 1 or more; each gives two scores. Values above the size of the gallery are left out; if all are, k is its size."""
    temperature: float = field(default=0.07, metadata={"help": "a vote has the weight exp(cosine / temperature)"})
    """Above 0. 0.07 as in Wu et al. 2018, section 3.4."""

    def __post_init__(self) -> None:
        _check_counts("k", self.k)
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature} is not valid: must be a number above 0, such as 0.07")


@dataclass(frozen=True, kw_only=True)
class LinearParams:
    """Parameters of `linear`."""

    strengths: tuple[float, ...] = field(
        default=(1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
        metadata={"help": "L2 strengths to choose from, such as 0.001;0.1"},
    )
    """Each above 0: lambda in mean cross-entropy + lambda / 2 * |weights|^2. Chosen by accuracy on a hold-out of train."""
    iterations: int = field(default=200, metadata={"help": "largest number of L-BFGS iterations per fit"})
    """1 or more. A fit that does not converge is scored anyway; the details record it."""

    def __post_init__(self) -> None:
        if not self.strengths or not all(0 < strength < float("inf") for strength in self.strengths):
            shown = ";".join(map(str, self.strengths))
            raise ValueError(f"strengths={shown} is not valid: must be numbers above 0, such as 0.001;0.1")
        if self.iterations < 1:
            raise ValueError(
                f"iterations={self.iterations} is not valid: must be a whole number of 1 or more, such as 200"
            )


@dataclass(frozen=True, kw_only=True)
class RetrievalParams:
    """Parameters of `retrieval`."""

    precision_at: tuple[int, ...] = field(default=(10,), metadata={"help": "values of k for precision@k, such as 1;10"})
    """Each 1 or more. Values above the size of the gallery are left out; if all are, k is its size."""
    recall_at: tuple[int, ...] = field(
        default=(1, 5, 10), metadata={"help": "values of k for recall@k, such as 1;5;10"}
    )
    """As `precision_at`."""

    def __post_init__(self) -> None:
        _check_counts("precision_at", self.precision_at)
        _check_counts("recall_at", self.recall_at)
