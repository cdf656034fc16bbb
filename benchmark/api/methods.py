"""Methods: what a plugin provides, and the batches and losses of a training step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from benchmark.api.encoders import Encoder, EncoderSpec, ImageShape, Layout, NoParams
from benchmark.api.recipes import Recipe

if TYPE_CHECKING:
    from random import Random

    import torch
    from PIL.Image import Image as PillowImage
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is known of a cell before anything is built: what `supports` and `recipe` decide on."""

    method_params: Any
    encoder: str
    """Name of the encoder."""
    encoder_params: Any
    layout: Layout
    dataset: str
    """Name of the dataset's spec, not its label."""
    image_shape: ImageShape
    num_images: int
    """Training images, after the subset."""
    num_classes: int
    budget: Literal["quick", "paper"]


@dataclass(frozen=True, kw_only=True)
class MethodContext:
    """What a method is built from. May grow: read fields by name."""

    params: Any
    """An instance of the spec's `params` dataclass."""
    encoder: Encoder
    """An `nn.Module`; keep it as a submodule. Its parameters are trained with the method's own."""
    layout: Layout
    """The encoder's taps with their shapes."""
    image_shape: ImageShape
    num_images: int
    """Training images."""
    num_classes: int | None
    """None unless the spec declares `labels="all"`."""
    total_steps: int
    """Optimization steps of the whole training."""
    mean: tuple[float, ...]
    """Normalization in front of the encoder, per channel, images in [0, 1]."""
    std: tuple[float, ...]
    generator: torch.Generator
    """CPU generator, seeded from the cell's seed: for draws made while building."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's images, on the device."""

    images: Tensor
    """(N, C, H, W) float32 in [0, 1], after the recipe's one crop and flip (or none)."""
    raw: Tensor
    """(N, C, H, W) uint8, before it: for methods that make their own views with `benchmark.images`."""
    index: Tensor
    """(N,) int64: position in the training images."""
    progress: float
    """Part of training that is behind, in [0, 1)."""
    generator: torch.Generator
    """On the device of `images`. Every random draw of a step comes from it."""
    labels: Tensor | None = None
    """(N,) int64, and None unless the spec declares `labels="all"`."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What a step minimizes."""

    total: Tensor
    """Scalar float32."""
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    """Named scalars to log, such as `mutual_information` and `prior`."""


@runtime_checkable
class Method(Protocol):
    """A method as the training loop sees it: an `nn.Module` whose whole state is in `state_dict()`.

    Optional, found by name:
        parameter_groups() -> list[dict]: optimizer groups (default: every parameter that wants a gradient).
        before_training(batches): once, before the first step; `batches` yields float32 images in [0, 1], not augmented.
        before_step(progress), after_step(progress): progress in [0, 1]; a moving-average teacher, an annealed weight.
        after_epoch(progress, batches): a memory bank, clustering; `batches` as above.
        step(batch, optimizer) -> Losses: does forward, backward and the optimizer's steps itself, for what is not one loss.
        trained_encoder() -> Encoder: the module to be scored, if not the one given (a teacher, say).
        views(batch), loss_of(batch, views): the two halves of `loss`, what is made of the images before the encoder sees
            them and the loss of that; `bench speed` times them apart.
        trivial_losses() -> {part: value}: what a predictor that ignores the image reaches; a cell that does not
            get below is marked "did not learn". The key `total` means the total.
    """

    def loss(self, batch: Batch) -> Losses:
        """The loss of one batch; gradients flow into the encoder."""
        ...


