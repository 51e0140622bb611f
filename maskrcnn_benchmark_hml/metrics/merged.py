"""Merged recall (sec. 4.4 of the paper): a fine prediction counts as its group's coarse predicate.

A model that answers "parked on" where the annotation says "on" is not wrong, but R@K says so. Fold every predicted
predicate p into c(p), the most frequent predicate of its group; an annotated relation of a coarse predicate is then
found at K if one of the K best graph-constrained predictions has its objects and c(p) = the annotated predicate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .matches import SplitMatches
from .matching import KS, NEVER


@dataclass(frozen=True)
class MergedRecall:
    """Fractions; NaN where the split has no such relation.

    Attributes:
        plain, merged: {K: {coarse class: recall}} of the relations annotated with each coarse predicate, with the
            predictions as they are and with them folded. As in mR@K, averaged over the images that have the predicate.
            Only groups of several predicates are listed: folding cannot change the others.
        overall: {K: recall} with predictions and annotations folded, averaged over images as R@K is.
    """

    plain: dict[int, dict[int, float]]
    merged: dict[int, dict[int, float]]
    overall: dict[int, float]


def merged_recall(matches: SplitMatches, coarse: np.ndarray) -> MergedRecall:
    """Merged recall of a split.

    Args:
        coarse: (classes,) the coarse class of each class; a coarse class is its own, the background too.
    """
    annotated, predicted = matches.predicate, matches.predicted
    wanted = annotated[matches.relation]
    first = _first(matches, predicted == wanted)
    folded = _first(matches, coarse[predicted] == coarse[wanted])
    groups = np.flatnonzero(np.bincount(coarse[1:], minlength=len(coarse)) > 1)
    rows = {int(c): np.flatnonzero(annotated == c) for c in groups}

    def recalls(ranks: np.ndarray, k: int) -> dict[int, float]:
        return {c: _mean_over_images(matches.image[row], ranks[row] < k) for c, row in rows.items()}

    return MergedRecall(
        {k: recalls(first, k) for k in KS},
        {k: recalls(folded, k) for k in KS},
        {k: _mean_over_images(matches.image, folded < k) for k in KS},
    )


def _first(matches: SplitMatches, counts: np.ndarray) -> np.ndarray:
    """(r,) the best rank among the matches of each relation that count, or ``NEVER``."""
    result = np.full(len(matches.predicate), NEVER)
    np.minimum.at(result, matches.relation[counts], matches.rank[counts].astype(np.int64))
    return result


def _mean_over_images(image: np.ndarray, found: np.ndarray) -> float:
    """Mean over images of the share found; NaN for no image."""
    if not len(image):
        return float("nan")
    _, inverse, count = np.unique(image, return_inverse=True, return_counts=True)
    return float(np.mean(np.bincount(inverse, weights=found, minlength=len(count)) / count))
