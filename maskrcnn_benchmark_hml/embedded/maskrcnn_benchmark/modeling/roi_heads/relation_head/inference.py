"""From logits to ranked triplets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from maskrcnn_benchmark.modeling.roi_heads.relation_head.late_nms import late_nms_per_image
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList
from torch import Tensor, nn
from yacs.config import CfgNode


class PostProcessor(nn.Module):
    """Ranks the pairs of each image by score = p(subject) p(object) max over foreground predicates of p(predicate).

    Args:
        use_gt_box: the boxes are annotated ones (PredCls, SGCls) and stay as they are. Detected boxes (SGDet) take the
            classes of :func:`late_nms` and the places that belong to these.
        later_nms_pred_thres: its IoU.
    """

    def __init__(self, use_gt_box: bool = True, later_nms_pred_thres: float = 0.3) -> None:
        super().__init__()
        self.use_gt_box, self.later_nms_pred_thres = use_gt_box, later_nms_pred_thres

    def forward(
        self, x: tuple[Sequence[Tensor], Sequence[Tensor]], rel_pair_idxs: Sequence[Tensor], boxes: list[BoxList]
    ) -> list[BoxList]:
        """Adds the predictions to the boxes, which keep their order.

        Args:
            x: per image relation logits (P_i, R) and object logits (N_i, C).
            rel_pair_idxs: per image (P_i, 2) subject and object index.
            boxes: the images' boxes; detected ones with the field ``boxes_per_cls`` (N_i, C, 4).

        Returns:
            the same BoxLists (for detected boxes new ones) with ``pred_labels`` and ``pred_scores`` (N_i,), and, best
            triplet first, ``rel_pair_idxs`` (P_i, 2), ``pred_rel_scores`` (P_i, R) probabilities, ``pred_rel_labels``
            (P_i,) >= 1.
        """
        relation_logits, refine_logits = x
        num_objs = [len(logits) for logits in refine_logits]
        num_rels = [len(logits) for logits in relation_logits]
        obj_probs = cat(refine_logits).float().softmax(-1)
        if self.use_gt_box:
            obj_scores, obj_labels = obj_probs[:, 1:].max(1)
            obj_labels = obj_labels + 1
        else:
            places = [box.get_field("boxes_per_cls") for box in boxes]
            obj_labels = late_nms_per_image(places, refine_logits, self.later_nms_pred_thres)
            rows = torch.arange(len(obj_labels), device=obj_labels.device)
            obj_scores = obj_probs[rows, obj_labels] * (obj_labels > 0)  # a box left without a class scores nothing
            moved = cat(places)[rows, obj_labels].split(num_objs)
            boxes = [BoxList(place, box.size, "xyxy") for place, box in zip(moved, boxes)]
        rel_probs = cat(relation_logits).float().softmax(-1)
        rel_scores, rel_labels = rel_probs[:, 1:].max(1)

        parts = zip(
            boxes,
            rel_pair_idxs,
            obj_scores.split(num_objs),
            obj_labels.split(num_objs),
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
    """The post-processor for given or for detected boxes."""
    return PostProcessor(cfg.MODEL.ROI_RELATION_HEAD.USE_GT_BOX, cfg.TEST.RELATION.LATER_NMS_PREDICTION_THRES)
