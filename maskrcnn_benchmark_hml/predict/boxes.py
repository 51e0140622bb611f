"""Boxes that are given with a picture, for PredCls and SGCls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GivenBoxes:
    """The boxes of one picture.

    Attributes:
        boxes: (N, 4) float64 corners x1, y1, x2, y2 in pixels of the displayed picture, inside it, with an extent.
        labels: N class names; None where the task finds the classes (SGCls).
    """

    boxes: np.ndarray
    labels: tuple[str, ...] | None = None
