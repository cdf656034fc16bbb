"""What can be set about each evaluator; no torch here, so that listing stays fast."""

from __future__ import annotations

from dataclasses import dataclass, field


def _check_counts(name: str, counts: tuple[int, ...]) -> None:
    if not counts or min(counts) < 1 or len(set(counts)) != len(counts):
        raise ValueError(
            f"{name}={';'.join(map(str, counts))} cannot be; give different whole numbers of 1 or more, such as 1;20"
        )


@dataclass(frozen=True, kw_only=True)
class NeighboursParams:
    """Parameters of `knn`."""

    k: tuple[int, ...] = field(
        default=(1, 5, 10, 20, 100, 200), metadata={"help": "numbers of neighbours that vote, written 1;20;200"}
    )
    """Each of 1 or more and gives two scores. Those larger than the gallery are left out; if all are, k is its size."""
    temperature: float = field(default=0.07, metadata={"help": "a vote weighs exp(cosine / temperature)"})
    """Above 0. 0.07 as in Wu et al. 2018, section 3.4."""

    def __post_init__(self) -> None:
        _check_counts("k", self.k)
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature} cannot be; it is a number above 0, such as 0.07")
