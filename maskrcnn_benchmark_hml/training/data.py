"""Which images and labels of the training split a stage sees.

Relations of an image are rows ``(subject box, object box, predicate)``; the predicate 0 is the background.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import HMLError
from .stages import Stage

_log = logging.getLogger("maskrcnn_benchmark.hml")


@dataclass(frozen=True)
class StageData:
    """What a stage keeps: counts for the log, the provenance and eq. 4.

    Attributes:
        images, relations: kept images (repeats of oversampling included) and relations of the stage's labels.
        images_before, relations_before: before the stage's filter.
        counts: n_i per class, int64 (C,); ``counts[0]`` is the number of background pairs sampled in one epoch.
    """

    images: int
    relations: int
    images_before: int
    relations_before: int
    counts: np.ndarray

    def describe(self) -> str:
        return (
            f"keeps {self.images} of {self.images_before} images and {self.relations} of "
            f"{self.relations_before} relations as labels"
        )


def stage_relations(relations: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Reduce each pair that has a predicate of the stage to those predicates; other pairs stay as they are.

    Hosts pick one random predicate of a pair with several; without this a stage would lose labels to other stages.
    Pairs annotated only with other stages' predicates stay in the matrix, so they are never background material.

    Args:
        relations: (R, 3) subject, object, predicate.
        labels: boolean (C,), True for the stage's classes.
    """
    if len(relations) == 0:
        return relations
    ours = labels[relations[:, 2]]
    width = int(relations[:, :2].max()) + 1
    pair = relations[:, 0].astype(np.int64) * width + relations[:, 1]
    return relations[ours | ~np.isin(pair, pair[ours])]


def label_counts(relations: Sequence, num_classes: int) -> np.ndarray:
    """Relations of the training images by predicate, int64 (C,); entry 0 is 0.

    These are the labels that training sees: validation images are not among them, and relations whose boxes do not
    touch only where the host trains on them (with detected boxes, REQUIRE_BOX_OVERLAP leaves them out). A pair with
    several predicates counts for each. Everything that depends on how frequent a predicate is counts here.

    Raises:
        HMLError: a predicate index is out of range.
    """
    labels = np.concatenate([np.asarray(r).reshape(-1, 3)[:, 2] for r in relations] or [np.zeros(0, int)])
    if labels.size and (labels.max() >= num_classes or labels.min() < 1):
        raise HMLError(
            f"the dataset has predicate index {int(labels.max())} but the model has {num_classes} classes "
            "(MODEL.ROI_RELATION_HEAD.NUM_CLASSES); make the two agree"
        )
    return np.bincount(labels, minlength=num_classes)


def select_images(relations: Sequence, stage: Stage, counts: np.ndarray, hml, names: Sequence[str] = ()) -> np.ndarray:
    """Indices of the images a stage trains on, in their order, repeated where oversampling asks for it.

    Args:
        relations: of each image.
        counts: (C,), from :func:`label_counts`.
        names: of the classes, for the message.

    Raises:
        HMLError: there is none.
    """
    ranks = np.zeros(len(counts), np.int64)
    ranks[1 + np.argsort(-counts[1:], kind="stable")] = np.arange(1, len(counts))
    labels = stage.label_mask(len(counts))
    keep = []
    for at, rows in enumerate(relations):
        predicates = np.asarray(rows)[:, 2] if len(rows) else np.zeros(0, int)
        hit = labels[predicates]
        if not hit.any() or stage.policy == "pure_images" and not hit.all():
            continue
        repeats = 1
        if stage.repeats:
            bound = np.searchsorted(hml.STAGES.OVERSAMPLE_RANKS, ranks[predicates].max())
            repeats = stage.repeats[min(bound, len(stage.repeats) - 1)]
        keep += [at] * repeats
    if not keep:
        which = f" ({', '.join(names[i] for i in stage.labels[:3])}, ...)" if names else ""
        what = "has only relations of its predicates" if stage.policy == "pure_images" else "has one of its predicates"
        raise HMLError(
            f"{stage.title()} is empty: no training image {what}{which}, as the label policy {stage.policy!r} "
            "requires; use a tree made for this dataset (hml tree --help) or another policy (HML.STAGES.LABELS)"
        )
    return np.asarray(keep, dtype=np.int64)


def stage_view(
    relations: Sequence, boxes: Sequence[int], stage: Stage, num_classes: int, hml, pairs_per_image: int,
    positive_share: float,
) -> tuple[np.ndarray, list, StageData]:
    """The stage's images, their relations, and the counts of both.

    Args:
        relations: of each training image. boxes: their number of boxes.
        hml: the ``HML`` config node.
        pairs_per_image, positive_share: of the host's pair sampler.

    Returns:
        indices of the images, the relations of each of them, and what the stage keeps.

    Raises:
        HMLError: no image is the stage's, or a predicate index is out of range.
    """
    before = label_counts(relations, num_classes)
    keep = select_images(relations, stage, before, hml)
    kept, labels = [relations[i] for i in keep], np.ones(num_classes, bool)
    if stage.policy == "only":
        labels = stage.label_mask(num_classes)
        kept = [stage_relations(np.asarray(r), labels) for r in kept]
    counts = _epoch_counts(kept, np.asarray(boxes)[keep], labels, num_classes, pairs_per_image, positive_share)
    data = StageData(len(keep), int(counts[1:].sum()), len(relations), int(before.sum()), counts)
    _log.info("HML: %s (labels: %s) %s", stage.title(), stage.policy, data.describe())
    return keep, kept, data


def _epoch_counts(
    relations: Sequence, boxes: np.ndarray, labels: np.ndarray, num_classes: int, pairs_per_image: int, fraction: float
) -> np.ndarray:
    """Relations of the stage's classes, and as entry 0 the pairs that the sampler fills up with background."""
    relations = [np.asarray(rows).reshape(-1, 3) for rows in relations]
    image = np.repeat(np.arange(len(relations)), [len(rows) for rows in relations])
    subject, object_, predicate = np.concatenate(relations).astype(np.int64).T
    width = int(max(subject.max(initial=0), object_.max(initial=0))) + 1
    pair = (image * width + subject) * width + object_
    ours = labels[predicate]
    # Pairs of each image, each of them once: one pass over all images, a loop takes half a minute on Visual Genome.
    annotated, positives = (
        np.bincount(np.unique(keys) // width**2, minlength=len(relations)) for keys in (pair, pair[ours])
    )
    background = np.minimum(
        boxes * (boxes - 1) - annotated, pairs_per_image - np.minimum(positives, int(pairs_per_image * fraction))
    )
    counts = np.bincount(predicate[ours], minlength=num_classes)
    counts[0] = np.maximum(background, 0).sum()
    return counts
