"""The transforms that ``INPUT.*`` asks for."""

from __future__ import annotations

from yacs.config import CfgNode

from . import transforms as T

HORIZONTAL_FLIP = 0.5
"""Share of the training images that are mirrored."""


def build_transforms(cfg: CfgNode, is_train: bool = True) -> T.Compose:
    """Training: colour jitter, resize, flips, pixel values; test: resize and pixel values only."""
    options = cfg.INPUT
    steps: list = []
    if is_train:
        steps += [
            T.ColorJitter(options.BRIGHTNESS, options.CONTRAST, options.SATURATION, options.HUE),
            T.Resize(options.MIN_SIZE_TRAIN, options.MAX_SIZE_TRAIN),
            T.RandomHorizontalFlip(HORIZONTAL_FLIP),
            T.RandomVerticalFlip(options.VERTICAL_FLIP_PROB_TRAIN),
        ]
    else:
        steps.append(T.Resize(options.MIN_SIZE_TEST, options.MAX_SIZE_TEST))
    return T.Compose([*steps, T.ToTensor(), T.Normalize(options.PIXEL_MEAN, options.PIXEL_STD, options.TO_BGR255)])
