"""A small encoder, small images and a small frozen encoder to score: for conformance checks and tests."""

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
    """Two strided convolutions with batch norm; the taps `conv1` (8 channels) and `conv2` (12 channels)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU())

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Features of normalized images (N, C, H, W)."""
        features = {"conv1": self.conv1(images)}
        if "conv2" in taps:
            features["conv2"] = self.conv2(features["conv1"])
        return features


def small_layout(params: object, image_shape: ImageShape) -> Layout:
    """The layout of `SmallEncoder`: each convolution halves the sides, rounded up."""
    _, height, width = image_shape
    taps = (
        Tap(name="conv1", kind="map", shape=(8, -(-height // 2), -(-width // 2))),
        Tap(name="conv2", kind="map", shape=(12, -(-height // 4), -(-width // 4))),
    )
    return Layout(taps=taps, output="conv2", probe="conv2", local="conv1")


SMALL_ENCODER = EncoderSpec(
    name="small",
    summary="two convolutions with batch norm, for tests",
    build=lambda context: SmallEncoder(context.image_shape[0]),
    layout=small_layout,
)
"""Trains in milliseconds; its local map is `conv1`, its output `conv2`."""


def small_images(count: int, image_shape: ImageShape = (3, 16, 16), seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise with a bright stripe whose height shows the class.

    Returns:
        Images (N, C, H, W) uint8 and labels (N,) int64 in [0, 4).
    """
    channels, height, width = image_shape
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 128, (count, channels, height, width), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % CLASSES
    for label in range(CLASSES):
        start = label * height // CLASSES
        images[labels == label, :, start : start + height // CLASSES] += 100
    return images, labels


def probe_subject(seed: int = 0, train: int = 80, test: int = 40) -> Subject:
    """An untrained, frozen small encoder with train and test images, for evaluators to score."""
    mean, std = [0.4] * 3, [0.3] * 3
    encoder = build_encoder(
        SMALL_ENCODER, SMALL_ENCODER.params(), (3, 16, 16), num_images=train, seed=seed, mean=mean, std=std
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
