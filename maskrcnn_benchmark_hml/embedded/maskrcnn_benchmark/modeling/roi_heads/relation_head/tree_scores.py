"""Scores of object pairs, from which VCTree grows its trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from maskrcnn_benchmark.layers import Linear
from maskrcnn_benchmark.modeling.make_layers import init_xavier
from maskrcnn_benchmark.modeling.roi_heads.relation_head.padding import Padding
from maskrcnn_benchmark.modeling.utils import cat
from torch import Tensor, nn
from torch.nn import functional as F
from yacs.config import CfgNode

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList

REDUCED_DIM = 128
IMAGE_AREA = 1024.0**2  # unit of areas


class PairScorer(nn.Module):
    """Learned score of "these two objects are related" (VCTree, sec. 3.1).

    s_ij = sigmoid(v_ij) * g_ij, with the prior g_ij = p_i W p_j of the two objects' class distributions and
    v_ij = w [f_j * e_i; f_j; e_i; g_ij] + b of two maps e and f of what the objects look like.

    Args:
        statistics: ``pred_dist`` (C, C, R), from which W starts.
        in_channels: width of a box's visual features.
    """

    def __init__(self, config: CfgNode, statistics: Mapping[str, Any], in_channels: int) -> None:
        super().__init__()
        head = config.MODEL.ROI_RELATION_HEAD
        hidden_dim = head.CONTEXT_HIDDEN_DIM
        self.overlap_embed = _normed(6)
        self.box_embed = _normed(9)
        together = statistics["pred_dist"].float().sum(-1)
        self.bi_freq_prior = nn.utils.skip_init(Linear, together.numel(), 1, bias=False)
        with torch.no_grad():
            self.bi_freq_prior.weight.copy_((together + together.t()).view(1, -1))
        self.obj_reduce = init_xavier(Linear(in_channels, REDUCED_DIM))
        self.emb_reduce = init_xavier(Linear(head.EMBED_DIM, REDUCED_DIM))
        self.score_pre = init_xavier(Linear(4 * REDUCED_DIM, hidden_dim))
        self.score_sub = init_xavier(Linear(hidden_dim, hidden_dim))
        self.score_obj = init_xavier(Linear(hidden_dim, hidden_dim))
        self.vision_prior = Linear(3 * hidden_dim + 1, 1)

    def score_pairs(
        self,
        roi_features: Tensor,
        embedding: Tensor,
        box_info: Tensor,
        overlap: Tensor,
        probability: Tensor,
        padding: Padding,
    ) -> Tensor:
        """Logits of the pairs.

        Args:
            roi_features: (N, in_channels), embedding: (N, EMBED_DIM); no gradient flows into either.
            box_info: (N, 9), overlap: (N, 6) geometry.
            probability: (N, C) class distributions.

        Returns:
            (B, n, n), row: the object in whose favour i is scored, column: the other; padded cells mean nothing.
        """
        looks = (self.obj_reduce(roi_features.detach()), self.emb_reduce(embedding.detach()))
        looks = self.score_pre(torch.cat((*looks, self.box_embed(box_info), self.overlap_embed(overlap)), 1)).relu()
        f, e = padding.pad(self.score_sub(looks).relu()), padding.pad(self.score_obj(looks).relu())

        probability = probability.detach()
        table = self.bi_freq_prior.weight.view(probability.shape[1], -1)
        prior = padding.pad(probability @ table) @ padding.pad(probability).mT
        # The scorer's weights in their four parts: a pair's vector of 3 hidden_dim + 1 numbers is never formed.
        of_both, of_f, of_e, of_prior = self.vision_prior.weight[0].tensor_split(
            (f.shape[2], 2 * f.shape[2], 3 * f.shape[2])
        )
        vision = (e * of_both) @ f.mT + (f @ of_f)[:, None] + (e @ of_e)[:, :, None]
        return (vision + of_prior * prior + self.vision_prior.bias).sigmoid() * prior


def _normed(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        Linear(inputs, REDUCED_DIM), nn.BatchNorm1d(REDUCED_DIM, momentum=0.001), nn.ReLU(inplace=True)
    )


def overlap_info(proposals: Sequence[BoxList], padding: Padding) -> Tensor:
    """(N, 6) how a box lies among the boxes of its image, itself included.

    The number of boxes that it meets, the common area and the IoU summed over them, both again per box met, and its own
    area. Areas in units of 1024 x 1024 pixels; the last pixel belongs to a box except in its own area.
    """
    boxes = cat([p.bbox for p in proposals]).float()
    low, high = padding.pad(boxes).split(2, 2)
    extent = torch.minimum(high[:, :, None], high[:, None]) - torch.maximum(low[:, :, None], low[:, None]) + 1.0
    common = extent.clamp(min=0).prod(3) * padding.mask[:, None]
    area = (high - low + 1.0).prod(2)
    iou = common / (area[:, :, None] + area[:, None] - common + 1e-9)
    met = (common > 0).sum(2).to(boxes.dtype)
    shared, ious = common.sum(2) / IMAGE_AREA, iou.sum(2)
    own = (high - low).prod(2) / IMAGE_AREA
    return padding.unpad(torch.stack((met, shared, ious, shared / (met + 1e-9), ious / (met + 1e-9), own), 2))


def pair_loss(scores: Sequence[Tensor], related: Sequence[Tensor]) -> Tensor:
    """Binary cross entropy of every image's pairs, averaged over the pairs and then over the images.

    Args:
        scores: per image (N_i, N_i) logits.
        related: per image (N_i, N_i), positive where two objects stand in a relation in either direction.
    """
    logits = cat([s.flatten() for s in scores])
    target = cat([(r > 0).flatten() for r in related]).to(logits.dtype)
    weight = cat([s.new_full((s.numel(),), 1.0 / (s.numel() * len(scores))) for s in scores])
    return F.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum")
