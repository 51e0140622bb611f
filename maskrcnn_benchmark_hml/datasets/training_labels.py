"""How frequent each predicate is in the images that training uses, read from a dataset folder without a benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import HMLError
from .layout import DICTS_NAME, H5_NAME
from .reader import open_annotations, read_names
from .splits import split_images


def read_dataset_counts(folder: str | Path) -> tuple[list[str], dict[str, int]]:
    """Predicates in index order and their relation counts in the images that training uses of a dataset folder.

    Validation images are not counted: those with split 1, or else, as in SGB, the first training images with relations.
    The vocabulary file's own ``predicate_count`` is not used: it counts raw Visual Genome.

    Raises:
        HMLError: a file is missing or cannot be read, or a predicate index outside the vocabulary.
    """
    folder = Path(folder)
    h5_path = folder / H5_NAME
    (predicates,) = map(list, read_names(folder / DICTS_NAME, "predicate"))
    needed = ("split", "img_to_first_box", "img_to_first_rel", "img_to_last_rel", "predicates")
    with open_annotations(h5_path, needed) as file:
        train, _ = split_images(file, "train")
        first, last = file["img_to_first_rel"][:][train], file["img_to_last_rel"][:][train]
        labels = file["predicates"][:].reshape(-1)
    spans = [labels[low : high + 1] for low, high in zip(first, last)]
    chosen = np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)
    if chosen.size and not 1 <= chosen.min() <= chosen.max() <= len(predicates):
        raise HMLError(f"{h5_path} has a predicate index outside 1..{len(predicates)}; run hml data check {folder}")
    tally = np.bincount(chosen, minlength=len(predicates) + 1)
    return predicates, {name: int(tally[index]) for index, name in enumerate(predicates, 1)}