@dataclass(frozen=True, kw_only=True)
class Published:
    """A figure that was published for a method: what its `paper` recipe should reach, and where that was found.

    Shown beside ours by `bench list methods -v` and `bench table --expected`, which lists every condition that differs.
    """

    value: float
    """Raw: an accuracy as a fraction, so 1 - error where the source gives errors."""
    encoder: str
    """As typed: `blocknet[blocks=3]`."""
    tap: str
    evaluator: str
    """As typed: `conv`, `conv[per_class=20]`. Parameters that are not named are at their defaults."""
    source: str
    """Where the figure stands, such as "Gidaris et al. 2018, Table 3"."""
    status: Literal["read", "recalled"]
    """`read` there, or in a text that quotes it; `recalled`: from memory, not yet looked up."""
    method: Mapping[str, object] = field(default_factory=dict)
    """Parameters of the method that the figure is for; those that are not named are at their defaults."""
    dataset: str = "cifar10"
    """Name of the dataset."""
    image_shape: ImageShape = (3, 32, 32)
    """(C, H, W) of the images."""
    metric: str = "accuracy"
    recipe: Recipe | None = None
    """How the encoder was trained; None: it was not, or that is not known."""
    spread: float | None = None
    """Standard deviation over runs, where one was published."""
    note: str = ""
    """What is not in the other fields: "best epoch on test", another classifier."""


def supports_everything(setting: Setting) -> str | None:
    """The default of `MethodSpec.supports`: no combination is refused."""
    return None


def default_recipe(setting: Setting) -> Recipe:
    """The default of `MethodSpec.recipe`: Adam, six epochs, crop and flip with a border of an eighth of the side."""
    return Recipe(pad=max(1, setting.image_shape[1] // 8))


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """A method that a plugin provides.

    Example:
        >>> import benchmark
        >>> spec = benchmark.MethodSpec(name="mine", summary="what it does", build=lambda context: ...)
        >>> spec.labels
        'none'
    """

    name: str
    summary: str
    """One line for `bench list`."""
    build: Callable[[MethodContext], nn.Module]
    """Makes the module (see `Method`). Import torch inside, so that listing stays fast."""
    params: type = NoParams
    """A frozen dataclass with a default for every field; `field(metadata={"help": ...})` is shown by `bench list -v`."""
    paper: str = ""
    bibtex: str = ""
    """BibTeX entries of `paper`, separated by blank lines. Entries with the same key must be the same."""
    version: int = 1
    """Raised whenever the same settings give other numbers than before."""
    recipe: Callable[[Setting], Recipe] = default_recipe
    """Setting -> how to train. Raises UnsupportedError where the asked budget has no recipe."""
    supports: Callable[[Setting], str | None] = supports_everything
    """Setting -> why not, or None. The plan skips the cell with that reason."""
    trains: bool = True
    """False: no steps are made (floors, weights from elsewhere)."""
    labels: Literal["none", "all"] = "none"
    """`all`: training labels are handed to `loss`. Everything else never sees one."""
    seeded: bool = True
    """False: chance plays no part, so there is one cell whatever the seeds."""
    floor: bool = False
    """True: joins every plan unless `--no-floors`."""
    own_encoder: EncoderSpec | None = None
    """For methods that bring features of their own (raw pixels): used instead of the encoders asked for, shown as `-`."""
    capturable: bool = False
    """True: on a GPU, a step may be recorded once and replayed (a CUDA graph). `loss` must then compute the same in every
    step but for tensors: no Python number that changes, no `batch.progress`, nothing read back from the device."""
    plain_views: Callable[[Any, PillowImage, Random], tuple[Sequence[PillowImage], Sequence[float]]] | None = None
    """(params, image, chance) -> the views of one image and what describes them, made with Pillow as an ordinary data
    loader would: what `bench speed` compares the method's batched views with. None: the image alone."""
    published: tuple[Published, ...] = ()
    """Figures that others give for it, to read ours against."""
    identity: Callable[[Any], Mapping[str, object]] | None = None
    """params -> what is hashed and shown, where that is not the parameters themselves (a file's checksum, not its path)."""

    @property
    def uses_encoder(self) -> bool:
        """Whether the encoders that were asked for play a part."""
        return self.own_encoder is None


Batches = Iterable["Tensor"]
