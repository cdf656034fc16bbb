"""The loss of Deep InfoMax: mutual information between output and map, the adversarial prior, and the added tasks."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

import benchmark
from bench_dim import DimParams
from bench_dim.coordinates import Coordinates
from bench_dim.critics import global_critic, local_critic
from bench_dim.estimators import ESTIMATORS
from bench_dim.occlusion import occlude
from bench_dim.prior import Discriminator, discriminator_loss, encoder_loss

Part = Literal["local", "global"]


class DeepInfoMax(nn.Module):
    """The encoder with its critics and, if they have weight, a discriminator and predictors of coordinates.

    Y is the encoder's output tap, averaged over locations if it is a map or tokens. No head is added, so the trained
    representation is the scored one. The critics take Y unchanged; only the prior's branch applies a sigmoid. With
    occlusion, all parts use the Y of the occluded image.

    Raises:
        UnsupportedError: the encoder has no local map.
    """

    largest_batch: Tensor
    """int64 scalar: images in the largest batch so far; infoNCE's trivial loss depends on it."""
    color: Tensor
    """(1, C, 1, 1) float32: the normalization's mean, which fills occluded pixels."""

    def __init__(self, context: benchmark.MethodContext) -> None:
        super().__init__()
        layout = context.layout
        if layout.local is None:
            raise benchmark.UnsupportedError("this encoder has no local map, which DIM contrasts with the output")
        self.params: DimParams = context.params
        self.encoder = context.encoder
        self.local_tap = layout.tap(layout.local)
        self.output_tap = layout.tap(layout.output)
        self.estimator = ESTIMATORS[self.params.estimator]
        width = self.output_tap.width("average")
        shape = cast(tuple[int, int, int], self.local_tap.shape)
        makers = {"local": local_critic, "global": global_critic}
        self.critics = nn.ModuleDict(
            {part: makers[part](self.params.critic, self.params.units, width, shape) for part in self.params.weights}
        )
        self.discriminator = Discriminator(width) if self.params.prior_weight > 0 else None
        self.coordinates = Coordinates(width, shape) if self.params.coordinates > 0 else None
        color = torch.tensor(context.mean, dtype=torch.float32).view(1, -1, 1, 1)
        self.register_buffer("color", color, persistent=False)  # the recipe stores it
        self.register_buffer("largest_batch", torch.zeros((), dtype=torch.int64))

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        """The loss of one batch.

        Parts: `local`, `global` (the estimator's loss), `local_bound`, `global_bound` (trivial loss minus that: nats of
        mutual information for dv, nce and nwj, of a Jensen-Shannon divergence for jsd), `prior` (the encoder's, before
        gamma) and `discriminator`; `absolute` and `relative` (cross-entropies of coordinates, before their weight).

        Raises:
            TrainingError: a batch of one image, which has no negatives.
        """
        count = len(batch.images)
        if count < 2:
            raise benchmark.TrainingError(
                "DIM contrasts images with each other and needs batches of 2 or more, but this batch has one image; "
                "set drop_last=true"
            )
        self.largest_batch.clamp_(min=count)
        vectors, maps = self._features(batch)
        total = vectors.new_zeros(())
        parts: dict[str, Tensor] = {}
        for part, weight in self.params.weights.items():
            loss = self.estimator.loss(self._scores(part, vectors, maps, batch.generator))
            parts[part] = loss
            parts[f"{part}_bound"] = self._trivial(part, count) - loss.detach()
            total = total + weight * loss
        if self.discriminator is not None:
            parts["prior"] = encoder_loss(self.discriminator, vectors)
            parts["discriminator"] = discriminator_loss(
                self.discriminator, vectors, self.params.penalty, batch.generator
            )
            total = total + self.params.prior_weight * parts["prior"] + parts["discriminator"]
        if self.coordinates is not None:
            errors: dict[str, Tensor] = self.coordinates(vectors, maps, self.params.local_samples, batch.generator)
            parts.update(errors)
            total = total + self.params.coordinates * (errors["absolute"] + errors["relative"])
        return benchmark.Losses(total=total, parts=parts)

    def trivial_losses(self) -> dict[str, float]:
        """Part -> loss of a critic with one score for all pairs, or of the best constant prediction of coordinates.

        Empty before the first batch.
        """
        count = int(self.largest_batch)
        if not count:
            return {}
        trivial: dict[str, float] = {part: self._trivial(part, count) for part in self.params.weights}
        return trivial if self.coordinates is None else trivial | self.coordinates.trivial_losses()

    def _features(self, batch: benchmark.Batch) -> tuple[Tensor, Tensor]:
        """Y (N, D), of the occluded images if occlusion is on, and the local map (N, C, H, W) of the full images."""
        if self.params.occlude == 0:
            return self._encode(batch.images)
        occluded = occlude(batch.images, self.color, self.params.occlude, batch.generator)
        maps: Tensor = self.encoder(batch.images, [self.local_tap.name])[self.local_tap.name]
        return self.encoder.vector(occluded), maps

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Y (N, D) and the local map (N, C, H, W), from one forward pass."""
        taps = self.encoder(images, list(dict.fromkeys([self.local_tap.name, self.output_tap.name])))
        output = taps[self.output_tap.name]
        if self.output_tap.kind == "map":
            output = output.mean(dim=(2, 3))
        elif self.output_tap.kind == "tokens":
            output = output.mean(dim=1)
        return output, taps[self.local_tap.name]

    def _scores(self, part: Part, vectors: Tensor, maps: Tensor, generator: torch.Generator) -> Tensor:
        """(N, N, L) with L = 1 for the global part."""
        if part == "local":
            maps = sample_locations(maps.flatten(2).transpose(1, 2), self.params.local_samples, generator)
        scores: Tensor = self.critics[part](vectors, maps)
        return scores

    def _trivial(self, part: Part, count: int) -> float:
        locations = 1
        if part == "local":
            _, height, width = self.local_tap.shape
            locations = min(height * width, self.params.local_samples or height * width)
        return self.estimator.trivial((count - 1) * locations)


def sample_locations(locations: Tensor, max_locations: int | None, generator: torch.Generator) -> Tensor:
    """Locations of each image, drawn without replacement and independently for each image.

    Args:
        locations: (N, L, C).
        max_locations: how many to draw; None: all of them, in order.
        generator: on the device of `locations`.

    Returns:
        (N, min(L, max_locations), C).
    """
    count, length, channels = locations.shape
    if max_locations is None or max_locations >= length:
        return locations
    chosen = (
        torch.rand((count, length), generator=generator, device=locations.device).topk(max_locations, dim=1).indices
    )
    return locations.gather(1, chosen[:, :, None].expand(-1, -1, channels))
