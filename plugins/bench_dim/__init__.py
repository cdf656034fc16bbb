"""Deep InfoMax: maximizes the mutual information between the encoder's output and the locations of an inner map.

Hjelm et al., "Learning deep representations by mutual information estimation and maximization", ICLR 2019
(arXiv:1808.06670). `dim` is DIM(L) with the Jensen-Shannon estimator, `dim[scope=global]` is DIM(G), `dim[scope=both]` is
DIM(L+G). `dim[estimator=nce,occlude=1,coordinates=1]` adds the two tasks of section 4.3 (that both are used at once is
recalled, not read).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal

import benchmark

if TYPE_CHECKING:
    from torch import nn

Scope = Literal["local", "global", "both"]
EstimatorName = Literal["jsd", "dv", "nce", "nwj"]
CriticName = Literal["dot", "concat", "linear", "bilinear"]

PAPER_GAMMA: dict[Scope, float] = {"local": 0.1, "global": 1.0, "both": 0.1}
"""The paper's prior weights (section 4.2). It gives none for DIM(L+G), for which this plugin uses DIM(L)'s."""


@dataclass(frozen=True, kw_only=True)
class DimParams:
    """The objective: alpha I(image; Y) + beta mean over locations of I(location; Y), and a uniform prior on Y."""

    scope: Scope = field(
        default="local", metadata={"help": "contrast with locations of the map, the whole map, or both"}
    )
    """`local` and `global` have weight 1. With `both`, `beta` weights the local part and `alpha` the global part."""
    estimator: EstimatorName = field(default="jsd", metadata={"help": "lower bound on mutual information"})
    """`jsd` (eq. 4), `dv` (eq. 2), `nce` (eq. 5) or `nwj` (Nguyen, Wainwright and Jordan; `KL` in the authors' code)."""
    critic: CriticName = field(default="dot", metadata={"help": "network that scores a pair"})
    """`dot`: encode and dot product, as in the authors' release. `concat`: concat and convolve, as in the paper.
    `linear`: one linear layer on the concatenation, as the 2019 report describes. A sum of one function per half cannot
    distinguish pairs, so it never gets below the trivial loss; use it as a control. `bilinear`: y' W x."""
    units: int = field(default=2048, metadata={"help": "width of the dot critic"})
    """Dimensions of the dot product, 1 or more (`mi_units` in the authors' code). Other critics ignore it."""
    alpha: float = field(default=0.5, metadata={"help": "weight of the global part when scope=both"})
    """At least 0."""
    beta: float = field(default=0.1, metadata={"help": "weight of the local part when scope=both"})
    """At least 0."""
    gamma: float | None = field(
        default=None, metadata={"help": "weight of the prior; 0: no prior; none: the paper's weight"}
    )
    """At least 0. None is replaced by the paper's weight for the scope, so `dim` and `dim[gamma=0.1]` are the same cell."""
    penalty: float = field(default=1.0, metadata={"help": "gradient penalty of the prior's discriminator"})
    """At least 0."""
    local_samples: int | None = field(
        default=None, metadata={"help": "locations per image that are scored in a step; none: all"}
    )
    """1 or more. They are drawn in every step, independently for each image. None: all locations."""
    occlude: float = field(default=0.0, metadata={"help": "fraction of images occluded to compute Y; paper: 1"})
    """In [0, 1]. Y comes from an image with a hidden rectangle, locations from the full image (section 4.3), which takes a
    second forward pass. Running batch statistics up to the local map then see both images, those behind it only the
    occluded ones."""
    coordinates: float = field(default=0.0, metadata={"help": "weight of coordinate prediction; authors' code: 1"})
    """At least 0. Predicts the position of a location, and the offset between two locations, from Y and their features
    (section 4.3)."""

    def __post_init__(self) -> None:
        for name in ("units", "local_samples"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name}={value} is not valid: must be 1 or more")
        for name in ("alpha", "beta", "gamma", "penalty", "coordinates"):
            if (value := getattr(self, name)) is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value} is not valid: must be a finite number of 0 or more")
        if not 0 <= self.occlude <= 1:
            raise ValueError(f"occlude={self.occlude} is not valid: must be a fraction from 0 to 1")
        if self.gamma is None:
            object.__setattr__(self, "gamma", PAPER_GAMMA[self.scope])

    @property
    def prior_weight(self) -> float:
        """`gamma` as a number."""
        return PAPER_GAMMA[self.scope] if self.gamma is None else self.gamma

    @property
    def weights(self) -> dict[Literal["local", "global"], float]:
        """Part -> its weight, for the parts that `scope` selects."""
        if self.scope == "both":
            return {"local": self.beta, "global": self.alpha}
        return {self.scope: 1.0}


ADDED: dict[str, object] = {"occlude": 0.0, "coordinates": 0.0}
"""Parameters that were added after the first results. At these values they are not part of a cell's identity."""


def identity(params: DimParams) -> Mapping[str, object]:
    """All parameters, without those in `ADDED` at their default, so that the ids of older cells stay the same."""
    values = {each.name: getattr(params, each.name) for each in fields(params)}
    return {name: value for name, value in values.items() if name not in ADDED or value != ADDED[name]}


def supports(setting: benchmark.Setting) -> str | None:
    """The reason why DIM cannot be trained in this setting, or None."""
    layout = setting.layout
    if layout.local is None:
        return f"encoder '{setting.encoder}' has no local map, which DIM contrasts with the output"
    tap = layout.tap(layout.local)
    if tap.kind != "map":
        return f"DIM needs a map (C, H, W) as the local tap, but '{tap.name}' of '{setting.encoder}' is {tap.kind}"
    height, width = tap.shape[1:]
    params: DimParams = setting.method_params
    if (params.scope != "global" or params.coordinates > 0) and min(height, width) < 2:
        return f"local DIM needs a map of at least 2 x 2, but '{tap.name}' is {height} x {width} for these images"
    if setting.num_images < 2:
        return "DIM contrasts images with each other and needs at least two training images"
    return None


@benchmark.hookimpl
def bench_methods() -> Iterable[benchmark.MethodSpec]:
    """The method `dim`."""
    from bench_dim.published import FIGURES
    from bench_dim.recipes import recipe
    from bench_dim.references import HJELM_2019

    def build(context: benchmark.MethodContext) -> nn.Module:
        from bench_dim.method import DeepInfoMax

        return DeepInfoMax(context)

    yield benchmark.MethodSpec(
        name="dim",
        summary="Deep InfoMax: mutual information of output and local map",
        build=build,
        params=DimParams,
        paper="Hjelm et al., Learning deep representations by mutual information estimation and maximization, 2019",
        bibtex=HJELM_2019,
        recipe=recipe,
        supports=supports,
        identity=identity,
        capturable=True,
        published=FIGURES,
    )
