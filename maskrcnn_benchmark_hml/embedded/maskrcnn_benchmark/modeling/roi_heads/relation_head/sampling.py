"""Which subject-object pairs a step trains on, and which a test ranks.

All randomness comes from torch's global generator of the boxes' device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from maskrcnn_benchmark.modeling.roi_heads.relation_head.detect_sampling import sample_detected_pairs
from maskrcnn_benchmark.structures.boxlist_ops import boxlist_iou
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList

# proposals, rel_labels (P_i,), rel_pair_idxs (P_i, 2), rel_binarys (N_i, N_i), one entry per image
Sample = tuple[list["BoxList"], list[Tensor], list[Tensor], list[Tensor]]


@dataclass
class RelationSampling:
    """Pair sampling.

    Attributes:
        fg_thres: IoU above which a detected box stands for an annotated one of its class.
        require_overlap: detected boxes: train only on pairs that overlap.
        num_sample_per_gt_rel: detected boxes: at most this many pairs stand for one annotated relation.
        batch_size_per_image: pairs per image.
        positive_fraction: largest share of annotated pairs among them.
        use_gt_box: boxes are the annotated ones (PredCls, SGCls).
        test_overlap: detected boxes: rank only pairs that overlap.
    """

    fg_thres: float
    require_overlap: bool
    num_sample_per_gt_rel: int
    batch_size_per_image: int
    positive_fraction: float
    use_gt_box: bool
    test_overlap: bool

    @property
    def num_pos_per_img(self) -> int:
        """Most annotated pairs that one image contributes."""
        return int(self.batch_size_per_image * self.positive_fraction)

    def prepare_test_pairs(self, device: torch.device, proposals: Sequence[BoxList]) -> list[Tensor]:
        """Per image all ordered pairs (P, 2), row by row; the pair (0, 0) where there is none."""
        pairs = []
        for boxes in proposals:
            candidates = ~torch.eye(len(boxes), dtype=torch.bool, device=device)
            if not self.use_gt_box and self.test_overlap:
                candidates &= boxlist_iou(boxes, boxes) > 0
            found = candidates.nonzero()
            pairs.append(found if len(found) else found.new_zeros(1, 2))
        return pairs

    def gtbox_relsample(self, proposals: list[BoxList], targets: Sequence[BoxList]) -> Sample:
        """Pairs of annotated boxes.

        Of each image all annotated pairs, or a random ``num_pos_per_img`` of them, then random other pairs up to
        ``batch_size_per_image``. An entry of the field ``relation`` that is 0 or less is background. An image
        without any pair gives the pair (0, 0) with label 0. The whole batch is drawn at once.

        Raises:
            HMLError: the proposals are not the targets' boxes.
        """
        if any(len(p) != len(t) for p, t in zip(proposals, targets)):
            raise HMLError(
                "gtbox_relsample needs one proposal per annotated box; with detected boxes set USE_GT_BOX False"
            )
        matrices = [target.get_field("relation").long() for target in targets]
        device = matrices[0].device
        size = max(len(m) for m in matrices)
        counts = torch.tensor([len(m) for m in matrices], device=device)
        relation = pad_sequence([torch.nn.functional.pad(m, (0, size - len(m))) for m in matrices], batch_first=True)
        relation = relation.reshape(len(matrices), size * size)

        index = torch.arange(size, device=device)
        inside = index < counts[:, None]
        pair = (inside[:, :, None] & inside[:, None, :] & (index[:, None] != index)).flatten(1)
        positive = relation > 0
        negative = pair & ~positive

        # One sort does both draws: annotated pairs come first, then background, then cells that are no pair, each
        # group in random order.
        group = torch.where(positive, 0.0, torch.where(negative, 2.0, 4.0))
        order = (group + torch.rand_like(group)).argsort(dim=1)
        num_positive, num_negative = positive.sum(1, keepdim=True), negative.sum(1, keepdim=True)
        take_positive = num_positive.clamp(max=self.num_pos_per_img)
        take_negative = torch.minimum(num_negative, self.batch_size_per_image - take_positive)
        none = take_positive + take_negative == 0

        rank = torch.arange(size * size, device=device)
        chosen = (rank < take_positive) | ((rank >= num_positive) & (rank < num_positive + take_negative))
        chosen[:, 0] |= none[:, 0]
        cell = torch.where(none, torch.zeros_like(order), order)[chosen]
        label = relation.gather(1, order).clamp(min=0).masked_fill(none, 0)[chosen]
        per_image = chosen.sum(1).tolist()
        pairs = torch.stack((torch.div(cell, size, rounding_mode="floor"), cell % size), 1)
        binary = [((m > 0) | (m > 0).t()).long() for m in matrices]
        return proposals, list(label.split(per_image)), list(pairs.split(per_image)), binary

    def detect_relsample(self, proposals: list[BoxList], targets: Sequence[BoxList]) -> Sample:
        """Pairs of detected boxes, labelled through the annotated boxes that they match in class and place.

        See :func:`sample_detected_pairs`.
        """
        labels, pairs, binarys = [], [], []
        for proposal, target in zip(proposals, targets):
            proposal_labels = proposal.get_field("labels").long()
            ious = boxlist_iou(target, proposal)
            same_class = target.get_field("labels").long()[:, None] == proposal_labels
            if self.require_overlap and not self.use_gt_box:
                among = boxlist_iou(proposal, proposal)
                possible = (among > 0) & (among < 1)
            else:
                possible = ~torch.eye(len(proposal), dtype=torch.bool, device=ious.device)
            foreground = proposal_labels > 0
            possible &= foreground[:, None] & foreground
            triplets, binary = sample_detected_pairs(
                target.get_field("relation"),
                ious,
                same_class & (ious > self.fg_thres),
                possible,
                per_relation=self.num_sample_per_gt_rel,
                positives=self.num_pos_per_img,
                total=self.batch_size_per_image,
            )
            pairs.append(triplets[:, :2])
            labels.append(triplets[:, 2])
            binarys.append(binary)
        return proposals, labels, pairs, binarys


def make_roi_relation_samp_processor(cfg: CfgNode) -> RelationSampling:
    """The sampler that the config describes."""
    head = cfg.MODEL.ROI_RELATION_HEAD
    return RelationSampling(
        fg_thres=cfg.MODEL.ROI_HEADS.FG_IOU_THRESHOLD,
        require_overlap=head.REQUIRE_BOX_OVERLAP,
        num_sample_per_gt_rel=head.NUM_SAMPLE_PER_GT_REL,
        batch_size_per_image=head.BATCH_SIZE_PER_IMAGE,
        positive_fraction=head.POSITIVE_FRACTION,
        use_gt_box=head.USE_GT_BOX,
        test_overlap=cfg.TEST.RELATION.REQUIRE_OVERLAP,
    )
