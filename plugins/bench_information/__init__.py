"""How much a frozen vector tells of its image, as bounds on mutual information that a small critic reaches.

The evaluator compares encoders with each other and measures nothing absolute: the vector of a deterministic encoder is a
function of the image, so the true value is the entropy of the vector, infinite where it is continuous. What is reported is
how well a critic of one size, after one short training, pairs test images with their vectors. More is not better as such:
what a downstream task throws away counts as much as what it needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import benchmark


@dataclass(frozen=True, kw_only=True)
class InformationParams:
    """Parameters of `mutual_information`: how the critics are trained."""

    steps: int = field(default=500, metadata={"help": "training steps of each of the two critics"})
    """1 or more. The state that is best on a tenth of the training images is kept, so that more steps do not overfit."""
    batch: int = field(default=128, metadata={"help": "pairs in a step; each image is contrasted with all the others"})
    """2 or more, at most all training pairs."""
    lr: float = field(default=1e-3, metadata={"help": "rate of Adam"})
    """Above 0."""
    units: int = field(default=256, metadata={"help": "width of the critic's hidden layers and of its comparison"})
    """1 or more."""

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 2), ("units", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} cannot be; it is a whole number of {least} or more")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr={self.lr} cannot be; it is a number above 0, such as 0.001")


@benchmark.hookimpl
def bench_evaluators() -> Iterable[benchmark.EvaluatorSpec]:
    """`mutual_information`."""

    def evaluate(probe: benchmark.Probe, params: InformationParams) -> benchmark.Evaluation:
        from bench_information.evaluator import evaluate_information

        return evaluate_information(probe, params)

    yield benchmark.EvaluatorSpec(
        name="mutual_information",
        summary="bounds on I(image; vector) that a small critic reaches: to compare encoders, not to measure",
        evaluate=evaluate,
        params=InformationParams,
        labels="none",
        metrics=(
            benchmark.Metric(name="dv", unit="nats", headline="dv"),  # has no ceiling
            benchmark.Metric(name="infonce", unit="nats"),
        ),
        paper="Belghazi et al., Mutual information neural estimation, 2018; van den Oord et al., Representation learning "
        "with contrastive predictive coding, 2018",
    )
