"""Weights from elsewhere: ImageNet networks, published detectors, and what is refused."""

from __future__ import annotations

import logging

import pytest
import torch
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer
from maskrcnn_benchmark.utils.pretrained import imagenet_body
from torchvision.models.resnet import Bottleneck, ResNet

from maskrcnn_benchmark_hml.errors import HMLError

NETWORK = {
    "MODEL.BACKBONE.CONV_BODY": "R-50-FPN",
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.RESNETS.NUM_GROUPS": 2,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
    "MODEL.ROI_BOX_HEAD.POOLER_SCALES": (0.25, 0.125, 0.0625, 0.03125),
    "MODEL.RPN.USE_FPN": True,
    "MODEL.RPN.ANCHOR_SIZES": (12, 24, 48, 96, 192),
    "MODEL.RPN.ANCHOR_STRIDE": (4, 8, 16, 32, 64),
    "MODEL.RPN.RPN_MID_CHANNEL": 8,
    "MODEL.ROI_RELATION_HEAD.USE_GT_BOX": False,
    "MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL": False,
}
RGB = {
    "INPUT.TO_BGR255": False,
    "INPUT.PIXEL_MEAN": [0.485, 0.456, 0.406],
    "INPUT.PIXEL_STD": [0.229, 0.224, 0.225],
}
MAPPING = {
    "roi_heads.relation.box_feature_extractor": "roi_heads.box.feature_extractor",
    "roi_heads.relation.union_feature_extractor.feature_extractor": "roi_heads.box.feature_extractor",
}


@pytest.fixture
def config(make_cfg):
    return lambda **changes: make_cfg({**NETWORK, **{k.replace("__", "."): v for k, v in changes.items()}})


def load(cfg, model, file, **kwargs):
    return DetectronCheckpointer(cfg, model, logger=logging.getLogger("weights")).load(str(file), False, **kwargs)


@pytest.fixture
def imagenet():
    """torchvision's network of these widths with batch norm, its running statistics not trivial."""
    network = ResNet(Bottleneck, [3, 4, 6, 3], groups=2, width_per_group=4)
    for name, value in network.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            value.normal_(0, 0.1)
        elif name.endswith("running_var"):
            value.uniform_(1.0, 4.0)
    network.bn1.running_var.mul_(1e-4)  # so small that the constant added to it shows
    return network.eval()


