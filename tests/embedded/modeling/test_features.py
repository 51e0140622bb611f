"""Pooling, union features and box masks against plain computations."""

from __future__ import annotations

import math

import pytest
import torch
from maskrcnn_benchmark.modeling.poolers import LevelMapper, Pooler
from maskrcnn_benchmark.modeling.roi_heads.relation_head.roi_relation_feature_extractors import (
    make_roi_relation_feature_extractor,
)
from maskrcnn_benchmark.structures.boxlist_ops import boxlist_union
from torchvision.ops import roi_align

from maskrcnn_benchmark_hml.errors import HMLError

SCALES = (0.25, 0.125, 0.0625)


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(4)
    return [torch.randn(2, 8, int(64 * s), int(96 * s), generator=generator) for s in SCALES]


def test_level_of_a_box():
    sides = torch.tensor([10.0, 111.0, 112.0, 223.0, 224.0, 447.0, 448.0, 5000.0])
    boxes = torch.stack((torch.zeros(8), torch.zeros(8), sides - 1, sides - 1), 1)
    assert LevelMapper(2, 5)(boxes).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_each_box_is_pooled_from_its_level(features, make_targets):
    boxes = make_targets([5, 4], size=(96, 64))
    boxes[0].bbox[0] = torch.tensor([0.0, 0.0, 95.0, 63.0])
    pooler = Pooler((7, 7), SCALES, 2)
    pooler.map_levels.canonical_scale = 40  # so that three levels occur
    pooled = pooler(features, boxes)
    row = 0
    seen = set()
    for image, found in enumerate(boxes):
        for box in found.bbox:
            side = math.sqrt(float((box[2] - box[0] + 1) * (box[3] - box[1] + 1)))
            level = min(max(math.floor(4 + math.log2(side / 40 + 1e-6)), 2), 4) - 2
            seen.add(level)
            rois = torch.cat((torch.tensor([float(image)]), box))[None]
            torch.testing.assert_close(pooled[row : row + 1], roi_align(features[level], rois, 7, SCALES[level], 2))
            row += 1
    assert len(seen) > 1


def test_a_pyramid_with_too_few_levels_is_named(features):
    with pytest.raises(HMLError, match="names 3 levels but the backbone gives 2"):
        Pooler((7, 7), SCALES, 2).pool_rois(features[:2], torch.zeros(1, 5))


def test_no_boxes_give_no_features(features):
    for all_levels in (True, False):
        assert Pooler((7, 7), SCALES, 2, 8, all_levels).pool_rois(features, torch.zeros(0, 5)).shape == (0, 8, 7, 7)


@pytest.mark.parametrize("all_levels", [True, False])
def test_sharing_the_union_between_directions_changes_nothing(make_cfg, make_targets, features, all_levels):
    changes = {
        "MODEL.ROI_BOX_HEAD.POOLER_SCALES": SCALES,
        "MODEL.ROI_RELATION_HEAD.POOLING_ALL_LEVELS": all_levels,
    }
    extractor = make_roi_relation_feature_extractor(make_cfg(changes), 8)
    boxes = make_targets([5, 4])
    pairs = [torch.tensor([[0, 1], [1, 0], [2, 4], [0, 1]]), torch.tensor([[3, 0], [0, 3], [0, 0]])]

    def plainly():
        unions = [boxlist_union(b[p[:, 0]], b[p[:, 1]]) for b, p in zip(boxes, pairs)]
        pooled = extractor.feature_extractor.pooler(features, unions)
        rows = torch.cat((pairs[0], pairs[1] + 5))
        return extractor.feature_extractor.forward_without_pool(
            pooled + extractor.rect_conv(extractor.pair_masks(boxes, rows))
        )

    results = []
    for run in (lambda: extractor(features, boxes, pairs), plainly):
        extractor.zero_grad()
        output = run()
        output.square().sum().backward()
        results.append([output.detach(), *(p.grad.clone() for p in extractor.parameters())])
    for one, other in zip(*results):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_masks_cover_the_cells_that_a_box_touches(make_cfg, make_targets):
    extractor = make_roi_relation_feature_extractor(make_cfg(), 8)
    (boxes,) = make_targets([4], size=(96, 64))
    pairs = torch.tensor([[0, 1], [3, 2]])
    masks = extractor.pair_masks([boxes], pairs)
    assert masks.shape == (2, 2, 27, 27)
    for p, pair in enumerate(pairs.tolist()):
        for side, index in enumerate(pair):
            x1, y1, x2, y2 = (boxes.bbox[index] * torch.tensor([27 / 96, 27 / 64] * 2)).tolist()
            for y in range(27):
                for x in range(27):
                    inside = math.floor(x1) <= x <= math.ceil(x2) and math.floor(y1) <= y <= math.ceil(y2)
                    assert bool(masks[p, side, y, x]) == inside
