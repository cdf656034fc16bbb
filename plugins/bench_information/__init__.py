"""Lower bounds on the mutual information between images and frozen vectors, estimated by a small critic.

Use the values only to compare encoders. The vector of a deterministic encoder is a function of the
image, so the true value is the entropy of the vector, which is infinite for continuous features. The score measures how well
a critic of fixed size pairs test images with their vectors after a short training. A higher value is not better for every
task, because information that a task does not need counts as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import benchmark
from bench_information.references import BELGHAZI_2018, OORD_2018


@dataclass(frozen=True, kw_only=True)
class InformationParams:
    """Parameters of `mutual_information`: the training of the critics."""

    steps: int = field(default=500, metadata={"help": "training steps of each of the two critics"})
    """1 or more. The critic that is best on a held-out tenth of the training images is used, so more steps do not overfit."""
    batch: int = field(default=128, metadata={"help": "pairs per step"})
    """2 or more, at most all training pairs. Each image is contrasted with all others of the batch."""
    lr: float = field(default=1e-3, metadata={"help": "learning rate of Adam"})
    """Above 0."""
    units: int = field(default=256, metadata={"help": "width of the critic's hidden layers and output"})
    """1 or more."""

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 2), ("units", 1)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name}={getattr(self, name)} is not valid: must be a whole number of {least} or more"
                )
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"lr={self.lr} is not valid: must be a number above 0, such as 0.001")


@benchmark.hookimpl
def bench_evaluators() -> Iterable[benchmark.EvaluatorSpec]:
    """The evaluator `mutual_information`."""

    def evaluate(probe: benchmark.Probe, params: InformationParams) -> benchmark.Evaluation:
        from bench_information.evaluator import evaluate_information

        return evaluate_information(probe, params)

    yield benchmark.EvaluatorSpec(
        name="mutual_information",
        summary="lower bounds on I(image; vector) by a small critic",
        evaluate=evaluate,
        params=InformationParams,
        labels="none",
        metrics=(
            benchmark.Metric(name="dv", unit="nats", headline="dv"),  # unlike infonce it has no upper limit
            benchmark.Metric(name="infonce", unit="nats"),
        ),
        paper="Belghazi et al., Mutual information neural estimation, 2018; van den Oord et al., Representation learning "
        "with contrastive predictive coding, 2018",
        bibtex=f"{BELGHAZI_2018}\n\n{OORD_2018}",
    )
