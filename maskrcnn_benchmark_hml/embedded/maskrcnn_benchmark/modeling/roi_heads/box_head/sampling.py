"""Which proposals the classifier is trained on, and what each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.matching import BETWEEN, Matcher, matched_rows, sample_balanced
from torch import Tensor
from yacs.config import CfgNode

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList


class FastRCNNSampling:
    """Labels proposals by the annotated box that they overlap most (Girshick, Fast R-CNN, ICCV 2015, sec. 2.3)."""

    def __init__(self, matcher: Matcher, box_coder: BoxCoder, per_image: int, positive_fraction: float) -> None:
        self.matcher, self.box_coder = matcher, box_coder
        self.per_image, self.positive_fraction = per_image, positive_fraction

    @torch.no_grad()
    def assign_label_to_proposals(self, proposals: list[BoxList], targets: Sequence[BoxList]) -> list[BoxList]:
        """All proposals, with ``labels`` and, if annotated, ``attributes``; 0 is background."""
        for proposal, target in zip(proposals, targets):
            self._label(proposal, target, self.matcher(target, proposal))
        return proposals

    @torch.no_grad()
    def subsample(self, proposals: list[BoxList], targets: Sequence[BoxList]) -> list[BoxList]:
        """A random part of the proposals, with ``labels``, ``regression_targets`` (n, 4) and ``matched_idxs``.

        Proposals whose overlap is between the two thresholds are left out.
        """
        drawn_from: list[Tensor] = []
        for proposal, target in zip(proposals, targets):
            matches = self.matcher(target, proposal)
            self._label(proposal, target, matches)
            found = matches >= 0
            offsets = torch.zeros_like(proposal.bbox)
            offsets[found] = self.box_coder.encode(matched_rows(target.bbox, matches[found]), proposal.bbox[found])
            proposal.add_field("regression_targets", offsets)
            proposal.add_field("matched_idxs", matches)
            drawn_from.append(proposal.get_field("labels").masked_fill(matches == BETWEEN, -1))
        positive, negative = sample_balanced(drawn_from, self.per_image, self.positive_fraction)
        return [proposal[p | n] for proposal, p, n in zip(proposals, positive, negative)]

    @staticmethod
    def _label(proposal: BoxList, target: BoxList, matches: Tensor) -> None:
        for field in ("labels", "attributes"):
            if target.has_field(field):
                proposal.add_field(field, matched_rows(target.get_field(field).long(), matches))


def make_roi_box_samp_processor(cfg: CfgNode) -> FastRCNNSampling:
    """The sampling with ``MODEL.ROI_HEADS``' numbers."""
    heads = cfg.MODEL.ROI_HEADS
    return FastRCNNSampling(
        Matcher(heads.FG_IOU_THRESHOLD, heads.BG_IOU_THRESHOLD),
        BoxCoder(heads.BBOX_REG_WEIGHTS),
        heads.BATCH_SIZE_PER_IMAGE,
        heads.POSITIVE_FRACTION,
    )
