"""Methods: the spec that a plugin provides, and the batches and losses of a training step."""

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

Batches = Iterable["Tensor"]
"""Batches of training images without augmentation, each (N, C, H, W) float32 in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A combination before anything is built: the argument of a method's `supports` and `recipe`."""

    method_params: Any
    """Instance of the method's `params` dataclass."""
    encoder: str
    """Name of the encoder's spec."""
    encoder_params: Any
    """Instance of the encoder's `params` dataclass."""
    layout: Layout
    """The encoder's taps."""
    dataset: str
    """Name of the dataset's spec, not its label."""
    image_shape: ImageShape
    """(C, H, W) of the images."""
    num_images: int
    """Number of labeled training images, after any subset."""
    num_classes: int
    """Number of classes of the dataset."""
    budget: Literal["quick", "paper"]
    """`quick` for minutes on a CPU, `paper` for the published setting."""


@dataclass(frozen=True, kw_only=True)
class MethodContext:
    """The argument of `MethodSpec.build`. Later versions may add fields."""

    params: Any
    """Instance of the spec's `params` dataclass."""
    encoder: Encoder
    """An `nn.Module`. Keep it as a submodule; it is trained with the method's own parameters."""
    layout: Layout
    """The encoder's taps."""
    image_shape: ImageShape
    """(C, H, W) of the images."""
    num_images: int
    """Number of training images."""
    num_classes: int | None
    """None unless the spec declares `labels="all"`."""
    total_steps: int
    """Number of optimization steps of the whole training."""
    mean: tuple[float, ...]
    """Mean of the encoder's normalization, per channel, for images in [0, 1]."""
    std: tuple[float, ...]
    """Standard deviation of the encoder's normalization, per channel, for images in [0, 1]."""
    generator: torch.Generator
    """CPU generator, seeded from the cell's seed, for random draws in `build`."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The images of one step, on the device."""

    images: Tensor
    """(N, C, H, W) float32 in [0, 1], after the recipe's augmentation."""
    raw: Tensor
    """(N, C, H, W) uint8, before augmentation: for methods that make their own views with `benchmark.images`."""
    index: Tensor
    """(N,) int64: positions in the training images."""
    progress: float
    """Completed fraction of training, in [0, 1)."""
    generator: torch.Generator
    """Generator on the device of `images`. Every random draw of a step uses it."""
    labels: Tensor | None = None
    """(N,) int64; None unless the spec declares `labels="all"`."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """The loss of one step."""

    total: Tensor
    """Scalar float32 that the step minimizes."""
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    """Name -> scalar to log, such as `mutual_information` and `prior`."""


@runtime_checkable
class Method(Protocol):
    """A method as the training loop sees it: an `nn.Module` whose whole state is in `state_dict()`.

    Optional methods, called if they exist:
        parameter_groups() -> list[dict]: optimizer groups; default: all parameters with `requires_grad`.
        before_training(batches): called once before the first step. `batches` are `Batches`.
        before_step(progress), after_step(progress): progress in [0, 1]; for example to update a moving-average teacher.
        after_epoch(progress, batches): for a memory bank or clustering.
        step(batch, optimizer) -> Losses: forward, backward and optimizer steps, for methods with more than one loss.
        trained_encoder() -> Encoder: the module to score, if it is not the context's encoder, for example a teacher.
        views(batch) and loss_of(batch, views): the two halves of `loss`. `views` makes what the encoder sees from the
            images; `bench speed` measures the halves separately.
        trivial_losses() -> {part: value}: the loss of a predictor that ignores the image. A cell whose loss stays above
            it is marked "did not learn". The key `total` stands for the total loss.
    """

    def loss(self, batch: Batch) -> Losses:
        """The loss of one batch, with a graph from the encoder's parameters."""
        ...


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published score of a method, with its conditions.

    Shown by `bench list methods -v`, and beside measured scores by `bench table --published`, which lists every
    condition that differs.
    """

    value: float
    """Raw fraction: 1 - error if the source reports an error."""
    encoder: str
    """Encoder, as on the command line: `blocknet[blocks=3]`."""
    tap: str
    """Name of the tap."""
    evaluator: str
    """Evaluator, as on the command line: `conv`, `conv[per_class=20]`. Parameters that are not named have their
    defaults."""
    source: str
    """Where it was published: "Gidaris et al. 2018, Table 3"."""
    status: Literal["read", "recalled"]
    """`read`: read in the source or in a text that quotes it; `recalled`: from memory, not yet checked."""
    method: Mapping[str, object] = field(default_factory=dict)
    """The method's parameters. Parameters that are not named have their defaults."""
    dataset: str = "cifar10"
    """Name of the dataset."""
    image_shape: ImageShape = (3, 32, 32)
    """(C, H, W) of the images."""
    metric: str = "accuracy"
    """Name of the metric."""
    recipe: Recipe | None = None
    """How the encoder was trained; None if it was not trained or the recipe is unknown."""
    spread: float | None = None
    """Published standard deviation over runs, as a fraction; None if there is none."""
    note: str = ""
    """Any other condition: "best epoch on test", another classifier."""


