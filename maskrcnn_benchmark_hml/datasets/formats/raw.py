"""What a source says about an image, before a vocabulary is chosen: names as indices, boxes not clipped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .names import Names
from .tally import Tally

_NUMBERS = frozenset((int, float))


@dataclass
class RawImage:
    """The annotation of one image: every object once, its relations by row.

    Args:
        source_id: the image's id in its source, as text.
        file_name: the picture's name in its source.
        width, height: in pixels.
        corners: (n, 4) x1, y1, x2, y2 in pixels.
        names: (n,) the indices of each object's names, at least one.
        relations: (r, 3) subject, object (rows of ``corners``), predicate (an index), as often as the source has them.
        attributes: (n,) indices of attributes, or empty if the source has none.
        dropped: rows that are left out -> the reason.
    """

    source_id: str
    file_name: str
    width: int
    height: int
    corners: np.ndarray
    names: list[tuple[int, ...]]
    relations: np.ndarray
    attributes: list[tuple[int, ...]] = field(default_factory=list)
    dropped: dict[int, str] = field(default_factory=dict)


@dataclass
class Found:
    """What a reader met: names, and its counts."""

    objects: Names = field(default_factory=Names)
    predicates: Names = field(default_factory=Names)
    attributes: Names = field(default_factory=Names)
    tally: Tally = field(default_factory=Tally)


def box_of(entry: dict[str, Any]) -> tuple[float, ...] | None:
    """x1, y1, x2, y2 of an entry with x, y, w, h; None if these are not four numbers."""
    x, y, w, h = entry.get("x"), entry.get("y"), entry.get("w"), entry.get("h")
    if not {type(x), type(y), type(w), type(h)} <= _NUMBERS:
        return None
    return x, y, x + w, y + h  # type: ignore[operator,return-value]


def relation_table(relations: list[tuple[int, int, int]]) -> np.ndarray:
    """(r, 3) as an array, which takes a tenth of the memory."""
    return np.array(relations, dtype=np.int32).reshape(-1, 3)