def test_imagenet_weights_give_torchvisions_maps(config, imagenet, tmp_path):
    torch.save(imagenet.state_dict(), tmp_path / "resnet.pth")
    cfg = config(**RGB, MODEL__RELATION_ON=False)
    model = build_detection_model(cfg)
    head = model.rpn.head.conv.weight.clone()
    load(cfg, model, tmp_path / "resnet.pth")
    assert torch.equal(head, model.rpn.head.conv.weight)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = model.backbone.body(x)
        expected = imagenet.layer1(imagenet.maxpool(imagenet.relu(imagenet.bn1(imagenet.conv1(x)))))
        torch.testing.assert_close(maps[0], expected, rtol=1e-4, atol=1e-4)
        expected = imagenet.layer4(imagenet.layer3(imagenet.layer2(expected)))
        torch.testing.assert_close(maps[3], expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_the_key_map_covers_resnext_101_32x8d(make_cfg):
    changes = {**NETWORK, "MODEL.BACKBONE.CONV_BODY": "R-101-FPN", "MODEL.RESNETS.NUM_GROUPS": 32,
               "MODEL.RESNETS.WIDTH_PER_GROUP": 8, "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 256}  # fmt: skip
    from maskrcnn_benchmark.modeling.backbone import build_backbone
    from torchvision.models import resnext101_32x8d

    with torch.device("meta"):
        file = resnext101_32x8d().state_dict()
        own = {f"backbone.{name}": value for name, value in build_backbone(make_cfg(changes)).state_dict().items()}
    given = {name: value.shape for name, value in imagenet_body(file).items()}
    assert given == {name: value.shape for name, value in own.items() if ".body." in name}


def test_imagenet_weights_demand_their_pixels(config, imagenet, tmp_path):
    torch.save(imagenet.state_dict(), tmp_path / "resnet.pth")
    cfg = config(MODEL__RELATION_ON=False)
    with pytest.raises(HMLError, match=r"INPUT.TO_BGR255 False.*0.485.*gives INPUT.TO_BGR255 True"):
        load(cfg, build_detection_model(cfg), tmp_path / "resnet.pth")


@pytest.mark.parametrize(("boxes", "labels"), [(False, False), (True, False), (True, True)])
def test_a_detector_enters_each_task(config, tmp_path, boxes, labels):
    detector = build_detection_model(config(MODEL__RELATION_ON=False))
    state = {f"module.{name}": value for name, value in detector.state_dict().items()}
    for i, anchors in enumerate(detector.rpn.anchor_generator.cell_anchors):
        state[f"module.rpn.anchor_generator.cell_anchors.{i}"] = anchors  # published detectors hold them
    torch.save({"model": state, "iteration": 7}, tmp_path / "d.pth")
    task = {"MODEL__ROI_RELATION_HEAD__USE_GT_BOX": boxes, "MODEL__ROI_RELATION_HEAD__USE_GT_OBJECT_LABEL": labels}
    cfg = config(**task)
    model = build_detection_model(cfg)
    load(cfg, model, tmp_path / "d.pth", load_mapping=MAPPING)
    own, given = model.state_dict(), detector.state_dict()
    for name, value in own.items():
        if not name.startswith("roi_heads.relation."):
            assert torch.equal(value, given[name]), name
    copied = "roi_heads.relation.union_feature_extractor.feature_extractor.fc6.weight"
    assert torch.equal(own[copied], given["roi_heads.box.feature_extractor.fc6.weight"])


def test_other_anchors_are_noticed(config, tmp_path):
    cfg = config(MODEL__RELATION_ON=False)
    model = build_detection_model(cfg)
    state = model.state_dict()
    for i, anchors in enumerate(model.rpn.anchor_generator.cell_anchors):
        state[f"rpn.anchor_generator.cell_anchors.{i}"] = anchors * 2
    torch.save({"model": state}, tmp_path / "d.pth")
    with pytest.raises(HMLError, match="other anchors.*ANCHOR_SIZES"):
        load(cfg, model, tmp_path / "d.pth")


def test_a_partial_load_is_refused_unless_asked_for(config, tmp_path, caplog):
    cfg = config(MODEL__RELATION_ON=False)
    model = build_detection_model(cfg)
    state = {name: torch.zeros_like(v) for name, v in model.state_dict().items() if not name.startswith("rpn.head.co")}
    state["backbone.body.layer3.23.conv1.weight"] = torch.zeros(1)
    torch.save({"model": state}, tmp_path / "d.pth")
    before = model.rpn.head.conv.weight.clone()
    said = r"lacks rpn.head.conv.weight, rpn.head.conv.bias and has backbone.body.layer3.23.conv1.weight.*PARTIAL_LOAD"
    with pytest.raises(HMLError, match=said):
        load(cfg, model, tmp_path / "d.pth")
    assert model.roi_heads.box.predictor.cls_score.weight.abs().sum() > 0  # nothing was copied

    cfg = config(MODEL__RELATION_ON=False, MODEL__PARTIAL_LOAD=True)
    with caplog.at_level(logging.INFO, logger="weights"):
        load(cfg, model, tmp_path / "d.pth")
    assert "rpn.head.conv.weight" in caplog.text and "layer3.23.conv1" in caplog.text
    assert model.roi_heads.box.predictor.cls_score.weight.abs().sum() == 0
    assert torch.equal(before, model.rpn.head.conv.weight)

    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "e.pth")
    with pytest.raises(HMLError, match="lacks backbone.body"):
        load(cfg, model, tmp_path / "e.pth")


def test_a_detector_of_other_pixels_is_noticed(config, tmp_path):
    cfg = config(MODEL__RELATION_ON=False, **RGB)
    saver = DetectronCheckpointer(cfg, build_detection_model(cfg), save_dir=str(tmp_path), save_to_disk=True)
    saver.save("model_final", iteration=3)
    assert "pixels" not in saver.load() and saver.load()["iteration"] == 3
    other = config(MODEL__RELATION_ON=False)
    with pytest.raises(HMLError, match="INPUT.TO_BGR255 False"):
        load(other, build_detection_model(other), tmp_path / "model_final.pth")


VOCABULARY = {"MODEL__ROI_BOX_HEAD__NUM_CLASSES": 9}


@pytest.fixture
def foreign(config, tmp_path):
    """A detector of another vocabulary, as a file."""
    detector = build_detection_model(config(MODEL__RELATION_ON=False, **VOCABULARY))
    torch.save({"model": detector.state_dict()}, tmp_path / "d.pth")
    return tmp_path / "d.pth"


def test_a_detector_of_another_vocabulary_is_trained_on(config, foreign, caplog):
    cfg = config(MODEL__RELATION_ON=False)
    model = build_detection_model(cfg)
    with pytest.raises(HMLError, match=r"cls_score.weight is \(9, .*another vocabulary.*PARTIAL_LOAD True leaves them"):
        load(cfg, model, foreign)
    cfg = config(MODEL__RELATION_ON=False, MODEL__PARTIAL_LOAD=True)
    before = model.roi_heads.box.predictor.cls_score.weight.clone()
    with caplog.at_level(logging.INFO, logger="weights"):
        load(cfg, model, foreign)
    assert "left at its initialisation: roi_heads.box.predictor.cls_score.weight" in caplog.text
    assert torch.equal(before, model.roi_heads.box.predictor.cls_score.weight)
    given = torch.load(foreign, weights_only=True)["model"]
    assert torch.equal(model.rpn.head.conv.weight, given["rpn.head.conv.weight"])


@pytest.mark.parametrize(("boxes", "labels"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("partial", [False, True])
def test_a_detector_of_another_vocabulary_below_a_relation_head(config, foreign, boxes, labels, partial):
    """PredCls has no classifier; the other tasks never get a random one."""
    task = {"MODEL__ROI_RELATION_HEAD__USE_GT_BOX": boxes, "MODEL__ROI_RELATION_HEAD__USE_GT_OBJECT_LABEL": labels}
    cfg = config(**task, MODEL__PARTIAL_LOAD=partial)
    model = build_detection_model(cfg)
    if labels:
        load(cfg, model, foreign, load_mapping=MAPPING)
        return
    with pytest.raises(HMLError, match="cls_score.*another vocabulary.*train one from this file with tools/det"):
        load(cfg, model, foreign, load_mapping=MAPPING)


def test_a_weight_that_is_not_used_is_said(config, foreign, tmp_path, caplog):
    cfg = config(MODEL__RELATION_ON=False, MODEL__WEIGHT=str(foreign))
    model = build_detection_model(cfg)
    saver = DetectronCheckpointer(cfg, model, save_dir=str(tmp_path / "run"), save_to_disk=True)
    (tmp_path / "run").mkdir()
    saver.save("model_final")
    for load_it in (lambda: saver.load(cfg.MODEL.WEIGHT), lambda: saver.load()):
        caplog.clear()
        load_it()
        assert f"MODEL.WEIGHT {foreign} is not used: last_checkpoint in OUTPUT_DIR names" in caplog.text
