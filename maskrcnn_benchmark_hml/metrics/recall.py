"""Recall, mean recall and their variants from the ranks of all images.

R@K (Lu et al. 2016) averages each image's share of found triplets over images; mR@K (Tang et al. 2019) first averages
per predicate over the images that have it, then over all predicates of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .matching import KS, Matcher, Objects, PairMatches, constrained, unconstrained


@dataclass
class ImageRanks:
    """One image's annotated triplets: predicates, keys of their classes (``triplet_key``), ranks in three lists.

    ``matches`` are the graph-constrained predictions on the annotated pairs, whatever their predicate.
    """

    predicate: np.ndarray
    key: np.ndarray
    constrained: np.ndarray
    unconstrained: np.ndarray
    annotated_pairs: np.ndarray | None
    matches: PairMatches


def rank_image(
    annotated: Objects,
    relations: np.ndarray,
    predicted: Objects,
    pairs: np.ndarray,
    scores: np.ndarray,
    *,
    iou_threshold: float,
    given_pairs: bool,
) -> ImageRanks:
    """Ranks of one image.

    Args:
        relations: (g, 3) annotated subject, object, predicate; g >= 1.
        pairs, scores: (p, 2) and (p, predicates), best pair first; p >= 1.
        given_pairs: also rank among the annotated pairs alone (PredCls and SGCls, where objects are given).
    """
    matcher = Matcher(annotated, relations, predicted, iou_threshold)
    triplets, best = constrained(pairs, scores)
    among_pairs = None
    if given_pairs:
        objects = max(len(annotated.boxes), len(predicted.boxes))
        is_annotated = np.zeros((objects, objects), dtype=bool)
        is_annotated[relations[:, 0], relations[:, 1]] = True
        among_pairs = matcher.ranks(triplets, is_annotated[pairs[:, 0], pairs[:, 1]])
    free = matcher.ranks(unconstrained(pairs, scores, best, predicted.scores))
    matches = matcher.any_predicate(triplets)
    first = matcher.first_with_predicate(matches)
    return ImageRanks(relations[:, 2], matcher.wanted, first, free, among_pairs, matches)


@dataclass
class RecallTable:
    """Collects images, in any order and a few hundred bytes each, then computes every metric at once.

    Args:
        num_predicates: with the background.
        seen: ``triplet_key`` of every triplet of classes in training; the others are the zero-shot triplets.
    """

    num_predicates: int
    seen: np.ndarray
    by_number: dict[int, ImageRanks] = field(default_factory=dict)

    def add(self, number: int, image: ImageRanks) -> None:
        """``number``: the image's place in the dataset; a second result for it replaces the first."""
        self.by_number[number] = image

    @property
    def images(self) -> list[ImageRanks]:
        """In the order of the dataset."""
        return [self.by_number[number] for number in sorted(self.by_number)]

    def result_dict(self, mode: str) -> dict[str, Any]:
        """Metrics by the names ``<mode>_recall``, ``_recall_nogc``, ``_zeroshot_recall``, ``_ng_zeroshot_recall``,
        ``_accuracy_hit`` and ``_accuracy_count`` ({K: one number per image}), ``_mean_recall`` and ``_ng_mean_recall``
        ({K: number}), each of these with ``_list`` ({K: per predicate}) and ``_collect`` ({K: per predicate, index 0
        for all together, one number per image that has it}).
        """
        images = self.images
        sizes = np.array([len(image.predicate) for image in images], dtype=np.int64)
        image = np.repeat(np.arange(len(sizes)), sizes)
        predicate = _joined([i.predicate for i in images])
        unseen = ~np.isin(_joined([i.key for i in images]), self.seen)
        ranks = {
            "": _joined([i.constrained for i in images]),
            "ng_": _joined([i.unconstrained for i in images]),
        }
        result: dict[str, Any] = {}
        for prefix, name in (("", "recall"), ("ng_", "recall_nogc")):
            result[f"{mode}_{name}"] = {k: (_hits(image, ranks[prefix] < k, sizes) / sizes).tolist() for k in KS}
        for prefix in ranks:
            result[f"{mode}_{prefix}zeroshot_recall"] = {
                k: _share_per_image(image[unseen], ranks[prefix][unseen] < k) for k in KS
            }
        result[f"{mode}_accuracy_hit"] = {k: [] for k in KS}
        result[f"{mode}_accuracy_count"] = {k: [] for k in KS}
        among_pairs = [i.annotated_pairs for i in images if i.annotated_pairs is not None]
        if among_pairs:
            among = _joined(among_pairs)
            result[f"{mode}_accuracy_hit"] = {k: _hits(image, among < k, sizes).tolist() for k in KS}
            result[f"{mode}_accuracy_count"] = {k: sizes.astype(float).tolist() for k in KS}
        for prefix, found in ranks.items():
            collected = {k: self._per_predicate(image, predicate, found < k, sizes) for k in KS}
            listed = {k: [float(np.mean(v)) if v else 0.0 for v in collected[k][1:]] for k in KS}
            result[f"{mode}_{prefix}mean_recall"] = {k: sum(listed[k]) / (self.num_predicates - 1) for k in KS}
            result[f"{mode}_{prefix}mean_recall_collect"] = collected
            result[f"{mode}_{prefix}mean_recall_list"] = listed
        return result

    def _per_predicate(
        self, image: np.ndarray, predicate: np.ndarray, found: np.ndarray, sizes: np.ndarray
    ) -> list[list[float]]:
        """Per predicate the shares of its triplets found, image by image; index 0: all predicates together."""
        cell = image * self.num_predicates + predicate
        present, inverse, count = np.unique(cell, return_inverse=True, return_counts=True)
        share = np.bincount(inverse, weights=found, minlength=len(present)) / count
        of = present % self.num_predicates
        lists = [share[of == p].tolist() for p in range(self.num_predicates)]
        lists[0] = (_hits(image, found, sizes) / sizes).tolist()
        return lists


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _hits(image: np.ndarray, found: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(images,) how many are found."""
    return np.bincount(image, weights=found, minlength=len(sizes))


def _share_per_image(image: np.ndarray, found: np.ndarray) -> list[float]:
    """Share found, for the images that occur in ``image``."""
    _, inverse, count = np.unique(image, return_inverse=True, return_counts=True)
    return (np.bincount(inverse, weights=found, minlength=len(count)) / count).tolist()
