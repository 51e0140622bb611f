"""From scored anchors to proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from maskrcnn_benchmark.modeling.box_coder import BoxCoder, with_ends
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist
from torch import Tensor
from torchvision.ops import clip_boxes_to_image, nms
from yacs.config import CfgNode


@dataclass
class ProposalSelector:
    """The best boxes of each level after suppression, then the best of all levels.

    Attributes:
        pre_nms_top_n, post_nms_top_n: boxes per level before and after the suppression.
        fpn_post_nms_top_n: boxes over all levels: per image, or with ``per_batch`` over the whole batch.
        nms_thresh: IoU above which a box yields to a better one of its level; <= 0: none does.
        min_size: pixels; boxes with a shorter side go, but never the last one of a level.
        box_coder: of the offsets.
    """

    pre_nms_top_n: int
    post_nms_top_n: int
    fpn_post_nms_top_n: int
    nms_thresh: float
    min_size: float
    per_batch: bool
    box_coder: BoxCoder

    @torch.no_grad()
    def __call__(
        self, anchors: Sequence[Tensor], objectness: Tensor, offsets: Tensor, sizes: Sequence[tuple[int, int]]
    ) -> list[BoxList]:
        """Proposals with the field ``objectness`` (probability), at least one an image.

        Args:
            anchors: per level (A_l, 4).
            objectness, offsets: (B, A) logits and (B, A, 4), the levels one after the other.
            sizes: (height, width) of each image.
        """
        lengths = [len(level) for level in anchors]
        levels = list(zip(anchors, objectness.split(lengths, 1), offsets.split(lengths, 1)))
        proposals = []
        for i, (height, width) in enumerate(sizes):
            parts = [self._of_level(a, o[i], d[i], (int(height), int(width))) for a, o, d in levels]
            boxes, scores = (torch.cat(part) for part in zip(*parts))
            proposal = BoxList(boxes, (int(width), int(height)), "xyxy")
            proposal.add_field("objectness", scores)
            proposals.append(proposal)
        if len(anchors) > 1:
            proposals = self._over_levels(proposals)
        return proposals

    def _of_level(
        self, anchors: Tensor, logits: Tensor, offsets: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        scores, top = logits.sigmoid().topk(min(self.pre_nms_top_n, len(anchors)))
        boxes = self.box_coder.decode(offsets[top], anchors[top])
        boxes = clip_boxes_to_image(boxes, (size[0] - 1, size[1] - 1))  # corners are pixels: the last is side - 1
        if self.min_size > 1:
            big = ((boxes[:, 2:] - boxes[:, :2] + 1) >= self.min_size).all(1)
            big[0] |= not big.any()
            boxes, scores = boxes[big], scores[big]
        if self.nms_thresh > 0:
            keep = nms(with_ends(boxes), scores, self.nms_thresh).sort().values
            boxes, scores = boxes[keep], scores[keep]
        return boxes[: self.post_nms_top_n], scores[: self.post_nms_top_n]

    def _over_levels(self, proposals: list[BoxList]) -> list[BoxList]:
        if not self.per_batch:
            scores = [p.get_field("objectness") for p in proposals]
            return [p[s.topk(min(self.fpn_post_nms_top_n, len(s))).indices] for p, s in zip(proposals, scores)]
        scores = torch.cat([p.get_field("objectness") for p in proposals])
        chosen = torch.zeros_like(scores, dtype=torch.bool)
        chosen[scores.topk(min(self.fpn_post_nms_top_n, len(scores))).indices] = True
        kept = []
        for proposal, mask in zip(proposals, chosen.split([len(p) for p in proposals])):
            mask = mask if mask.any() else proposal.get_field("objectness") == proposal.get_field("objectness").max()
            kept.append(proposal[mask])
        return kept


def add_targets(proposals: Sequence[BoxList], targets: Sequence[BoxList]) -> list[BoxList]:
    """The proposals and, after them, the annotated boxes with objectness 1."""
    joined = []
    for proposal, target in zip(proposals, targets):
        own = target.convert("xyxy").copy()
        own.size = proposal.size
        own.add_field("objectness", torch.ones(len(own), device=own.bbox.device))
        joined.append(cat_boxlist((proposal, own)))
    return joined


def make_rpn_postprocessor(cfg: CfgNode, box_coder: BoxCoder, is_train: bool) -> ProposalSelector:
    """The selector with ``MODEL.RPN``'s numbers for training or for testing."""
    rpn, phase = cfg.MODEL.RPN, "TRAIN" if is_train else "TEST"
    return ProposalSelector(
        pre_nms_top_n=rpn[f"PRE_NMS_TOP_N_{phase}"],
        post_nms_top_n=rpn[f"POST_NMS_TOP_N_{phase}"],
        fpn_post_nms_top_n=rpn[f"FPN_POST_NMS_TOP_N_{phase}"],
        nms_thresh=rpn.NMS_THRESH,
        min_size=rpn.MIN_SIZE,
        per_batch=is_train and rpn.FPN_POST_NMS_PER_BATCH,
        box_coder=box_coder,
    )
