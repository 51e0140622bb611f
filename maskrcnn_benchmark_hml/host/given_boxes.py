"""The boxes that a user gives for a picture, as the host's annotations: PredCls and SGCls take them from there."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import HMLError

_ATTRIBUTES = 10  # of a box, as in the annotation files


class Given(Protocol):
    """The given boxes of a picture: ``predict.boxes.GivenBoxes``."""

    @property
    def boxes(self) -> Any:
        """(N, 4) x1, y1, x2, y2 in pixels of the picture."""

    @property
    def labels(self) -> Sequence[str] | None:
        """N names of object classes, or None."""


def rows_of(given: Given) -> Tensor:
    """(N, 4) float32.

    Raises:
        HMLError: another shape, or values that are no finite numbers.
    """
    boxes = torch.as_tensor(given.boxes, dtype=torch.float32)
    boxes = boxes.reshape(-1, 4) if boxes.numel() == 0 else boxes
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise HMLError(f"the given boxes have the shape {tuple(boxes.shape)}; give four numbers x1, y1, x2, y2 each")
    if not torch.isfinite(boxes).all():
        raise HMLError("the given boxes hold NaN or infinity; give finite numbers x1, y1, x2, y2 in pixels")
    return boxes


def check_inside(boxes: Tensor, size: tuple[int, int]) -> None:
    """Refuse a box of which nothing lies in the picture; ``size`` is (width, height) in pixels.

    Raises:
        HMLError: names the first.
    """
    right, bottom = (side - 1 for side in size)
    limits = boxes.new_tensor([right, bottom] * 2)
    cut = boxes.clamp(min=0).minimum(limits)
    empty = ((cut[:, 2] <= cut[:, 0]) | (cut[:, 3] <= cut[:, 1])).nonzero().flatten().tolist()
    if empty:
        box = ", ".join(f"{value:g}" for value in boxes[empty[0]].tolist())
        raise HMLError(f"given box {empty[0]} ({box}) covers nothing of the picture of {size[0]} x {size[1]} pixels; "
                       "give corners x1 < x2, y1 < y2 in pixels of the picture as it is displayed")


def class_indices(names: Sequence[str], vocabulary: Sequence[str]) -> list[int]:
    """The classes of names.

    Args:
        vocabulary: all names in index order, background first.

    Raises:
        HMLError: a name that is not in it; the nearest one is named.
    """
    index = {name: number for number, name in enumerate(vocabulary) if number}
    for name in names:
        if name not in index:
            raise HMLError(f"the run knows no object class {str(name)!r}; {nearest_class(str(name), list(index))}")
    return [index[name] for name in names]


def nearest_class(name: str, names: Sequence[str]) -> str:
    """What to say of a class name that is not among ``names`` (without the background)."""
    near = difflib.get_close_matches(name.lower(), names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"its classes are {', '.join(names[:5])} ..."


def as_target(boxes: Tensor, classes: Sequence[int], size: tuple[int, int]) -> Any:
    """The host's ``BoxList`` with the fields of an annotation: ``labels``, ``attributes`` and ``relation``, all without
    content but for the labels; boxes are cut to the picture."""
    module = importlib.import_module("maskrcnn_benchmark.structures.bounding_box")
    count = len(boxes)
    target = module.BoxList(boxes.clone(), size, "xyxy")
    target.add_field("labels", torch.tensor(list(classes), dtype=torch.int64))
    target.add_field("attributes", torch.zeros((count, _ATTRIBUTES), dtype=torch.int64))
    target.add_field("relation", torch.zeros((count, count), dtype=torch.int64), is_triplet=True)
    return target.clip_to_image(remove_empty=False)
