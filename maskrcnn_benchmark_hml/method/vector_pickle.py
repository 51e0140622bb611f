"""gensim's saved KeyedVectors, and pickled dictionaries of vectors, read without running what a pickle could run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import HMLError
from ..files import load_pickle, why_unreadable
from .vector_table import Rows, pick, stacked


class _Plain:
    """Stands in for every class of gensim: takes the attributes, has no behaviour."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _stand_in(module: str, name: str) -> type | None:
    return _Plain if module.startswith("gensim.models.") or (module, name) == ("builtins", "object") else None


def read_pickle(path: Path, words: frozenset[str] | None) -> Rows:
    """Words and vectors of gensim's ``KeyedVectors.save``, or of a pickled dict word -> vector.

    gensim puts a large table into ``<path>.vectors.npy`` beside the file; only the wanted rows of it are read.

    Raises:
        HMLError: it holds other objects, is cut short, or its second file is missing.
    """
    try:
        content = load_pickle(path, classes=_stand_in)
    except HMLError as error:
        what = getattr(error, "what", error)
        raise HMLError(_convert(path, f"names {what}, which is not loaded because it could run code")) from error
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, ImportError, IndexError) as error:
        raise HMLError(why_unreadable(path, error, "a pickle file")) from error
    if isinstance(content, dict) and all(isinstance(row, np.ndarray) and row.ndim == 1 for row in content.values()):
        chosen = {word: row for word, row in content.items() if words is None or word in words}
        lengths = {len(row) for row in chosen.values()}
        if len(lengths) > 1:
            raise HMLError(f"{path} holds vectors of different lengths ({sorted(lengths)}); save those of one length")
        return stacked(chosen, path, words)
    state = getattr(content, "__dict__", {})
    index = state.get("key_to_index")
    if index is None and isinstance(state.get("vocab"), dict):  # gensim before 4
        index = {word: getattr(entry, "index", None) for word, entry in state["vocab"].items()}
    if not isinstance(index, dict):
        raise HMLError(_convert(path, "is a pickle, but not of gensim's KeyedVectors"))
    return pick(index, _matrix(path, state), path, words)


def _matrix(path: Path, state: dict[str, Any]) -> np.ndarray:
    inside = state.get("vectors", state.get("syn0"))
    if isinstance(inside, np.ndarray):
        return inside
    for name in ("vectors", "syn0"):
        beside = Path(f"{path}.{name}.npy")
        if beside.is_file():
            try:
                return np.load(beside, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError) as error:
                raise HMLError(why_unreadable(beside, error, "a numpy .npy file")) from error
    if "vectors_vocab" in state:
        raise HMLError(_convert(path, "holds fastText's vectors in gensim's own form"))
    raise HMLError(f"{path} is one of gensim's two files; put {path.name}.vectors.npy into the same folder")


def _convert(path: Path, matter: str) -> str:
    return (
        f'{path} {matter}; if you trust it, save its vectors as text, for a KeyedVectors: python -c "from '
        f"gensim.models import KeyedVectors as K; K.load('{path.name}').save_word2vec_format('{path.stem}.vec')\", "
        "for a whole model the same with its .wv"
    )
