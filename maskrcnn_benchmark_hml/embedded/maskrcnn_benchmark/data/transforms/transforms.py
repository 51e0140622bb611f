"""Transforms of (PIL image or tensor, target). A target that is no ``BoxList`` passes through untouched."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torchvision
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM, BoxList
from torch import Tensor
from torchvision.transforms import functional as F


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any, Any], tuple[Any, Any]]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Any, target: Any) -> tuple[Any, Any]:
        for transform in self.transforms:
            image, target = transform(image, target)
        return image, target

    def __repr__(self) -> str:
        return f"Compose({', '.join(type(t).__name__ for t in self.transforms)})"


class Resize:
    """Scales the image so that its shorter side has a size drawn from ``min_size`` and its longer at most ``max_size``
    (give or take the rounding of the shorter side).

    Args:
        min_size: pixels, or several to draw from.
        max_size: pixels; None: no limit.
    """

    def __init__(self, min_size: int | Sequence[int], max_size: int | None) -> None:
        self.min_size = tuple(min_size) if isinstance(min_size, (list, tuple)) else (min_size,)
        self.max_size = max_size

    def get_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) for an image of (width, height); the longer side is rounded down."""
        width, height = image_size
        short, long = min(image_size), max(image_size)
        size = random.choice(self.min_size)
        if self.max_size is not None and float(long) / float(short) * size > self.max_size:
            size = int(round(self.max_size * float(short) / float(long)))
        if short == size:
            return height, width
        if width < height:
            return int(size * height / width), size
        return size, int(size * width / height)

    def __call__(self, image: Any, target: Any) -> tuple[Any, Any]:
        image = F.resize(image, list(self.get_size(image.size)))
        if isinstance(target, BoxList):
            target = target.resize(image.size)
        return image, target


class _RandomFlip:
    method: int

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def __call__(self, image: Any, target: Any) -> tuple[Any, Any]:
        if random.random() < self.prob:
            image = F.hflip(image) if self.method == FLIP_LEFT_RIGHT else F.vflip(image)
            if isinstance(target, BoxList):
                target = target.transpose(self.method)
        return image, target


class RandomHorizontalFlip(_RandomFlip):
    """Mirrors left and right with probability ``prob``."""

    method = FLIP_LEFT_RIGHT


class RandomVerticalFlip(_RandomFlip):
    """Mirrors top and bottom with probability ``prob``."""

    method = FLIP_TOP_BOTTOM


class ColorJitter:
    """torchvision's colour jitter; four zeros leave the image and the random generator alone."""

    def __init__(
        self, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0, hue: float = 0.0
    ) -> None:
        self.active = any((brightness, contrast, saturation, hue))
        self.color_jitter = torchvision.transforms.ColorJitter(brightness, contrast, saturation, hue)

    def __call__(self, image: Any, target: Any) -> tuple[Any, Any]:
        return (self.color_jitter(image) if self.active else image), target


class ToTensor:
    """PIL image to float32 (3, H, W) in 0..1."""

    def __call__(self, image: Any, target: Any) -> tuple[Tensor, Any]:
        return F.to_tensor(image), target


class Normalize:
    """(x - mean) / std per channel.

    ``to_bgr255`` first turns red, green, blue in 0..1 into blue, green, red in 0..255, by a multiplication in float32:
    detectors of this family were trained on exactly these values.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], to_bgr255: bool = True) -> None:
        self.mean = list(mean)
        self.std = list(std)
        self.to_bgr255 = to_bgr255

    def __call__(self, image: Tensor, target: Any) -> tuple[Tensor, Any]:
        if self.to_bgr255:
            image = image[[2, 1, 0]] * 255
        return F.normalize(image, mean=self.mean, std=self.std), target
