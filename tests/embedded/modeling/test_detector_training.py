"""The detector by itself and below a relation head (SGDet)."""

from __future__ import annotations

import pytest
import torch
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.structures.bounding_box import BoxList

HEAD = "MODEL.ROI_RELATION_HEAD."
RPN = {
    "MODEL.RPN.USE_FPN": True,
    "MODEL.RPN.ANCHOR_SIZES": (12, 24),
    "MODEL.RPN.ANCHOR_STRIDE": (4, 8),
    "MODEL.RPN.STRADDLE_THRESH": -1,
    "MODEL.RPN.RPN_MID_CHANNEL": 8,
    "MODEL.RPN.PRE_NMS_TOP_N_TRAIN": 100,
    "MODEL.RPN.POST_NMS_TOP_N_TRAIN": 40,
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN": 50,
    "MODEL.RPN.PRE_NMS_TOP_N_TEST": 100,
    "MODEL.RPN.POST_NMS_TOP_N_TEST": 20,
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST": 30,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
    "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 12,
    "MODEL.ROI_HEADS.NMS_FILTER_DUPLICATES": True,
    HEAD + "ADD_GTBOX_TO_PROPOSAL_IN_TRAIN": True,
    HEAD + "USE_GT_BOX": False,
    HEAD + "USE_GT_OBJECT_LABEL": False,
}
DETECTOR = {**RPN, "MODEL.RELATION_ON": False}
LOSSES = {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}


def test_the_detector_trains_all_of_itself(make_cfg, make_targets, images):
    model = build_detection_model(make_cfg(DETECTOR))
    assert not hasattr(model.roi_heads, "relation")
    losses = model(images, make_targets([6, 4]))
    assert set(losses) == LOSSES
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_the_detector_learns_a_picture(make_cfg, make_targets, images):
    model = build_detection_model(make_cfg(DETECTOR))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    targets = make_targets([3, 3])
    first = last = 0.0
    for _ in range(60):
        loss = sum(model(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        first, last = first or float(loss.detach()), float(loss.detach())
    assert last < 0.2 * first, (first, last)


def test_an_image_without_annotations_is_all_background(make_cfg, make_targets, images):
    model = build_detection_model(make_cfg({**DETECTOR, HEAD + "ADD_GTBOX_TO_PROPOSAL_IN_TRAIN": False}))
    losses = model(images, make_targets([0, 0]))
    assert set(losses) == LOSSES and all(torch.isfinite(v) for v in losses.values())
    assert float(losses["loss_box_reg"].detach()) == float(losses["loss_rpn_box_reg"].detach()) == 0.0


def test_detections_need_no_targets_and_may_be_none(make_cfg, images):
    model = build_detection_model(make_cfg({**DETECTOR, "MODEL.ROI_HEADS.SCORE_THRESH": 0.04})).eval()
    with torch.no_grad():
        found = model(images)
        assert all(1 <= len(f) <= 12 and set(f.fields()) == {"pred_scores", "pred_labels"} for f in found)
        assert all((f.get_field("pred_labels") > 0).all() for f in found)
        model.roi_heads.box.post_processor.score_thresh = 1.0
        assert [len(f) for f in model(images)] == [0, 0]


def test_the_residual_network_freezes_its_first_stages(make_cfg):
    changes = {
        **DETECTOR,
        "MODEL.BACKBONE.CONV_BODY": "R-50-FPN",
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
        "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
        "MODEL.RPN.ANCHOR_SIZES": (12, 24, 48, 96, 100),
        "MODEL.RPN.ANCHOR_STRIDE": (4, 8, 16, 32, 64),
    }
    for stages, trained in ((2, ["layer2", "layer3", "layer4"]), (0, ["layer1", "layer2", "layer3", "layer4", "stem"])):
        model = build_detection_model(make_cfg({**changes, "MODEL.BACKBONE.FREEZE_CONV_BODY_AT": stages}))
        names = {name.split(".")[2] for name, p in model.named_parameters() if "body" in name and p.requires_grad}
        assert sorted(names) == trained


def test_sgdet_trains_the_relation_head_alone(make_cfg, make_targets, images):
    model = build_detection_model(make_cfg(RPN))
    losses = model(images, make_targets([6, 4]))
    assert set(losses) == {"loss_rel", "loss_refine_obj"}
    sum(losses.values()).backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == {name for name, _ in model.named_parameters() if name.startswith("roi_heads.relation.")}


def test_sgdet_boxes_carry_what_predictors_read(make_cfg, make_targets, images):
    model = build_detection_model(make_cfg(RPN))
    for targets in (make_targets([6, 4]), make_targets([0, 4])):
        with torch.no_grad():
            proposals, _ = model.rpn(as_list(images), model.backbone(images), targets)
            _, boxes, losses = model.roi_heads.box(model.backbone(images), proposals, targets)
        assert losses == {}
        for found, target in zip(boxes, targets):
            assert found.get_field("boxes_per_cls").shape == (len(found), 21, 4)
            assert found.get_field("predict_logits").shape == (len(found), 21)
            rows = torch.arange(len(found))
            assert torch.equal(found.bbox, found.get_field("boxes_per_cls")[rows, found.get_field("pred_labels")])
            assert set(found.get_field("labels").tolist()) <= {0, *target.get_field("labels").tolist()}


@pytest.mark.parametrize("threshold", [0.01, 1.0])
def test_sgdet_ranks_detections_even_if_none_passes(make_cfg, make_targets, images, threshold):
    model = build_detection_model(make_cfg({**RPN, "MODEL.ROI_HEADS.SCORE_THRESH": threshold}))
    sum(model.train()(images, make_targets([6, 4])).values()).backward()
    model.eval()
    with torch.no_grad():
        for targets in (make_targets([6, 4]), None):
            for found in model(images, targets):
                assert isinstance(found, BoxList) and len(found) == (1 if threshold == 1.0 else 12)
                pairs = found.get_field("rel_pair_idxs")
                assert len(pairs) >= 1 and found.get_field("pred_rel_scores").shape == (len(pairs), 11)
                assert found.get_field("pred_labels").shape == found.get_field("pred_scores").shape == (len(found),)


def test_sgdet_one_batch_equals_single_images(make_cfg, images):
    model = build_detection_model(make_cfg(RPN)).eval()
    with torch.no_grad():
        together, alone = model(images), [model(images[i : i + 1])[0] for i in range(2)]
    for one, other in zip(together, alone):
        torch.testing.assert_close(one.bbox, other.bbox, atol=1e-3, rtol=1e-4)
        for field in ("pred_labels", "rel_pair_idxs", "pred_rel_scores"):
            torch.testing.assert_close(one.get_field(field), other.get_field(field), atol=1e-5, rtol=0)


def as_list(images):
    from maskrcnn_benchmark.structures.image_list import to_image_list

    return to_image_list(images)


@pytest.mark.isa
def test_mixed_precision_keeps_coordinates_exact(make_cfg, make_targets, images):
    for options, names in ((DETECTOR, LOSSES), (RPN, {"loss_rel", "loss_refine_obj"})):
        model = build_detection_model(make_cfg(options))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = model(images, make_targets([6, 4]))
            assert set(losses) == names and all(torch.isfinite(v) for v in losses.values())
            with torch.no_grad():
                for proposal in model.eval().rpn(as_list(images), model.backbone(images))[0]:
                    assert proposal.bbox.dtype == torch.float32
                    inner = proposal.bbox[(proposal.bbox > 1).all(1)]
                    assert not torch.equal(inner, inner.to(torch.bfloat16).float())
        sum(losses.values()).backward()
