"""Placeholder pictures: an image's boxes and labels drawn where its photograph is not at hand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from ..errors import HMLError
from ..files import written_aside
from .check import check_arrays
from .layout import BOX_SCALE, PHOTOS_NAME
from .mini_vg_draw import class_colour
from .reader import load_raw
from .stored_rows import stored_corners


def draw_placeholder(
    size: tuple[int, int], boxes: np.ndarray, labels: Sequence[int] | np.ndarray, names: Sequence[str]
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


def fill_placeholders(folder: Path | str) -> tuple[int, int]:
    """Draw a placeholder for every image of a dataset folder whose picture is missing; none is replaced.

    A placeholder has the size that image_data.json gives. An interrupted call is continued by the next one.

    Returns:
        how many pictures were drawn, and how many were there.

    Raises:
        HMLError: the annotations have a fault, or the folder cannot be written.
    """
    raw = load_raw(folder)
    names = check_arrays(raw).objects
    photos = raw.folder / PHOTOS_NAME
    try:
        photos.mkdir(exist_ok=True)
    except OSError as error:
        raise HMLError(
            f"the folder {photos} cannot be made ({error.strerror}); give a dataset folder that you can write to"
        ) from error
    present = {Path(name).stem for name in os.listdir(photos)}
    missing = [i for i, entry in enumerate(raw.images) if str(entry["image_id"]) not in present]
    corners = stored_corners(raw["boxes_1024"])
    for i in tqdm(missing, desc="placeholders", unit="image", disable=None):
        size = int(raw.images[i]["width"]), int(raw.images[i]["height"])
        first, last = int(raw["img_to_first_box"][i]), int(raw["img_to_last_box"][i])
        rows = slice(first, last + 1) if first >= 0 else slice(0, 0)
        boxes = np.clip(corners[rows] * (max(size) / BOX_SCALE), 0, [*size, *size])
        picture = draw_placeholder(size, boxes, raw["labels"][rows, 0], names)
        path = photos / f"{raw.images[i]['image_id']}.jpg"
        with written_aside(path, "picture") as aside:
            picture.save(aside, "JPEG", quality=90)
    return len(missing), len(raw.images) - len(missing)
