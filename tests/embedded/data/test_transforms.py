"""Pixel values, sizes, and boxes that go along."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data.transforms import ColorJitter, Normalize, RandomHorizontalFlip, Resize, build_transforms
from maskrcnn_benchmark.structures.bounding_box import BoxList
from PIL import Image


def picture(width=30, height=20):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("size", "expected"), [
    ((800, 600), (600, 800)), ((600, 800), (800, 600)), ((1000, 400), (400, 1000)), ((333, 500), (900, 600)),
    ((600, 900), (900, 600)), ((1111, 203), (183, 1001)),
])  # fmt: skip
def test_size_rule(size, expected):
    """Shorter side 600, longer at most 1000 up to the rounding of the shorter."""
    height, width = Resize(600, 1000).get_size(size)
    assert (height, width) == expected


def test_pixels_are_blue_green_red_minus_mean():
    image = picture()
    mean, std = [102.9801, 115.9465, 122.7717], [1.0, 2.0, 1.0]
    chw = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    out, _ = Normalize(mean, std)(chw, None)
    expected = (chw[[2, 1, 0]] * 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    assert torch.equal(out, expected)


def test_boxes_follow_the_picture():
    target = BoxList([[3, 4, 12, 15]], (30, 20))
    image, resized = Resize(40, 100)(picture(), target)
    assert image.size == resized.size == (60, 40) and resized.bbox.tolist() == [[6, 8, 24, 30]]
    _, flipped = RandomHorizontalFlip(1.0)(picture(), target)
    assert flipped.bbox.tolist() == [[17, 4, 26, 15]]


def test_other_targets_pass_through():
    target = torch.tensor([-1])
    image, same = build_transforms(cfg, is_train=False)(picture(), target)
    assert same is target and image.dtype == torch.float32 and min(image.shape[1:]) == 800


def test_idle_jitter_draws_no_number():
    state = torch.get_rng_state()
    image = picture()
    assert ColorJitter()(image, None)[0] is image
    assert torch.equal(torch.get_rng_state(), state)
    assert ColorJitter(brightness=0.5)(image, None)[0] is not image
