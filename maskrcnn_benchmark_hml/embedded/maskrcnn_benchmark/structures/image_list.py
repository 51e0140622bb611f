"""A batch of images of different sizes as one zero-padded tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class ImageList:
    """Padded images and their true sizes.

    Args:
        tensors: (N, C, H, W).
        image_sizes: N pairs (height, width) in pixels before padding.
    """

    def __init__(self, tensors: Tensor, image_sizes: list[Any]) -> None:
        self.tensors = tensors
        self.image_sizes = image_sizes

    def to(self, *args: Any, **kwargs: Any) -> ImageList:
        return ImageList(self.tensors.to(*args, **kwargs), self.image_sizes)


def to_image_list(tensors: ImageList | Tensor | Sequence[Tensor], size_divisible: int = 0) -> ImageList:
    """Pads images on the right and at the bottom to one common size.

    Args:
        tensors: an ``ImageList`` (returned as it is), a tensor (C, H, W) or (N, C, H, W), or a sequence of (C, H, W).
        size_divisible: if positive, height and width are rounded up to a multiple of it.
    """
    if isinstance(tensors, ImageList):
        return tensors
    if isinstance(tensors, Tensor):
        images = list(tensors) if tensors.dim() == 4 else [tensors]
    elif isinstance(tensors, (list, tuple)):
        images = list(tensors)
    else:
        raise TypeError(f"images are a {type(tensors).__name__}; give tensors")
    step = max(size_divisible, 1)
    channels = images[0].shape[0]
    height, width = (-(-max(image.shape[axis] for image in images) // step) * step for axis in (1, 2))
    batch = images[0].new_zeros(len(images), channels, height, width)
    for image, slot in zip(images, batch):
        slot[:, : image.shape[1], : image.shape[2]].copy_(image)
    return ImageList(batch, [torch.Size(image.shape[-2:]) for image in images])
