"""Which triplets of classes never occur in training (zero-shot recall, Lu et al. 2016), from an annotation file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import HMLError
from .reader import open_annotations
from .splits import split_images
from .stored_rows import rows_to_images

_ARRAYS = (
    "split", "img_to_first_box", "img_to_first_rel", "img_to_last_rel", "labels", "relationships", "predicates",
)  # fmt: skip


def training_triplets(path: str | Path, num_val_im: int | None = None) -> np.ndarray:
    """(t, 3) the distinct subject class, object class and predicate of the training images.

    All relations count, boxes that touch or not; validation images do not.

    Args:
        num_val_im: as for :func:`~maskrcnn_benchmark_hml.datasets.reader.split_images`.
    """
    return _by_training(path, num_val_im)[0]


def zero_shot_triplets(path: str | Path, num_val_im: int | None = None) -> np.ndarray:
    """(z, 3) the distinct triplets of the other images that no training image has; arguments as above."""
    training, others = _by_training(path, num_val_im)
    # All training triplets twice: what occurs once then is of other images alone.
    distinct, count = np.unique(np.concatenate([training, training, others]), axis=0, return_counts=True)
    return distinct[count == 1]


def _by_training(path: str | Path, num_val_im: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The distinct triplets of the training images, and those of all other images."""
    with open_annotations(path, _ARRAYS) as file:
        training, _ = split_images(file, "train", num_val_im=num_val_im)
        classes, pairs, predicates = (file[name][:] for name in ("labels", "relationships", "predicates"))
        first, last = file["img_to_first_rel"][:], file["img_to_last_rel"][:]
    image = rows_to_images(first, last, len(predicates))
    pairs, predicates, image = pairs[image >= 0], predicates[image >= 0], image[image >= 0]
    if ((pairs < 0) | (pairs >= len(classes))).any():
        raise HMLError(f"{path} has a relation of an object that it lacks; run hml data check {Path(path).parent}")
    triplets = np.column_stack([classes[pairs, 0], predicates[:, 0]]).astype(np.int64)
    used = np.isin(image, training)
    return np.unique(triplets[used], axis=0), np.unique(triplets[~used], axis=0)
