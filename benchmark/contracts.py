"""What plugins give to the core, and what the core's rooms hand to each other.

Everything here is a frozen value or a Protocol; nothing imports torch, so that `bench list` answers at once.
Shapes: N images, C channels, H x W pixels, D features. Images are uint8 NCHW at rest and float32 NCHW in [0, 1] in motion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from random import Random

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from PIL.Image import Image as PillowImage
    from torch import Tensor, nn

    from benchmark.progress import Reporter

ImageShape = tuple[int, int, int]
"""(channels, height, width) of every image of a dataset."""

TapKind = Literal["map", "vector", "tokens"]
Pool = Literal["average", "flat", "none"]
"""How a tap's features are read: averaged over places, flattened, or left in the tap's own shape."""
Json = dict[str, Any]
SMOKE_STEPS = 4
"""Training steps of a cell under --smoke."""


@dataclass(frozen=True, kw_only=True)
class NoParams:
    """The parameters of something that has none."""


# --- taps and encoders ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Tap:
    """A named place in an encoder where features are read."""

    name: str
    """Unique within the encoder, in the field's words: `conv2`, `layer4`, `fc`."""
    kind: TapKind
    """`map` (N, C, H, W), `vector` (N, D) or `tokens` (N, T, D)."""
    shape: tuple[int, ...]
    """The shape without N: (C, H, W), (D,) or (T, D)."""

    def width(self, pool: Pool) -> int:
        """Number of features per image: averaged over places, or (`flat`, `none`) all of them."""
        if pool != "average" or self.kind == "vector":
            size = 1
            for length in self.shape:
                size *= length
            return size
        return self.shape[0] if self.kind == "map" else self.shape[-1]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where an encoder can be read, for one image shape."""

    taps: tuple[Tap, ...]
    """In order of depth, shallowest first. At least one."""
    output: str
    """The tap that is the encoder's representation: what methods train and the deepest of them."""
    probe: str
    """The tap that is scored by default, beside the output. May be the output itself."""
    local: str | None = None
    """The map that local objectives (DIM) contrast with the output; None if the encoder has none."""

    def tap(self, name: str) -> Tap:
        """The tap of that name.

        Raises:
            KeyError: no such tap; the message lists those that exist.
        """
        for tap in self.taps:
            if tap.name == name:
                return tap
        raise KeyError(f"no tap called '{name}'; there is: {', '.join(tap.name for tap in self.taps)}")


@dataclass(frozen=True, kw_only=True)
class EncoderContext:
    """What an encoder is built from. May grow: read fields by name."""

    params: Any
    """An instance of the spec's `params` dataclass."""
    image_shape: ImageShape
    """(C, H, W) of the images that it will see."""
    num_images: int = 0
    """Number of training images."""


