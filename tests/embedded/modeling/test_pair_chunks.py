"""Test pairs in chunks: the same results, bounded numbers of rows, and nothing of it in training or for a teacher."""

from __future__ import annotations

import copy

import pytest
import torch
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.roi_heads.relation_head import pair_chunks
from maskrcnn_benchmark.structures.image_list import to_image_list

PREDICTORS = ("MotifPredictor", "VCTreePredictor", "TransformerPredictor")
COUNTS = [9, 2, 6]
PAIRS = 9 * 8 + 2 * 1 + 6 * 5


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(2)
    return to_image_list([torch.randn(3, 64, 96, generator=generator) for _ in COUNTS], 32)


@pytest.fixture
def build(make_cfg):
    def make(predictor, **changes):
        torch.manual_seed(7)
        return build_detection_model(make_cfg({"MODEL.ROI_RELATION_HEAD.PREDICTOR": predictor, **changes}))

    return make


def rows_seen(head) -> list[int]:
    """Pairs in each call of the mask convolution and of the layer that gives the relations' logits, from now on."""
    seen: list[int] = []
    predictor = head.predictor
    last = predictor.rel_compress if hasattr(predictor, "rel_compress") else predictor.ctx_compress
    for module in (head.union_feature_extractor.rect_conv, head.union_feature_extractor.feature_extractor.fc6, last):
        module.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    return seen


@pytest.mark.parametrize("vision", [True, False])
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_same_results_in_chunks(build, images, make_targets, monkeypatch, predictor, vision):
    model = build(predictor, **{"MODEL.ROI_RELATION_HEAD.PREDICT_USE_VISION": vision}).eval()
    targets = make_targets(COUNTS)
    seen = rows_seen(model.roi_heads.relation)
    with torch.no_grad():
        whole = model(images, copy.deepcopy(targets))
        assert max(seen) == PAIRS
        for limit in (PAIRS - 1, 40, 7, 2):
            monkeypatch.setattr(pair_chunks, "PAIRS_AT_ONCE", limit)
            seen.clear()
            for got, expected in zip(model(images, copy.deepcopy(targets)), whole):
                assert torch.equal(got.get_field("rel_pair_idxs"), expected.get_field("rel_pair_idxs"))
                assert torch.equal(got.get_field("pred_labels"), expected.get_field("pred_labels"))
                for field in ("pred_rel_scores", "pred_scores"):
                    torch.testing.assert_close(got.get_field(field), expected.get_field(field), atol=1e-6, rtol=1e-5)
            assert max(seen) <= limit and sum(seen) == (3 if vision else 1) * PAIRS


def test_each_union_box_is_pooled_once(build, images, make_targets, monkeypatch):
    """Both directions of a pair share it."""
    model = build("MotifPredictor").eval()
    pooler, pooled = model.roi_heads.relation.union_feature_extractor.feature_extractor.pooler, []
    original = pooler.pool_rois
    monkeypatch.setattr(pooler, "pool_rois", lambda maps, rois: pooled.append(len(rois)) or original(maps, rois))
    monkeypatch.setattr(pair_chunks, "PAIRS_AT_ONCE", 16)
    with torch.no_grad():
        model(images, make_targets(COUNTS))
    assert sum(pooled) == PAIRS // 2 and max(pooled) == 8


def test_training_and_a_teacher_keep_all_pairs_together(build, images, make_targets, monkeypatch):
    monkeypatch.setattr(pair_chunks, "PAIRS_AT_ONCE", 4)
    model = build("MotifPredictor").train()
    targets = make_targets(COUNTS)
    head = model.roi_heads.relation
    seen = rows_seen(head)
    model(images, targets)
    assert len(seen) == 3 and len(set(seen)) == 1 and seen[0] > 4
    seen.clear()
    head.eval()  # as a teacher is, whose parts HML calls by themselves
    pairs = [torch.ones(n, n).fill_diagonal_(0).nonzero() for n in COUNTS]
    with torch.no_grad():
        head.union_feature_extractor(model.backbone(images.tensors), targets, pairs)
    assert seen == [PAIRS, PAIRS]
