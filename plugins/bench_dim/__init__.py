"""Deep InfoMax: an encoder whose output tells its own local features from those of other images.

Hjelm et al., "Learning deep representations by mutual information estimation and maximization", ICLR 2019
(arXiv:1808.06670). `dim` alone is DIM(L) with the Jensen-Shannon estimator, `dim[scope=global]` is DIM(G),
`dim[scope=both]` is DIM(L+G). `dim[estimator=nce,occlude=1,coordinates=1]` adds the two tasks of its section 4.3 (both at
once: recalled, not read).
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
"""The paper's prior weights (section 4.2); it prints none for DIM(L+G), which therefore gets DIM(L)'s."""


@dataclass(frozen=True, kw_only=True)
class DimParams:
    """What is maximized: alpha I(image; Y) + beta mean over places of I(place; Y), with Y drawn to a uniform prior."""

    scope: Scope = field(default="local", metadata={"help": "places of the map, the whole of it, or both"})
    """What the output is contrasted with. `local` and `global` have weight 1; `both` has `beta` and `alpha`."""
    estimator: EstimatorName = field(default="jsd", metadata={"help": "lower bound that is maximized"})
    """`jsd` (eq. 4), `dv` (eq. 2), `nce` (eq. 5) or `nwj` (Nguyen, Wainwright and Jordan; "KL" in the authors' code)."""
    critic: CriticName = field(default="dot", metadata={"help": "how a pair is scored"})
    """`dot`: encode and dot product, the authors' release. `concat`: concat and convolve, the paper's.
    `linear`: one linear layer on the concatenation, as the 2019 report describes; a sum of a function of each half
    cannot tell pairs apart, so it never gets below the trivial loss: a control. `bilinear`: y' W x."""
    units: int = field(default=2048, metadata={"help": "width of the dot critic"})
    """Dimensions in which `dot` compares, 1 or more (`mi_units` in the authors' code). Other critics ignore it."""
    alpha: float = field(default=0.5, metadata={"help": "weight of the global part when scope=both"})
    """At least 0."""
    beta: float = field(default=0.1, metadata={"help": "weight of the local part when scope=both"})
    """At least 0."""
    gamma: float | None = field(default=None, metadata={"help": "weight of the prior; 0: none; none: the paper's"})
    """At least 0. None becomes the paper's for the scope, so that `dim` and `dim[gamma=0.1]` are one cell."""
    penalty: float = field(default=1.0, metadata={"help": "gradient penalty of the prior's discriminator"})
    """At least 0."""
    local_samples: int | None = field(default=None, metadata={"help": "places of an image that are scored in a step"})
    """At most that many, drawn anew for each image, 1 or more. None: all of them."""
    occlude: float = field(
        default=0.0, metadata={"help": "share of images of which Y sees only a part; the paper's: 1"}
    )
    """In [0, 1]. Y comes from an image with a block hidden, places from the whole one (section 4.3): a second forward.
    Running batch statistics up to the local map then see both images, those behind it the occluded ones."""
    coordinates: float = field(default=0.0, metadata={"help": "weight of coordinate prediction; the authors' code: 1"})
    """At least 0. Where a place lies, and how two places lie to each other, from Y and their features (section 4.3)."""

    def __post_init__(self) -> None:
        for name in ("units", "local_samples"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name}={value} cannot be; it is 1 or more")
        for name in ("alpha", "beta", "gamma", "penalty", "coordinates"):
            if (value := getattr(self, name)) is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name}={value} cannot be; it is a finite number, 0 or more")
        if not 0 <= self.occlude <= 1:
            raise ValueError(f"occlude={self.occlude} cannot be; it is a share of the images, from 0 to 1")
        if self.gamma is None:
            object.__setattr__(self, "gamma", PAPER_GAMMA[self.scope])

    @property
    def prior_weight(self) -> float:
        """Gamma as a number."""
        return PAPER_GAMMA[self.scope] if self.gamma is None else self.gamma

    @property
    def weights(self) -> dict[Literal["local", "global"], float]:
        """Part -> its weight, for the parts that take part."""
        if self.scope == "both":
            return {"local": self.beta, "global": self.alpha}
        return {self.scope: 1.0}


ADDED: dict[str, object] = {"occlude": 0.0, "coordinates": 0.0}
"""Parameters that came after the first results: at these values they are no part of what a cell is."""


def identity(params: DimParams) -> Mapping[str, object]:
    """Every parameter, but those of `ADDED` only where they change something: cells from before them stay the same."""
    values = {each.name: getattr(params, each.name) for each in fields(params)}
    return {name: value for name, value in values.items() if name not in ADDED or value != ADDED[name]}


def supports(setting: benchmark.Setting) -> str | None:
    """Why DIM cannot be trained in this setting, or None."""
    layout = setting.layout
    if layout.local is None:
        return f"encoder '{setting.encoder}' names no local map, which DIM contrasts with the output"
    tap = layout.tap(layout.local)
    if tap.kind != "map":
        return f"DIM needs a map (C, H, W) as the local tap; '{tap.name}' of '{setting.encoder}' is {tap.kind}"
    height, width = tap.shape[1:]
    params: DimParams = setting.method_params
    if (params.scope != "global" or params.coordinates > 0) and min(height, width) < 2:
        return f"local DIM needs a map of at least 2 x 2 places; '{tap.name}' is {height} x {width} for these images"
    if setting.num_images < 2:
        return "DIM contrasts images with each other and needs at least two"
    return None


@benchmark.hookimpl
def bench_methods() -> Iterable[benchmark.MethodSpec]:
    """Deep InfoMax."""
    from bench_dim.published import FIGURES
    from bench_dim.recipes import recipe

    def build(context: benchmark.MethodContext) -> nn.Module:
        from bench_dim.method import DeepInfoMax

        return DeepInfoMax(context)

    yield benchmark.MethodSpec(
        name="dim",
        summary="Deep InfoMax: mutual information between the output and places of an inner map",
        build=build,
        params=DimParams,
        paper="Hjelm et al., Learning deep representations by mutual information estimation and maximization, 2019",
        recipe=recipe,
        supports=supports,
        identity=identity,
        capturable=True,
        published=FIGURES,
    )