class Encoder(Protocol):
    """An encoder as methods and evaluators see it: normalisation in front, float32 out, taps computed lazily.

    The harness wraps what `EncoderSpec.build` returns into this, so `images` are always float32 in [0, 1].
    """

    layout: Layout

    def __call__(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Features (float32) of `images` (N, C, H, W) at each named tap, in the tap's own shape."""
        ...

    def vector(self, images: Tensor) -> Tensor:
        """The output tap, averaged over places: (N, D) float32."""
        ...


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """An encoder that a plugin provides.

    `build` returns a module with `forward(images, taps) -> {tap: Tensor}` that computes no deeper than the deepest tap
    asked for. Its images are already normalised.
    """

    name: str
    """What people type: lower case, unique among the installed encoders."""
    summary: str
    """One line for `bench list`."""
    build: Callable[[EncoderContext], nn.Module]
    """Makes the module with fresh weights. The global torch seed is set by the caller."""
    layout: Callable[[Any, ImageShape], Layout]
    """(params, image_shape) -> taps, without torch. Raises UnsupportedError for shapes that it cannot take."""
    params: type = NoParams
    """A frozen dataclass with a default for every field."""
    paper: str = ""
    """Author, title, year; where the architecture is described."""
    law: int = 1
    """Raised whenever the same settings give other numbers than before."""
    min_side: int = 8
    """Smallest image side, in pixels, that it takes."""


# --- datasets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What a plan must know of a dataset, found out without decoding an image."""

    label: str
    """How it is shown and filed: `digits`, or a folder's `name`. Never a path."""
    fingerprint: str
    """Changes whenever an image, a label or their order changes."""
    image_shape: ImageShape
    """(C, H, W) of every image."""
    num_train: int
    """Number of training images before any subset."""
    num_test: int
    """Number of test images."""
    class_names: tuple[str, ...]
    """Index = label."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images with their labels."""

    images: NDArray[np.uint8]
    """(N, C, H, W) uint8; may be memory-mapped."""
    labels: NDArray[np.int64]
    """(N,) int64 in [0, number of classes)."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset in memory."""

    train: Split
    test: Split
    class_names: tuple[str, ...]
    """Index = label."""
    unlabelled: NDArray[np.uint8] | None = None
    """More training images without labels, (N, C, H, W) uint8; methods train on train + unlabelled."""


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A dataset that a plugin provides. The core adds the parameter `subset=N` to each: N training images, stratified."""

    name: str
    summary: str
    """One line for `bench list`."""
    describe: Callable[[Any, Path], DatasetInfo]
    """(params, data_dir) -> info; no torch, no decoding. Raises DataError with what to do when it cannot be had."""
    load: Callable[[Any, Path], Dataset]
    """(params, data_dir) -> images and labels. May download into `data_dir` and cache there."""
    params: type = NoParams
    paper: str = ""
    """Author, title, year; the source."""
    law: int = 1


# --- methods ----------------------------------------------------------------------------------------------------------

Optimiser = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "cosine", "linear", "milestones"]
Augment = Literal["none", "crop", "flip", "crop-flip"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a method is optimised. Every number is resolved before anything runs, recorded, and part of a cell's identity."""

    epochs: int = 6
    """Passes over the training images; 0 for what is not trained."""
    batch: int = 64
    """Images per step, before a method makes several views of each."""
    optimiser: Optimiser = "adam"
    lr: float = 1e-3
    """Peak learning rate."""
    momentum: float = 0.9
    """SGD only."""
    nesterov: bool = True
    """SGD only."""
    beta1: float = 0.9
    """Adam only."""
    beta2: float = 0.999
    """Adam only."""
    weight_decay: float = 0.0
    """On all parameters, as the optimiser of that name applies it."""
    schedule: Schedule = "cosine"
    """constant; cosine or linear to `final_lr`, each per step; milestones: times `factor` at each milestone, per epoch."""
    milestones: tuple[int, ...] = ()
    """Epochs at which the rate is multiplied by `factor`."""
    factor: float = 0.2
    linear_from: int | None = None
    """With milestones: from this epoch the rate falls linearly to `final_lr` in the last epoch (AET's released schedule)."""
    final_lr: float = 0.0
    """Where cosine, linear and `linear_from` end."""
    warmup: int = 0
    """Epochs of linear warm-up from 0, per step."""
    drop_last: bool = True
    """Leave out the last, smaller batch of an epoch (kept if it is the only one)."""
    augment: Augment = "crop-flip"
    """The one augmentation that the harness applies: random crop from `pad` black pixels, random horizontal flip."""
    pad: int = 4
    """Pixels of black border for the crop; scaled recipes give side / 8."""
    mean: tuple[float, ...] | None = None
    """Per channel, images in [0, 1]. None: the training images' own."""
    std: tuple[float, ...] | None = None
    """Per channel. None: the training images' own."""
    clip: float | None = None
    """Largest gradient norm; None: no clipping."""


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
    """Optimisation steps of the whole training."""
    mean: tuple[float, ...]
    """Normalisation in front of the encoder, per channel, images in [0, 1]."""
    std: tuple[float, ...]
    generator: torch.Generator
    """CPU generator, seeded from the cell's seed: for draws made while building."""


Accelerate = Literal["auto", "off", "compile"]
"""Of training steps. `auto`: what pays on the device; `off`: the plain step; `compile`: compile the network in any case."""


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
    """What a step minimises."""

    total: Tensor
    """Scalar float32."""
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    """Named scalars to log, such as `mutual_information` and `prior`."""


@runtime_checkable
class Method(Protocol):
    """A method as the training loop sees it: an `nn.Module` whose whole state is in `state_dict()`.

    Optional, found by name:
        parameter_groups() -> list[dict]: optimiser groups (default: every parameter that wants a gradient).
        before_training(batches): once, before the first step; `batches` yields float32 images in [0, 1], not augmented.
        before_step(progress), after_step(progress): progress in [0, 1]; a moving-average teacher, an annealed weight.
        after_epoch(progress, batches): a memory bank, clustering; `batches` as above.
        step(batch, optimiser) -> Losses: does forward, backward and the optimiser's steps itself, for what is not one loss.
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
    law: int = 1
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


# --- evaluators -------------------------------------------------------------------------------------------------------


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
    """Named arrays aligned to the test index that do not depend on test labels: predicted classes, neighbour ids."""
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
    pools: tuple[Pool, ...] = ("average", "flat")
    """What `pool` may be; the first is the default. `("none",)`: features are taken in the tap's own shape."""
    labels: Literal["none", "all"] = "all"
    """`none`: no label plays any part in its numbers. `bench correlate` sets those against accuracies."""

    @property
    def protocol(self) -> str:
        """The name under which numbers are comparable, such as `knn@1`."""
        return f"{self.name}@{self.version}"


# --- cells, jobs and executors ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Item:
    """A named thing with its resolved parameters."""

    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    """Every parameter with its value, as needed to run: may hold a path."""
    identity: Mapping[str, object] = field(default_factory=dict)
    """What is hashed and recorded instead of `params`: no path."""
    label: str = ""
    """As shown: the name with its non-default parameters, sorted."""
    provider: str = ""
    """Distribution that gives it; needed only where two give the same name."""
    law: int = 1


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The unit that is trained, skipped and resumed: method x encoder x dataset x seed x recipe."""

    id: str
    """Hash of the training settings alone: 64 hexadecimal digits."""
    method: Item
    encoder: Item
    dataset: Item
    fingerprint: str
    """The dataset's."""
    subset: int | None
    """Stratified number of training images; None: all."""
    seed: int | None
    """None where chance plays no part."""
    recipe: Recipe
    smoke: bool = False
    """A few batches only: not a result."""

    @property
    def title(self) -> str:
        """`aet / resnet18 / digits / seed 0`."""
        seed = "no seed" if self.seed is None else f"seed {self.seed}"
        return f"{self.method.label} / {self.encoder.label} / {self.dataset.label} / {seed}"


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """One evaluator at one tap."""

    tap: str
    pool: Pool
    evaluator: Item
    protocol: str

    def key(self) -> dict[str, str]:
        """Under which its scores stand in a record."""
        return {"tap": self.tap, "pool": self.pool, "evaluator": self.evaluator.label, "protocol": self.protocol}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One cell's errand, made of plain values: it can be written as JSON and carried out on another machine."""

    cell: Cell
    scores: tuple[ScoreRequest, ...]
    """Asked for; those that the record already has are not computed again."""
    data_dir: str
    out_dir: str
    folder: str
    """Name of the cell's folder under `out_dir`."""
    threads: int = 1
    """CPU threads, recorded: another number gives other sums."""
    rerun: bool = False
    """Train again even though there is a finished record."""
    accelerate: Accelerate = "auto"
    """How training steps may be made faster; recorded, no part of a cell's identity."""
    checkpoint_seconds: float = 60.0
    """Least time between two checkpoints."""
    checkpoint_epochs: int | None = None
    """Also after every so many epochs; None: by time alone."""
    timeout: float | None = None
    """Seconds of silence (no step, no stage) after which the cell counts as hung; None: never."""
    expected_seconds: float | None = None
    """As past records have it; None where there are none. Jobs come longest first."""
    memory: int | None = None
    """Bytes that it is expected to hold, of the GPU or of the host, as past records have it."""
    alone: bool = False
    """Second try of a cell that ran out of memory, with the device to itself: if it does again, the batch that would fit
    is looked for."""
    left_token: str = ""
    """Of another run's claim on the cell which was seen to be left behind: it may be taken."""


State = Literal["done", "failed", "interrupted", "smoke"]
Cause = Literal["", "memory", "silence", "crash"]
"""Why a cell failed, where an executor does something about it: it ran out of memory, hung, or its process died."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one job ended."""

    cell_id: str
    folder: str
    state: State | Literal["elsewhere"]
    """`elsewhere`: another run works on the cell; nothing was done."""
    seconds: float
    reason: str = ""
    """Why it failed, one line."""
    traceback: str = ""
    """What was caught, whole; kept in the record and in log.txt."""
    cause: Cause = ""


@dataclass(frozen=True, kw_only=True)
class ExecutorContext:
    """What an executor is built from. May grow."""

    params: Any
    devices: tuple[str, ...]
    """`("cpu",)` or one name for each visible GPU: `("cuda:0", "cuda:1")`."""
    slots: int
    """Cells at once on the CPU; on GPUs: per device."""
    threads: int
    """CPU threads for each cell."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """Device -> bytes that cells may hold there together; none for a device of which that is not known."""


class Executor(Protocol):
    """Where cells run."""

    def run(self, jobs: Sequence[Job], reporter: Reporter) -> Iterator[Outcome]:
        """Carries out each job with `benchmark.cell.run_cell` and yields its outcome as soon as it is there."""
        ...


@dataclass(frozen=True, kw_only=True)
class ExecutorSpec:
    """An executor that a plugin provides."""

    name: str
    summary: str
    build: Callable[[ExecutorContext], Executor]
    params: type = NoParams
    paper: str = ""


Spec = MethodSpec | EncoderSpec | DatasetSpec | EvaluatorSpec | ExecutorSpec
Batches = Iterable["Tensor"]
