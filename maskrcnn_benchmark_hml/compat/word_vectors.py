"""The host's word-vector loader, without its download and with every format that ``method.vectors`` reads."""

from __future__ import annotations

import contextvars
import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..method.vectors import WordVectors, find_vectors, load_vectors, random_vector

logger = logging.getLogger("maskrcnn_benchmark_hml.compat")

# The words that the host function now running will ask for; None: unknown, all of the file are read.
_asked: contextvars.ContextVar[frozenset[str] | None] = contextvars.ContextVar("words_asked_for", default=None)


class _Words:
    """Stands in for the host's dict word -> row: a known word is its own row key."""

    def __init__(self, vectors: WordVectors | _RandomVectors) -> None:
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

    def __init__(self, vectors: WordVectors | _RandomVectors) -> None:
        self.vectors = vectors

    def __getitem__(self, word: str) -> torch.Tensor:
        return torch.from_numpy(self.vectors[word].copy()).float()


class _RandomVectors:
    """Stands in for word vectors where there are none: every word has a random one.

    SGB draws its own for a word that is not found, but forks divide by the number of words found (0 / 0).
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str)

    def __getitem__(self, word: str) -> np.ndarray:
        return random_vector(word, self.dim).numpy()


@functools.lru_cache(maxsize=2)
def _cached(path: str, dim: int, words: frozenset[str] | None, stamp: int) -> WordVectors:
    return load_vectors(path, dim, words=words)


def load_word_vectors(root: str, wv_type: str = "glove.6B", dim: int | str = 300) -> tuple[Any, Any, int]:
    """What the host's function of this name returns: a mapping word -> key, rows by key, and their length.

    Args:
        root: the config's ``GLOVE_DIR``: a folder or a file as in :func:`..method.vectors.find_vectors`, in any
            format of :func:`..method.vectors.load_vectors`, or ``""``: every word has a vector from N(0, 1), which
            depends on the word alone.
        wv_type: the stem of the file's name.
        dim: length of the vectors (``MODEL.ROI_RELATION_HEAD.EMBED_DIM``).
    Raises:
        HMLError: nothing there (the host would download 0.8 GB without asking), or vectors of another length.
    """
    length = int(str(dim).rstrip("d"))
    if not root:
        logger.warning("GLOVE_DIR is empty: word embeddings start from random numbers")
        drawn = _RandomVectors(length)
        return _Words(drawn), _Rows(drawn), length
    path = find_vectors(root, wv_type, length)
    vectors = _cached(str(path), length, _asked.get(), path.stat().st_mtime_ns)
    return _Words(vectors), _Rows(vectors), length


def _naming_words(function: Callable) -> Callable:
    """A host function with a list ``names``: while it runs, those names and their words are all that is read."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def named(*args: Any, **kwargs: Any) -> Any:
        names = signature.bind(*args, **kwargs).arguments["names"]
        token = _asked.set(frozenset(word for name in names for word in (name, *name.split(" ")) if word))
        try:
            return function(*args, **kwargs)
        finally:
            _asked.reset(token)

    return named


def download_free_word_vectors(module: Any) -> None:
    """Cures the silent 0.8 GB download from a dead link (utils_motifs.py, when GLOVE_DIR has no such file).

    Functions of the module with a parameter ``names`` (``obj_edge_vectors``) read the vectors of those names alone.
    """
    module.load_word_vectors = load_word_vectors
    for name, function in list(vars(module).items()):
        if inspect.isfunction(function) and not hasattr(function, "__wrapped__"):
            if "names" in inspect.signature(function).parameters:
                setattr(module, name, _naming_words(function))
