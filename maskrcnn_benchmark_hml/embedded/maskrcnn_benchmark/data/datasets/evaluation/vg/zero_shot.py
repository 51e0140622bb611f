"""Which triplets of classes never occur in training (zero-shot recall, Lu et al. 2016)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn_benchmark_hml.datasets.zero_shot import training_triplets
from maskrcnn_benchmark_hml.metrics.matching import triplet_key


def seen_triplets(dataset: Any) -> np.ndarray:
    """Sorted keys (``triplet_key``) of every triplet in the training images of the dataset's file.

    All relations count, boxes that touch or not; validation images do not.
    """
    file = Path(dataset.roidb_file)
    num_val_im = None if dataset.split == "test" else dataset.num_val_im
    return _read(file, num_val_im, file.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read(file: Path, num_val_im: int | None, _changed: int) -> np.ndarray:
    triplets = training_triplets(file, num_val_im)
    return np.unique(triplet_key(triplets, np.arange(int(triplets.max(initial=0)) + 1)))
