"""At which rank a ranked list of predicted triplets first finds each annotated triplet of one image.

Every recall at K follows from these ranks: an annotated triplet is found at K when its rank is below K. A prediction
matches when subject class, predicate and object class are equal and both boxes overlap with IoU >= the threshold
(Lu et al. 2016). K goes up to 100, so a match behind the first 100 predictions is no match.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .choices import KS

NEVER = np.iinfo(np.int64).max
"""Rank of a triplet that no prediction matches."""

DEEPEST = max(KS)
"""Only so many predictions, the best, are looked at; without the graph constraint, so many (pair, predicate)s."""


@dataclass(frozen=True)
class Objects:
    """Boxes (n, 4) float32 x1, y1, x2, y2, inclusive; classes (n,); scores (n,) of the classes."""

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class PairMatches:
    """Predictions on an annotated pair, one entry each: the annotated relation, the rank and the predicate predicted.

    (m,) int32, uint8, int16, ordered by relation, then rank.
    """

    relation: np.ndarray
    rank: np.ndarray
    predicate: np.ndarray


def pairwise_iou(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """(n, m) IoU of inclusive boxes (n, 4) and (m, 4)."""
    low = np.maximum(one[:, None, :2], two[None, :, :2])
    high = np.minimum(one[:, None, 2:], two[None, :, 2:])
    side = (high - low + 1).clip(min=0)
    shared = side[..., 0] * side[..., 1]
    area_one, area_two = ((b[:, 2] - b[:, 0] + 1) * (b[:, 3] - b[:, 1] + 1) for b in (one, two))
    return shared / (area_one[:, None] + area_two - shared)


def triplet_key(triplets: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(p,) int64, one number per (subject class, object class, predicate) of ``triplets`` (p, 3)."""
    subject, target = classes[triplets[:, 0]].astype(np.int64), classes[triplets[:, 1]].astype(np.int64)
    return (subject << 42) + (target << 21) + triplets[:, 2]


class Matcher:
    """Ranks for one image.

    Args:
        annotated: objects of the annotation, and ``relations`` (g, 3) subject, object, predicate.
        predicted: objects of the prediction.
        iou_threshold: both boxes of a match must reach it.
    """

    def __init__(
        self, annotated: Objects, relations: np.ndarray, predicted: Objects, iou_threshold: float
    ) -> None:
        self.relations = relations
        self.wanted = triplet_key(relations, annotated.classes)
        self._predicted = predicted
        self._near = pairwise_iou(annotated.boxes, predicted.boxes) >= iou_threshold

    def ranks(self, triplets: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
        """(g,) rank of the first match of each annotated triplet, from 0, or ``NEVER``.

        Args:
            triplets: (p, 3) subject, object, predicate, best first.
            counted: (p,) bool; the others are left out before ranks are given.
        """
        triplets = (triplets if counted is None else triplets[counted])[:DEEPEST]
        offered = triplet_key(triplets, self._predicted.classes)
        wanted, rank = self._near_ones(self.wanted[:, None] == offered, triplets)
        return _first(wanted, rank, len(self.relations))

    def any_predicate(self, triplets: np.ndarray) -> PairMatches:
        """All matches but for the predicate: both classes equal, both boxes near.

        Args:
            triplets: (p, 3) subject, object, predicate, best first.
        """
        triplets = triplets[:DEEPEST]
        offered = triplet_key(triplets, self._predicted.classes) - triplets[:, 2]
        pairs = self.wanted - self.relations[:, 2]
        wanted, rank = self._near_ones(pairs[:, None] == offered, triplets)
        predicted = triplets[rank, 2].astype(np.int16)
        return PairMatches(wanted.astype(np.int32), rank.astype(np.uint8), predicted)

    def first_with_predicate(self, matches: PairMatches) -> np.ndarray:
        """(g,) what ``ranks`` gives, from ``any_predicate`` of the same triplets."""
        same = matches.predicate == self.relations[matches.relation, 2]
        return _first(matches.relation[same], matches.rank[same], len(self.relations))

    def _near_ones(self, alike: np.ndarray, triplets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Annotated and predicted index of each true cell of ``alike`` (g, p) whose boxes are near, row by row."""
        wanted, rank = np.nonzero(alike)
        near = self._near[self.relations[wanted, 0], triplets[rank, 0]]
        near &= self._near[self.relations[wanted, 1], triplets[rank, 1]]
        return wanted[near], rank[near]


def _first(relation: np.ndarray, rank: np.ndarray, relations: int) -> np.ndarray:
    """(relations,) smallest rank of each, or ``NEVER``; ranks ascend within a relation."""
    result = np.full(relations, NEVER)
    # Of several values for one place the last is kept: written from the back, the best rank stays.
    result[relation[::-1]] = rank[::-1]
    return result


def constrained(pairs: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each pair with its best predicate other than background, in the order given (best pair first).

    Args:
        pairs: (p, 2) subject, object. scores: (p, predicates), background first.

    Returns:
        (p, 3) triplets and (p,) their scores.
    """
    best = scores[:, 1:].argmax(axis=1) + 1
    return np.column_stack((pairs, best)), scores[np.arange(len(best)), best]


def unconstrained(pairs: np.ndarray, scores: np.ndarray, best: np.ndarray, object_scores: np.ndarray) -> np.ndarray:
    """(up to 100, 3) the best (pair, predicate) combinations by subject score x object score x predicate score.

    Equal products stand in the order that numpy's default sort of *all* products gives them; only then are results
    with ties the same as other implementations'. Without ties the order is unambiguous, and sorting the rows that can
    hold one of the best is enough: the k-th best product is not below the k-th best row maximum.

    Args:
        best: (p,) largest of each row of ``scores`` without the background. object_scores: (n,).
    """
    k = DEEPEST
    scores = scores[:, 1:]
    weight = object_scores[pairs[:, 0]] * object_scores[pairs[:, 1]]
    row_best = weight * best
    if len(row_best) > k and np.isfinite(row_best).all() and weight.min() >= 0:
        rows = np.flatnonzero(row_best >= np.partition(row_best, -k)[-k])
        products = (weight[rows, None] * scores[rows]).ravel()
        top = np.flatnonzero(products >= np.partition(products, -k)[-k])
        top = top[np.argsort(-products[top])]
        if len(top) == k and (np.diff(products[top]) < 0).all():
            row, predicate = np.divmod(top, scores.shape[1])
            return np.column_stack((pairs[rows[row]], predicate + 1))
    order = np.argsort(-(weight[:, None] * scores).ravel())[:k]
    row, predicate = np.divmod(order, scores.shape[1])
    return np.column_stack((pairs[row], predicate + 1))
