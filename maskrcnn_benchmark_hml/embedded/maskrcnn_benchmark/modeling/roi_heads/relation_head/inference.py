"""From logits to ranked triplets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskrcnn_benchmark.modeling.utils import cat
from torch import Tensor, nn
from yacs.config import CfgNode

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList


class PostProcessor(nn.Module):
    """Ranks the pairs of each image by score = p(subject) p(object) max over foreground predicates of p(predicate)."""

    def forward(
        self, x: tuple[Sequence[Tensor], Sequence[Tensor]], rel_pair_idxs: Sequence[Tensor], boxes: list[BoxList]
    ) -> list[BoxList]:
        """Adds the predictions to the boxes, which keep their order.

        Args:
            x: per image relation logits (P_i, R) and object logits (N_i, C).
            rel_pair_idxs: per image (P_i, 2) subject and object index.
            boxes: the images' boxes.

        Returns:
            the same BoxLists with ``pred_labels`` and ``pred_scores`` (N_i,), and, best triplet first,
            ``rel_pair_idxs`` (P_i, 2), ``pred_rel_scores`` (P_i, R) probabilities, ``pred_rel_labels`` (P_i,) >= 1.
        """
        relation_logits, refine_logits = x
        num_objs = [len(logits) for logits in refine_logits]
        num_rels = [len(logits) for logits in relation_logits]
        obj_scores, obj_labels = cat(refine_logits).softmax(-1)[:, 1:].max(1)
        rel_probs = cat(relation_logits).softmax(-1)
        rel_scores, rel_labels = rel_probs[:, 1:].max(1)

        parts = zip(
            boxes,
            rel_pair_idxs,
            obj_scores.split(num_objs),
            (obj_labels + 1).split(num_objs),
            rel_probs.split(num_rels),
            rel_scores.split(num_rels),
            (rel_labels + 1).split(num_rels),
        )
        for box, pairs, obj_score, obj_label, probs, score, label in parts:
            triplet_score = score * obj_score[pairs[:, 0]] * obj_score[pairs[:, 1]]
            order = triplet_score.sort(descending=True, stable=True).indices
            box.add_field("pred_labels", obj_label)
            box.add_field("pred_scores", obj_score)
            box.add_field("rel_pair_idxs", pairs[order])
            box.add_field("pred_rel_scores", probs[order])
            box.add_field("pred_rel_labels", label[order])
        return boxes


def make_roi_relation_post_processor(cfg: CfgNode) -> PostProcessor:
    """The post-processor for given boxes (PredCls, SGCls)."""
    return PostProcessor()
