"""The batch of a captured step: it has everything except the progress."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from benchmark.api.methods import Batch
from benchmark.testing.miniature import small_images
from benchmark.training.captured_step import CaptureError, without_progress


@pytest.fixture
def batch() -> Batch:
    raw, labels = small_images(4)
    images, index = raw.float() / 255, torch.arange(4)
    return Batch(images=images, raw=raw, index=index, progress=0.25, generator=torch.Generator(), labels=labels)


def test_captured_batch_has_all_fields_but_the_progress(batch: Batch) -> None:
    captured = without_progress(batch)
    assert isinstance(captured, Batch)
    for name in ("images", "raw", "index", "generator", "labels"):
        assert getattr(captured, name) is getattr(batch, name)
    with pytest.raises(CaptureError, match=r"batch\.progress"):
        _ = captured.progress
    assert batch.progress == 0.25


def test_copy_of_a_captured_batch_has_no_progress_either(batch: Batch) -> None:
    with pytest.raises(CaptureError, match=r"batch\.progress"):
        dataclasses.replace(without_progress(batch), images=torch.zeros(1))


def test_captured_batch_is_frozen(batch: Batch) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        without_progress(batch).images = torch.zeros(1)  # type: ignore[misc]
