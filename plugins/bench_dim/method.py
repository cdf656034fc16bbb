"""Deep InfoMax as one loss: mutual information of the output with a map, the game against the prior, and added tasks."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

import benchmark
from bench_dim import DimParams
from bench_dim.coordinates import Coordinates
from bench_dim.critics import global_critic, local_critic
from bench_dim.estimators import ESTIMATORS
from bench_dim.occlusion import occluded
from bench_dim.prior import Discriminator, discriminator_loss, encoder_loss

Part = Literal["local", "global"]


class DeepInfoMax(nn.Module):
    """The encoder with its critics and, where they have weight, a discriminator and predictors of coordinates.

    Y is the encoder's output tap itself, averaged over places if it is a map or tokens: no head is added, so what is
    trained is what is scored. Y goes into the critics as it is and through a sigmoid into the prior's branch alone. With
    occlusion there is one Y, that of the occluded image, for all of them.

    Raises:
        UnsupportedError: the encoder has no local map.
    """

    largest_batch: Tensor
    """int64 scalar: images in the largest batch so far; infoNCE's trivial loss depends on it."""
    color: Tensor
    """(1, C, 1, 1) float32: the normalization's mean."""

    def __init__(self, context: benchmark.MethodContext) -> None:
        super().__init__()
        layout = context.layout
        if layout.local is None:
            raise benchmark.UnsupportedError("this encoder names no local map, which DIM contrasts with the output")
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
        self.register_buffer("color", color, persistent=False)  # of what hides; the recipe has it already
        self.register_buffer("largest_batch", torch.zeros((), dtype=torch.int64))

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        """The loss of one batch.

        Parts: `local`, `global` (the estimator's loss), `local_bound`, `global_bound` (trivial loss minus that: nats of
        mutual information for dv, nce and nwj, of a Jensen-Shannon divergence for jsd), `prior` (the encoder's, before
        gamma) and `discriminator`; `absolute` and `relative` (cross-entropies of coordinates, before their weight).

        Raises:
            TrainingError: a batch of one image, which has nothing to be told from.
        """
        count = len(batch.images)
        if count < 2:
            raise benchmark.TrainingError(
                "a batch of one image came to DIM, which contrasts images with each other; keep drop_last=true"
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
        """Part -> the loss of a critic that gives every pair one score, or of the best constant answer about coordinates;
        empty before the first batch.
        """
        count = int(self.largest_batch)
        if not count:
            return {}
        trivial: dict[str, float] = {part: self._trivial(part, count) for part in self.params.weights}
        return trivial if self.coordinates is None else trivial | self.coordinates.trivial_losses()

    def _features(self, batch: benchmark.Batch) -> tuple[Tensor, Tensor]:
        """Y (N, D), of the occluded images if so asked, and the local map (N, C, H, W) of the whole ones."""
        if self.params.occlude == 0:
            return self._encoded(batch.images)
        partly = occluded(batch.images, self.color, self.params.occlude, batch.generator)
        maps: Tensor = self.encoder(batch.images, [self.local_tap.name])[self.local_tap.name]
        return self.encoder.vector(partly), maps

    def _encoded(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Y (N, D) and the local map (N, C, H, W), from one forward."""
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
            maps = sampled(maps.flatten(2).transpose(1, 2), self.params.local_samples, generator)
        scores: Tensor = self.critics[part](vectors, maps)
        return scores

    def _trivial(self, part: Part, count: int) -> float:
        places = 1
        if part == "local":
            _, height, width = self.local_tap.shape
            places = min(height * width, self.params.local_samples or height * width)
        return self.estimator.trivial((count - 1) * places)


def sampled(places: Tensor, most: int | None, generator: torch.Generator) -> Tensor:
    """At most `most` places of each image, drawn without replacement, for each image its own.

    Args:
        places: (N, L, C).
        most: None for all of them, in order.
        generator: on the device of `places`.

    Returns:
        (N, min(L, most), C).
    """
    count, length, channels = places.shape
    if most is None or most >= length:
        return places
    chosen = torch.rand((count, length), generator=generator, device=places.device).topk(most, dim=1).indices
    return places.gather(1, chosen[:, :, None].expand(-1, -1, channels))
