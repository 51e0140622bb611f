"""What was predicted on every annotated pair of a split: small enough to keep, enough for any recall by predicate.

Predictions on 26,000 images take gigabytes; their matches with the annotation a few bytes per relation. Recall with
predicates folded together, of any predicate tree, follows from them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import HMLError
from ..files import written_aside
from .recall import ImageRanks

MATCHES_FILE = "matches.npz"


@dataclass(frozen=True)
class SplitMatches:
    """Annotated relations of a split and the graph-constrained predictions on their pairs.

    Attributes:
        task: predcls, sgcls or sgdet.
        predicates: names by class index, background first.
        image: (r,) int32, for each annotated relation the number of its image, ascending. Images without a relation
            or without a prediction have no entry and do not count.
        predicate: (r,) int16, its class.
        relation: (m,) int32, for each match the annotated relation (a row of ``image``), ascending.
        rank: (m,) uint8, the prediction's rank in its image, 0 to 99.
        predicted: (m,) int16, the class that was predicted.
    """

    task: str
    predicates: tuple[str, ...]
    image: np.ndarray
    predicate: np.ndarray
    relation: np.ndarray
    rank: np.ndarray
    predicted: np.ndarray

    @classmethod
    def collect(cls, task: str, predicates: Sequence[str], numbers: Sequence[int], images: Sequence[ImageRanks]):
        """From the ranks of the images with these numbers (ascending)."""
        sizes = np.array([len(image.predicate) for image in images], dtype=np.int64)
        start = np.cumsum(sizes) - sizes
        return cls(
            task,
            tuple(predicates),
            np.repeat(np.asarray(numbers, dtype=np.int32), sizes),
            _joined([image.predicate for image in images], np.int16),
            _joined([image.matches.relation + first for image, first in zip(images, start)], np.int32),
            _joined([image.matches.rank for image in images], np.uint8),
            _joined([image.matches.predicate for image in images], np.int16),
        )

    def save(self, path: Path) -> None:
        """Write the file; HMLError if its place cannot be written."""
        with written_aside(path, "result") as aside, aside.open("wb") as file:
            arrays: dict[str, Any] = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> SplitMatches:
        """HMLError if the file is torn or something else."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                content = {field.name: stored[field.name] for field in fields(cls)}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise HMLError(f"{path} is no readable {MATCHES_FILE}; run the test script again") from error
        content["task"], content["predicates"] = str(content["task"]), tuple(content["predicates"].tolist())
        return cls(**content)


def _joined(parts: Sequence[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(parts).astype(kind) if parts else np.zeros(0, dtype=kind)
