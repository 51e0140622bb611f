"""What every reader of word vectors returns: word -> row, and the rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import HMLError

Rows = tuple[dict[str, int], np.ndarray]
"""Word -> row, and float32 (words, dim)."""


def stacked(rows: Mapping[str, np.ndarray], path: Path, words: frozenset[str] | None) -> Rows:
    """The vectors of the words as a table; HMLError if there is none."""
    check_not_empty(rows, path, words)
    return {word: i for i, word in enumerate(rows)}, np.stack(list(rows.values())).astype(np.float32, copy=False)


def check_not_empty(found: Collection[str], path: Path, words: frozenset[str] | None) -> None:
    """HMLError if no word was found."""
    if found:
        return
    if not words:
        raise HMLError(f"{path} holds no vector; use other vectors")
    some = ", ".join(sorted(words)[:10]) + (", ..." if len(words) > 10 else "")
    raise HMLError(f"{path} has none of the {len(words)} words asked for ({some}); use vectors of their language")


def pick(index: dict[str, int], matrix: Any, path: Path, words: frozenset[str] | None) -> Rows:
    """The wanted rows of a whole table (a tensor, an array or a memory map); HMLError if the two do not fit."""
    shape = getattr(matrix, "shape", ())
    whole = all(isinstance(row, int) and 0 <= row < (shape or (0,))[0] for row in index.values())
    if len(shape) != 2 or not whole:
        raise HMLError(f"the table in {path} does not fit its words: it is damaged or belongs to another file")
    chosen = [word for word in index if words is None or word in words]
    check_not_empty(chosen, path, words)
    rows = matrix[[index[word] for word in chosen]]
    rows = rows.to(torch.float32).numpy() if torch.is_tensor(rows) else np.asarray(rows, dtype=np.float32)
    return {word: i for i, word in enumerate(chosen)}, rows
