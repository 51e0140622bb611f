"""Samples to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list


class BatchCollator:
    """Pads the images of a batch to one tensor whose sides are multiples of ``size_divisible`` pixels."""

    def __init__(self, size_divisible: int = 0) -> None:
        self.size_divisible = size_divisible

    def __call__(self, batch: Sequence[tuple[Any, Any, int]]) -> tuple[ImageList, tuple, tuple[int, ...]]:
        images, targets, indices = zip(*batch)
        return to_image_list(images, self.size_divisible), targets, tuple(int(index) for index in indices)
