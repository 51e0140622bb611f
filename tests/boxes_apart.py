"""A mini-VG in which no two boxes of a picture touch, as in pictures of things side by side. Not a test."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from maskrcnn_benchmark_hml.datasets.format import H5_NAME, IMAGES_NAME
from maskrcnn_benchmark_hml.datasets.mini_vg import SMALLEST, make_mini_vg


def make_boxes_apart(folder: Path) -> Path:
    """The smallest mini-VG with its boxes in a row along the longer side of each picture."""
    make_mini_vg(folder, images=SMALLEST, seed=0)
    entries = json.loads((folder / IMAGES_NAME).read_text())
    with h5py.File(folder / H5_NAME, "r+") as file:
        rows = zip(file["img_to_first_box"][:], file["img_to_last_box"][:], entries)
        for first, last, entry in rows:
            count = int(last) - int(first) + 1
            if first < 0:
                continue
            step = min(80, 1000 // count)
            boxes = np.array([[step // 2 + step * i, 100, step - 12, step - 12] for i in range(count)])
            if entry["height"] > entry["width"]:
                boxes = boxes[:, [1, 0, 2, 3]]
            file["boxes_1024"][first : last + 1] = boxes
    return folder
