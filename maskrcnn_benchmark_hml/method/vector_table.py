"""What every reader of word vectors returns: word -> row, and the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import HMLError


def not_empty(
    index: dict[str, int], matrix: np.ndarray, path: Path, words: frozenset[str] | None
) -> tuple[dict[str, int], np.ndarray]:
    """The table as it is; HMLError if no word is in it."""
    if not index:
        if not words:
            raise HMLError(f"{path} holds no vector; use other vectors")
        some = ", ".join(sorted(words)[:10]) + (", ..." if len(words) > 10 else "")
        raise HMLError(f"{path} has none of the {len(words)} words asked for ({some}); use vectors of their language")
    return index, matrix


def pick(
    index: dict[str, int], matrix: Any, path: Path, words: frozenset[str] | None
) -> tuple[dict[str, int], np.ndarray]:
    """The wanted rows of a whole table (a tensor, an array or a memory map); HMLError if the two do not fit."""
    shape = getattr(matrix, "shape", ())
    whole = all(isinstance(row, int) and 0 <= row < (shape or (0,))[0] for row in index.values())
    if len(shape) != 2 or not whole:
        raise HMLError(f"the table in {path} does not fit its words: it is damaged or belongs to another file")
    chosen = [word for word in index if words is None or word in words]
    rows = matrix[[index[word] for word in chosen]]
    rows = rows.to(torch.float32).numpy() if torch.is_tensor(rows) else np.asarray(rows, dtype=np.float32)
    return not_empty({word: i for i, word in enumerate(chosen)}, rows, path, words)
