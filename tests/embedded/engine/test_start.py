"""What a relation head's training may start from: nothing, a detector, or a whole relation model."""

from __future__ import annotations

import pytest
import torch
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.engine.launch import check_start, starting_model

from maskrcnn_benchmark_hml.errors import HMLError

DETECTOR = {"backbone.w": torch.ones(2), "roi_heads.box.w": torch.ones(2)}


@pytest.fixture
def config(tmp_path):
    torch.save({"model": {**DETECTOR, "roi_heads.relation.predictor.w": torch.ones(1)}}, tmp_path / "relation.pth")
    torch.save({"model": DETECTOR}, tmp_path / "detector.pth")

    def make(weight="", detector="", **changes):
        tree = cfg.clone()
        tree.OUTPUT_DIR = str(tmp_path / "out")
        tree.MODEL.WEIGHT = str(tmp_path / weight) if weight else ""
        tree.MODEL.PRETRAINED_DETECTOR_CKPT = str(tmp_path / detector) if detector else ""
        for key, value in changes.items():
            tree.MODEL[key] = value
        return tree

    return make


def test_what_is_accepted(config, tmp_path):
    for tree in (config(), config(detector="detector.pth"), config("detector.pth", "detector.pth")):
        check_start(tree)
        assert starting_model(tree) == ""
    for detector in ("", "detector.pth", "relation.pth"):
        tree = config("relation.pth", detector)
        check_start(tree)
        assert starting_model(tree).endswith("relation.pth")
    check_start(config(detector="relation.pth", PARTIAL_LOAD=True))


def test_the_right_option_is_named(config):
    with pytest.raises(HMLError, match="detector.pth holds no relation head.*MODEL.PRETRAINED_DETECTOR_CKPT"):
        check_start(config("detector.pth"))
    with pytest.raises(HMLError, match="relation.pth is a whole relation model.*give it as MODEL.WEIGHT"):
        check_start(config(detector="relation.pth"))


def test_a_run_to_continue_is_not_asked(config, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "last_checkpoint").write_text("x")
    (tmp_path / "out" / "x").touch()
    check_start(config("detector.pth"))