def supports_everything(setting: Setting) -> str | None:
    """Default of `MethodSpec.supports`: every combination is possible."""
    return None


def default_recipe(setting: Setting) -> Recipe:
    """Default of `MethodSpec.recipe`: six epochs of Adam; crop and flip with a border of an eighth of the height."""
    return Recipe(pad=max(1, setting.image_shape[1] // 8))


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """A method that a plugin provides.

    Examples:
        >>> import benchmark
        >>> spec = benchmark.MethodSpec(name="mine", summary="what it does", build=lambda context: ...)
        >>> spec.labels
        'none'
    """

    name: str
    """Name on the command line: lower case, unique among installed methods."""
    summary: str
    """One line for `bench list`."""
    build: Callable[[MethodContext], nn.Module]
    """context -> module (see `Method`). Import torch inside this function, so that `bench list` stays fast."""
    params: type = NoParams
    """Frozen dataclass with a default for every field. `bench list -v` shows `field(metadata={"help": ...})`."""
    paper: str = ""
    """`Authors: Title, VENUE year` of the method."""
    bibtex: str = ""
    """BibTeX entries of `paper`, separated by blank lines. Entries with the same key must be the same."""
    version: int = 1
    """Raise it when the same settings give other numbers than before."""
    recipe: Callable[[Setting], Recipe] = default_recipe
    """setting -> how to train. Raises UnsupportedError if there is no recipe for the requested budget."""
    supports: Callable[[Setting], str | None] = supports_everything
    """setting -> None, or why the combination is impossible. The plan skips the cell with that reason."""
    trains: bool = True
    """False: no training steps (floors, weights from a file)."""
    labels: Literal["none", "all"] = "none"
    """`all`: `loss` receives training labels. `none`: training never sees a label."""
    seeded: bool = True
    """False: the method has no randomness, so it has one cell for all seeds."""
    floor: bool = False
    """True: a lower bound that is added to every plan, unless `--no-floors` is set."""
    own_encoder: EncoderSpec | None = None
    """For methods with features of their own (raw pixels): used instead of the requested encoders, shown as `-`."""
    capturable: bool = False
    """True: on a GPU, a step may be recorded once as a CUDA graph and replayed.

    Then only tensors may change from step to step: `loss` must not use changing Python numbers or `batch.progress`,
    and must not read values back from the device."""
    plain_views: Callable[[Any, PillowImage, Random], tuple[Sequence[PillowImage], Sequence[float]]] | None = None
    """(params, image, random) -> the views of one image and the numbers that describe them, made with Pillow as in an
    ordinary data loader.

    `bench speed` compares the method's batched views with it. None: the only view is the image."""
    published: tuple[Published, ...] = ()
    """Published scores of the method."""
    identity: Callable[[Any], Mapping[str, object]] | None = None
    """params -> what is hashed and recorded, if not the parameters themselves: a file's checksum instead of its path."""
