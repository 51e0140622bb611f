"""The whole model: what it returns, what learns, what it refuses."""

from __future__ import annotations

import copy

import pytest
import torch
from maskrcnn_benchmark.modeling.detector import build_detection_model

from maskrcnn_benchmark_hml.errors import HMLError

HEAD = "MODEL.ROI_RELATION_HEAD."
RESULT_FIELDS = {"pred_labels", "pred_scores", "rel_pair_idxs", "pred_rel_scores", "pred_rel_labels"}


@pytest.mark.parametrize("labels_given", [True, False])
def test_trains_the_relation_head_alone(make_cfg, make_targets, images, labels_given):
    model = build_detection_model(make_cfg({HEAD + "USE_GT_OBJECT_LABEL": labels_given}))
    losses = model(images, make_targets([6, 4]))
    assert set(losses) == {"loss_rel", "loss_refine_obj"}
    sum(losses.values()).backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    relation = {name for name, _ in model.named_parameters() if name.startswith("roi_heads.relation.")}
    decoder = {name for name in relation if "decoder_rnn" in name}
    assert with_gradient == (relation - decoder if labels_given else relation)
    assert (float(losses["loss_refine_obj"].detach()) == 0) == labels_given


@pytest.mark.parametrize("labels_given", [True, False])
def test_testing_ranks_every_ordered_pair(make_cfg, make_targets, images, labels_given):
    model = build_detection_model(make_cfg({HEAD + "USE_GT_OBJECT_LABEL": labels_given})).eval()
    targets = make_targets([6, 1])
    with torch.no_grad():
        results = model(images, targets)
    for result, target, pairs in zip(results, targets, (30, 1)):
        assert set(result.fields()) >= RESULT_FIELDS and not target.has_field("pred_labels")
        assert result.get_field("rel_pair_idxs").shape == (pairs, 2)
        if labels_given:
            assert torch.equal(result.get_field("pred_labels"), target.get_field("labels"))
            assert torch.equal(result.get_field("pred_scores"), torch.ones(len(target)))


def test_one_batch_equals_single_images(make_cfg, make_targets, images):
    for labels_given in (True, False):
        model = build_detection_model(make_cfg({HEAD + "USE_GT_OBJECT_LABEL": labels_given})).eval()
        targets = make_targets([5, 7])
        with torch.no_grad():
            together = model(images, targets)
            alone = [model(images[i : i + 1], targets[i : i + 1])[0] for i in range(2)]
        for one, other in zip(together, alone):
            for field in RESULT_FIELDS:
                torch.testing.assert_close(one.get_field(field), other.get_field(field), atol=1e-5, rtol=0)


def test_a_step_repeats_bit_by_bit(make_cfg, make_targets, images):
    start = build_detection_model(make_cfg())
    gradients = []
    for _ in range(2):
        model = copy.deepcopy(start)
        torch.manual_seed(7)
        sum(model(images, make_targets([12, 9])).values()).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients))


def test_predcls_has_no_detector_weights(make_cfg):
    names = [name for name, _ in build_detection_model(make_cfg()).named_parameters()]
    assert not [name for name in names if name.startswith(("rpn.", "roi_heads.box."))]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({HEAD + "PREDICTOR": "MotivPredictor"}, "'MotivPredictor'.*MotifPredictor"),
        ({"MODEL.BACKBONE.CONV_BODY": "R-50-C4"}, "CONV_BODY is 'R-50-C4'.*HML-TINY-FPN.*R-101-FPN"),
        ({"MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR": "Conv"}, "FEATURE_EXTRACTOR is 'Conv'.*FPN2MLPFeatureExtractor"),
        ({HEAD + "FEATURE_EXTRACTOR": "Conv"}, "FEATURE_EXTRACTOR is 'Conv'.*RelationFeatureExtractor"),
        ({HEAD + "USE_GT_BOX": False, HEAD + "USE_GT_OBJECT_LABEL": False}, "USE_FPN is False.*set USE_FPN True"),
        ({"MODEL.ATTRIBUTE_ON": True}, "ATTRIBUTE_ON is True"),
        ({"MODEL.RELATION_ON": False}, "USE_FPN is False.*set USE_FPN True"),
        ({"MODEL.META_ARCHITECTURE": "RetinaNet"}, "'RetinaNet'.*GeneralizedRCNN"),
        ({"MODEL.ROI_BOX_HEAD.USE_GN": True}, "USE_GN is True"),
        ({"MODEL.ROI_BOX_HEAD.POOLER_SCALES": (0.25, 0.0625)}, "POOLER_SCALES is"),
        ({"MODEL.BACKBONE.CONV_BODY": "R-101-FPN", "MODEL.RESNETS.STRIDE_IN_1X1": True}, "STRIDE_IN_1X1 is True"),
        ({"GLOVE_DIR": "nowhere"}, "GLOVE_DIR 'nowhere'.*glove.6B.12d.pt"),
    ],
)
def test_what_it_cannot_build_is_named(make_cfg, changes, said):
    with pytest.raises(HMLError, match=said):
        build_detection_model(make_cfg(changes))


def test_targets_are_demanded(make_cfg, images):
    model = build_detection_model(make_cfg())
    with pytest.raises(HMLError, match="training needs targets"):
        model(images)
    with pytest.raises(HMLError, match="pass the targets in testing"):
        model.eval()(images)
