"""Union features: what a pair of boxes looks like together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.roi_heads.box_head.roi_box_feature_extractors import make_roi_box_feature_extractor
from maskrcnn_benchmark.modeling.roi_heads.relation_head.pair_chunks import chunk_size
from maskrcnn_benchmark.modeling.utils import cat, global_pair_index, lengths_of, lookup
from torch import Tensor, nn
from yacs.config import CfgNode

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList


@registry.ROI_RELATION_FEATURE_EXTRACTORS.register("RelationFeatureExtractor")
class RelationFeatureExtractor(nn.Module):
    """Pooled features of the pair's union box plus a convolution of its two box masks (Neural Motifs, CVPR 2018).

    The pooled part does not depend on which box is the subject, so it is computed once for both directions of a pair.
    It dominates the cost of the head: in testing this halves it.
    """

    def __init__(self, cfg: CfgNode, in_channels: int) -> None:
        super().__init__()
        self.feature_extractor = make_roi_box_feature_extractor(
            cfg, in_channels, cat_all_levels=cfg.MODEL.ROI_RELATION_HEAD.POOLING_ALL_LEVELS
        )
        self.out_channels = self.feature_extractor.out_channels
        # two steps of stride 2 bring this side down to the pooler's resolution
        self.rect_size = cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION * 4 - 1
        half = in_channels // 2
        self.rect_conv = nn.Sequential(
            nn.Conv2d(2, half, kernel_size=7, stride=2, padding=3),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(half, momentum=0.01),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
            nn.Conv2d(half, in_channels, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(in_channels, momentum=0.01),
        )

    def forward(
        self, features: Sequence[Tensor], proposals: Sequence[BoxList], rel_pair_idxs: Sequence[Tensor]
    ) -> Tensor:
        """Maps, boxes and per image (P_i, 2) pairs -> (P, out_channels), the images' pairs in a row."""
        pairs = global_pair_index(rel_pair_idxs, [len(p) for p in proposals])
        boxes = cat([p.bbox for p in proposals])
        if (size := chunk_size(len(pairs))) is not None:
            return self._in_chunks(features, proposals, pairs, size)
        rects = self.rect_conv(self.pair_masks(proposals, pairs))
        unions, which = union_rois(boxes, lengths_of(proposals, boxes.device), pairs)
        pooled = self.feature_extractor.pooler.pool_rois(features, unions)
        # index_select, not pooled[which]: its backward adds rows in a fixed order, so runs repeat bit by bit
        return self.feature_extractor.forward_without_pool(pooled.index_select(0, which) + rects)

    def _in_chunks(self, features: Sequence[Tensor], proposals: Sequence[BoxList], pairs: Tensor, size: int) -> Tensor:
        """:meth:`forward` for at most ``size`` pairs at once, both directions of a pair in one chunk."""
        boxes, masks = cat([p.bbox for p in proposals]), self.box_masks(proposals)
        unions, which = union_rois(boxes, lengths_of(proposals, boxes.device), pairs)
        order = which.argsort(stable=True)
        step = max(size // 2, 1)
        counts = [len(part) for part in unions.split(step)]
        firsts = torch.arange(0, len(unions) + step, step, device=pairs.device)
        ends = torch.searchsorted(which[order], firsts).tolist()
        result = boxes.new_empty(0)
        for number, count in enumerate(counts):
            rows = order[ends[number] : ends[number + 1]]
            first = number * step
            pooled = self.feature_extractor.pooler.pool_rois(features, unions[first : first + count])
            pooled = pooled.index_select(0, which[rows] - first) + self.rect_conv(masks[pairs[rows]])
            part = self.feature_extractor.forward_without_pool(pooled)
            result = result if number else part.new_empty(len(pairs), part.shape[1])
            result[rows] = part
        return result

    def pair_masks(self, proposals: Sequence[BoxList], pairs: Tensor) -> Tensor:
        """(P, 2, rect_size, rect_size): 1 inside the subject's box, then the object's, the image scaled to that square.

        A box covers every cell that it touches.
        """
        return self.box_masks(proposals)[pairs]

    def box_masks(self, proposals: Sequence[BoxList]) -> Tensor:
        """(N, rect_size, rect_size): the mask of each box."""
        size = self.rect_size
        scaled = cat([p.bbox * p.bbox.new_tensor([size / p.size[0], size / p.size[1]] * 2) for p in proposals])
        low, high = scaled[:, :2].floor()[..., None], scaled[:, 2:].ceil()[..., None]
        cell = torch.arange(size, device=scaled.device)
        across, down = ((cell >= low) & (cell <= high)).unbind(1)
        return (down[:, :, None] & across[:, None, :]).to(scaled.dtype)


def union_rois(boxes: Tensor, counts: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct union boxes of a batch.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 of all images in a row.
        counts: (B,) boxes per image.
        pairs: (P, 2) rows of ``boxes``, both of one image.

    Returns:
        (U, 5) image index and union box, once for (i, j) and (j, i); and (P,) the row that belongs to each pair.
    """
    low, high = pairs.min(1).values, pairs.max(1).values
    distinct, which = torch.unique(low * len(boxes) + high, return_inverse=True)
    first = boxes[torch.div(distinct, len(boxes), rounding_mode="floor")]
    second = boxes[distinct % len(boxes)]
    corners = torch.cat((torch.minimum(first[:, :2], second[:, :2]), torch.maximum(first[:, 2:], second[:, 2:])), 1)
    image = torch.arange(len(counts), device=boxes.device).repeat_interleave(counts)
    image = image[torch.div(distinct, len(boxes), rounding_mode="floor")]
    return torch.cat((image[:, None].to(boxes.dtype), corners), 1), which


def make_roi_relation_feature_extractor(cfg: CfgNode, in_channels: int) -> nn.Module:
    """The extractor that ``MODEL.ROI_RELATION_HEAD.FEATURE_EXTRACTOR`` names."""
    name = cfg.MODEL.ROI_RELATION_HEAD.FEATURE_EXTRACTOR
    build = lookup(registry.ROI_RELATION_FEATURE_EXTRACTORS, name, "MODEL.ROI_RELATION_HEAD.FEATURE_EXTRACTOR")
    return build(cfg, in_channels)
