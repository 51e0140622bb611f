"""Initial embeddings of the object classes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from maskrcnn_benchmark_hml.method.vectors import find_vectors, load_vectors, random_vector

logger = logging.getLogger(__name__)


def obj_edge_vectors(names: Sequence[str], wv_dir: str, wv_type: str = "glove.6B", wv_dim: int = 300) -> Tensor:
    """(len(names), wv_dim) word vectors of class names.

    A name without a vector takes that of its longest word; failing that, normal numbers seeded by the name.

    Args:
        wv_dir: a folder or a file of word vectors (``find_vectors``), or ``""``: normal numbers for every name.
            Nothing is ever downloaded.

    Raises:
        HMLError: there is no such file, or its vectors have another length.
    """
    if not wv_dir:
        logger.info('GLOVE_DIR is "": class embeddings of length %d start from N(0, 1), seeded by the name', wv_dim)
        return torch.stack([random_vector(name, wv_dim) for name in names])
    longest = {name: max(name.split(" "), key=len) for name in names}
    vectors = load_vectors(find_vectors(wv_dir, wv_type, wv_dim), wv_dim, words={*longest, *longest.values()})
    rows, drawn = [], []
    for name in names:
        word = name if name in vectors else longest[name]
        if word in vectors:
            rows.append(torch.from_numpy(vectors[word].copy()))
        else:
            rows.append(random_vector(name, wv_dim))
            drawn.append(name)
    if drawn:
        logger.info("no vector in %s, drawn from N(0, 1) instead: %s", vectors.name, ", ".join(drawn))
    return torch.stack(rows)

