"""Placeholder pictures: an image's boxes and labels drawn where its photograph is not at hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .mini_vg_draw import class_colour


def draw_placeholder(
    size: tuple[int, int], boxes: np.ndarray, labels: Sequence[int], names: Sequence[str]
) -> Image.Image:
    """Every box as a tinted rectangle with its class name, large ones first.

    Args:
        size: width and height of the picture in pixels.
        boxes: (n, 4) x1, y1, x2, y2 in pixels.
        labels: (n,) 1-based classes; the class decides the colour.
        names: the class names, ``names[0]`` belongs to class 1.
    """
    picture = Image.new("RGB", size, (200, 200, 200))
    draw = ImageDraw.Draw(picture, "RGBA")
    font = ImageFont.load_default()
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for i in np.argsort(-area, kind="stable"):
        x1, y1, x2, y2 = (int(c) for c in boxes[i])
        x2, y2 = max(x2 - 1, x1), max(y2 - 1, y1)
        colour = class_colour(int(labels[i]), 0.0)
        draw.rectangle((x1, y1, x2, y2), fill=(*colour, 130), outline=colour)
        draw.text((x1 + 2, y1 + 1), names[int(labels[i]) - 1], fill=(0, 0, 0), font=font)
    return picture
