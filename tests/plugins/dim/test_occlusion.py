"""Occlusion of images before the output is computed: `bench_dim.occlusion`."""

import pytest
import torch
import torch.nn.functional as F
from generators import seeded
from tiny_dim import batch, tiny_method

from bench_dim.occlusion import block_side, occlude, occlusion_mask


@pytest.mark.parametrize(("height", "width", "block"), [(32, 32, 10), (8, 8, 2), (96, 96, 30), (8, 12, 2)])
def test_mask_hides_a_block_and_leaves_a_block(height, width, block):
    assert block_side(height, width) == block
    mask = occlusion_mask(300, height, width, 1.0, seeded(), torch.device("cpu")).float()
    least = -F.max_pool2d(-mask, block, stride=1)
    assert (least.amax(dim=(1, 2, 3)) == 1).all()
    assert (F.max_pool2d(mask, block, stride=1).amin(dim=(1, 2, 3)) == 0).all()


def test_mask_is_a_different_rectangle_in_each_image():
    mask = occlusion_mask(200, 8, 8, 1.0, seeded(), torch.device("cpu"))[:, 0]
    rows, columns = mask.any(dim=2), mask.any(dim=1)
    assert torch.equal(mask, rows[:, :, None] & columns[:, None])
    assert len({tuple(image.flatten().tolist()) for image in mask}) > 100
    assert set(rows.sum(dim=1).tolist()) == set(columns.sum(dim=1).tolist()) == {2, 3, 4, 5, 6}


def test_occlude_changes_the_requested_fraction_of_images():
    images = torch.rand(1000, 1, 8, 8, generator=seeded())
    half = occlude(images, torch.full((1, 1, 1, 1), 2.0), 0.5, seeded())
    touched = (half == 2).any(dim=3).any(dim=2).any(dim=1)
    assert touched.float().mean().item() == pytest.approx(0.5, abs=0.06)
    assert torch.equal(half[~touched], images[~touched])
    assert torch.equal(torch.where(half == 2, images, half), images)


def test_output_uses_the_occluded_image_and_map_the_full_one():
    method = tiny_method(occlude=1.0, critic="bilinear", gamma=0.0).eval()
    encoder_inputs, critic_inputs = [], []
    method.encoder.register_forward_pre_hook(lambda module, inputs: encoder_inputs.append(inputs))
    method.critics["local"].register_forward_pre_hook(lambda module, inputs: critic_inputs.append(inputs))
    images = batch().images
    method.loss(batch())
    (full, full_taps), (partial, _) = encoder_inputs
    ((vectors, locations),) = critic_inputs
    assert torch.equal(full, images)
    assert full_taps == ["local"]
    covered = partial != images
    assert covered.flatten(1).any(dim=1).all()
    assert torch.equal(partial[covered], torch.full_like(partial[covered], 0.5))  # the normalization's mean
    assert torch.equal(locations, method.encoder(images, ["local"])["local"].flatten(2).mT)
    assert torch.equal(vectors, method.encoder.vector(partial))
