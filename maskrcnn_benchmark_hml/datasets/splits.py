"""Which images of an annotation file are training, validation and test images."""

from __future__ import annotations

import h5py
import numpy as np

from .layout import TEST, TRAIN, VALIDATION


def split_images(
    file: h5py.File, split: str, num_im: int = -1, num_val_im: int | None = None, with_relations: bool = True
) -> tuple[np.ndarray, int | None]:
    """The images of a split that have a box and, if asked for, a relation.

    Validation images are those that the file marks by split 1; where it marks none, or ``num_val_im`` is given, the
    first ``num_val_im`` of its training split.

    Args:
        split: train, val or test.
        num_im: use only the first images of the split in the file; -1: all.
        num_val_im: None: as the file says, else by its size (:func:`validation_size`).

    Returns:
        Their indices, and how many images at the front of the training split are the validation split; None when it was
        not given and the split is test, or the file itself marks validation images.
    """
    flags = file["split"][:]
    marked = num_val_im is None and bool((flags == VALIDATION).any())
    selected = flags == {"train": TRAIN, "val": VALIDATION if marked else TRAIN, "test": TEST}[split]
    selected &= file["img_to_first_box"][:] >= 0
    if with_relations:
        selected &= file["img_to_first_rel"][:] >= 0
    images = np.flatnonzero(selected)
    images = images[:num_im] if num_im > -1 else images
    if split != "test" and not marked:
        if num_val_im is None:
            num_val_im = validation_size(len(images), file.attrs.get("num_val_images"))
        if num_val_im > 0:
            images = images[:num_val_im] if split == "val" else images[num_val_im:]
    return images, num_val_im


def validation_size(n_train: int, stored: int | None = None) -> int:
    """How many images, from the front of the training split, are the validation split.

    Args:
        n_train: images of the training split that have relations.
        stored: the h5 file's root attribute ``num_val_images``, if it has one.

    Returns:
        ``stored``; without it the benchmark's 5000 for a dataset of Visual Genome's size, else a tenth.
    """
    if stored is not None:
        return int(stored)
    return 5000 if n_train > 10000 else max(1, n_train // 10)
