"""The host's prediction of one picture as a scene graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..scene_graph import Relation, SceneGraph, SceneObject


def as_scene_graph(
    prediction: Any,
    size: tuple[int, int],
    task: str,
    object_names: Sequence[str],
    predicate_names: Sequence[str],
    top: int,
    given: Tensor | None = None,
) -> SceneGraph:
    """The graph of a post-processed ``BoxList``, its relations in the host's order, which is that of their scores.

    Left out are detections that ended as background, and the pair of an object with itself, which hosts put where a
    picture has no pair.

    Args:
        prediction: with ``pred_labels``, ``pred_scores`` (N,), ``rel_pair_idxs`` (P, 2), ``pred_rel_scores`` (P, R).
        size: width and height of the picture in pixels.
        object_names: in index order, background first. predicate_names: likewise.
        top: the most relations.
        given: (N, 4) the boxes that were given, in pixels of the picture; None: those of the prediction.
    """
    boxes = given if given is not None else prediction.resize(size).convert("xyxy").bbox
    labels, scores = (prediction.get_field(name).cpu() for name in ("pred_labels", "pred_scores"))
    graph = SceneGraph("", *size, task)
    if not len(labels):
        return graph
    kept = labels > 0
    place = kept.cumsum(0) - 1
    said = [None] * len(labels) if task == "predcls" else scores.float().tolist()
    objects = [
        SceneObject(object_names[label], (box[0], box[1], box[2], box[3]), score)
        for label, box, score in zip(labels.tolist(), boxes.cpu().tolist(), said) if label > 0
    ]
    pairs = prediction.get_field("rel_pair_idxs").cpu()
    shown = (pairs[:, 0] != pairs[:, 1]) & kept[pairs].all(1)
    rows = shown.nonzero().flatten()[: max(top, 0)]
    pairs = pairs[rows]
    all_scores = prediction.get_field("pred_rel_scores")
    best, predicate = all_scores[rows.to(all_scores.device), 1:].cpu().float().max(1)
    score = best * scores[pairs[:, 0]] * scores[pairs[:, 1]]
    relations = [
        Relation(subject, object_, predicate_names[number + 1], value)
        for (subject, object_), number, value in zip(place[pairs].tolist(), predicate.tolist(), score.tolist())
    ]
    return SceneGraph("", *size, task, tuple(objects), tuple(relations))
