"""The host's word-vector loader, without its download and with every format that gensim reads."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

import torch

from ..errors import HMLError
from ..method.vectors import WordVectors, load_vectors

logger = logging.getLogger("maskrcnn_benchmark_hml.compat")


class _Words:
    """Stands in for the host's dict word -> row: a known word is its own row key."""

    def __init__(self, vectors: WordVectors) -> None:
        self.vectors = vectors

    def get(self, word: str, default: Any = None) -> Any:
        return word if word in self.vectors else default

    def __contains__(self, word: object) -> bool:
        return word in self.vectors

    def __getitem__(self, word: str) -> str:
        if word not in self.vectors:
            raise KeyError(word)
        return word


class _Rows:
    """Stands in for the host's tensor of vectors, indexed by what :class:`_Words` returns."""

    def __init__(self, vectors: WordVectors) -> None:
        self.vectors = vectors

    def __getitem__(self, word: str) -> torch.Tensor:
        return torch.from_numpy(self.vectors[word].copy()).float()


@functools.lru_cache(maxsize=2)
def _cached(path: str, dim: int, stamp: int) -> WordVectors:
    return load_vectors(path, dim)


def load_word_vectors(root: str, wv_type: str = "glove.6B", dim: int | str = 300) -> tuple[Any, Any, int]:
    """What the host's function of this name returns: a mapping word -> key, rows by key, and their length.

    Args:
        root: the config's ``GLOVE_DIR``: a folder with ``<wv_type>.<dim>d.pt`` or ``.txt`` (the host's own names), or
            one file in any format of :func:`..method.vectors.load_vectors`, or ``""``: no vectors at all, so that the
            host draws every embedding from N(0, 1), as it does for single words that it does not find.
        wv_type: the stem of the file's name.
        dim: length of the vectors (``MODEL.ROI_RELATION_HEAD.EMBED_DIM``).
    Raises:
        HMLError: nothing there (the host would download 0.8 GB without asking), or vectors of another length.
    """
    length = int(str(dim).rstrip("d"))
    if not root:
        logger.warning("GLOVE_DIR is empty: word embeddings start from random numbers")
        return {}, torch.empty(0, length), length
    folder = Path(root).expanduser()
    names = [f"{wv_type}.{length}d.pt", f"{wv_type}.{length}d.txt"]
    candidates = [folder] if folder.is_file() else [folder / name for name in names]
    for path in candidates:
        if path.is_file():
            vectors = _cached(str(path), length, path.stat().st_mtime_ns)
            return _Words(vectors), _Rows(vectors), length
    raise HMLError(
        f"no word vectors of length {length} in GLOVE_DIR {root!r} (looked for {' and '.join(names)}); set GLOVE_DIR "
        'to a folder or file that has them, or to "" for random embeddings; nothing is downloaded'
    )


def download_free_word_vectors(module: Any) -> None:
    """Cures the silent 0.8 GB download from a dead link (utils_motifs.py, when GLOVE_DIR has no such file)."""
    module.load_word_vectors = load_word_vectors
