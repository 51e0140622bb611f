"""How frequent each predicate is in the images that training uses, read from a dataset folder without a benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import HMLError
from ..files import open_h5, read_json
from .layout import DICTS_NAME, H5_NAME, TRAIN, VALIDATION
from .reader import validation_size


def read_dataset_counts(folder: str | Path) -> tuple[list[str], dict[str, int]]:
    """Predicates in index order and their relation counts in the images that training uses of a dataset folder.

    Validation images are not counted: those with split 1, or else, as in SGB, the first training images with relations.
    The vocabulary file's own ``predicate_count`` is not used: it counts raw Visual Genome.

    Raises:
        HMLError: a file is missing or cannot be read, or a predicate index outside the vocabulary.
    """
    folder = Path(folder)
    h5_path, names_path = folder / H5_NAME, folder / DICTS_NAME
    if not names_path.is_file():
        raise HMLError(f"the vocabulary {names_path} does not exist; correct the path")
    vocabulary = read_json(names_path)
    if not h5_path.is_file():
        raise HMLError(f"{h5_path} does not exist; give a dataset folder (see: hml data --help)")
    try:
        names = {int(index): name for index, name in vocabulary["idx_to_predicate"].items()}
        predicates = [names[index] for index in range(1, len(names) + 1)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HMLError(f"{names_path} has no idx_to_predicate numbered from 1; run hml data check") from error
    try:
        with open_h5(h5_path) as file:
            split = file["split"][:]
            used = (split == TRAIN) & (file["img_to_first_box"][:] >= 0) & (file["img_to_first_rel"][:] >= 0)
            train = np.flatnonzero(used)
            if not (split == VALIDATION).any():  # without marked ones the first images are for validation
                train = train[validation_size(len(train), file.attrs.get("num_val_images")) :]
            first, last = file["img_to_first_rel"][:][train], file["img_to_last_rel"][:][train]
            labels = file["predicates"][:].reshape(-1)
    except KeyError as error:
        raise HMLError(f"{h5_path} lacks an array ({error}); run hml data check {folder}") from error
    spans = [labels[low : high + 1] for low, high in zip(first, last)]
    chosen = np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)
    if chosen.size and not 1 <= chosen.min() <= chosen.max() <= len(predicates):
        raise HMLError(f"{h5_path} has a predicate index outside 1..{len(predicates)}; run hml data check {folder}")
    tally = np.bincount(chosen, minlength=len(predicates) + 1)
    return predicates, {name: int(tally[index]) for index, name in enumerate(predicates, 1)}
