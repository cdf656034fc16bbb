"""A small encoder, small images and a small probe for conformance checks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmark.api.encoders import EncoderSpec, ImageShape, Layout, Tap
from benchmark.encoder import build_encoder
from benchmark.evaluation.evaluate import LabeledImages, Subject
from benchmark.evaluation.features import FrozenFeatures

CLASSES = 4
BATCH = 16
STEPS_PER_EPOCH = 2


class SmallEncoder(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU())

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        found = {"conv1": self.conv1(images)}
        if "conv2" in taps:
            found["conv2"] = self.conv2(found["conv1"])
        return found


def small_layout(params: object, image_shape: ImageShape) -> Layout:
    _, height, width = image_shape
    halves = [(-(-height // 2), -(-width // 2)), (-(-height // 4), -(-width // 4))]
    taps = (
        Tap(name="conv1", kind="map", shape=(8, *halves[0])),
        Tap(name="conv2", kind="map", shape=(12, *halves[1])),
    )
    return Layout(taps=taps, output="conv2", probe="conv2", local="conv1")


SMALL_ENCODER = EncoderSpec(
    name="small",
    summary="two convolutions with batch norm: for tests",
    build=lambda context: SmallEncoder(context.image_shape[0]),
    layout=small_layout,
)
"""Trains in milliseconds and has a map to be local on."""


def small_images(count: int, image_shape: ImageShape = (3, 16, 16), seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) uint8 with a bright stripe whose place tells the class, and their labels (N,) int64."""
    channels, height, width = image_shape
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 128, (count, channels, height, width), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % CLASSES
    for label in range(CLASSES):
        start = label * height // CLASSES
        images[labels == label, :, start : start + height // CLASSES] += 100
    return images, labels


def probe_subject(seed: int = 0, train: int = 80, test: int = 40) -> Subject:
    """A frozen small encoder with train and test images: what evaluators are tried on."""
    encoder = build_encoder(
        SMALL_ENCODER, SMALL_ENCODER.params(), (3, 16, 16), num_images=train, seed=seed, mean=[0.4] * 3, std=[0.3] * 3
    )
    train_images, train_labels = small_images(train, seed=seed + 1)
    test_images, test_labels = small_images(test, seed=seed + 2)
    return Subject(
        source=FrozenFeatures(encoder, train_images, test_images, []),
        train=LabeledImages(images=train_images, labels=train_labels),
        test=LabeledImages(images=test_images, labels=test_labels),
        class_names=tuple(f"stripe {label}" for label in range(CLASSES)),
        fingerprint="small",
    )
