"""configs/relation_x101.yaml: its first lines say how to get the other cells; what they say is what happens."""

from __future__ import annotations

import re
import shlex

import pytest
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.engine.launch import check_run

from maskrcnn_benchmark_hml.config import add_hml_config
from maskrcnn_benchmark_hml.resources import config_file

FILE = config_file("relation_x101.yaml")


def options(cell: str) -> list[str]:
    """The options that the comment gives for a cell, over one or more lines."""
    comment = "".join(line[2:] for line in FILE.read_text().splitlines(True) if line.startswith("#"))
    (text,) = re.findall(rf"^  {cell} +(.*(?:\n {{10,}}.*)*)", comment, re.MULTILINE)
    return shlex.split(text.partition(";")[0].replace("the same and", ""))


def merged(*words: str):
    tree = add_hml_config(cfg.clone())
    tree.merge_from_file(str(FILE))
    tree.merge_from_list([*words, "MODEL.DEVICE", "cpu"])
    check_run(tree)
    return tree


def given(tree) -> tuple[str, bool, bool]:
    head = tree.MODEL.ROI_RELATION_HEAD
    return head.PREDICTOR, head.USE_GT_BOX, head.USE_GT_OBJECT_LABEL


def test_the_options_in_the_comment_give_the_cells():
    sgcls = options("SGCls")
    assert given(merged()) == ("MotifPredictor", True, True)
    assert given(merged(*sgcls)) == ("MotifPredictor", True, False)
    assert given(merged(*sgcls, *options("SGDet"))) == ("MotifPredictor", False, False)
    assert given(merged(*options("VCTree")))[0] == "VCTreePredictor"
    assert merged(*options("HML")).HML.ENABLED


def test_the_transformer_has_its_own_schedule():
    tree = merged(*options("Transformer"))
    assert given(tree)[0] == "TransformerPredictor" and tree.SOLVER.SCHEDULE.TYPE == "WarmupMultiStepLR"
    assert (tree.SOLVER.IMS_PER_BATCH, tree.SOLVER.BASE_LR, tree.SOLVER.MAX_ITER) == (16, 0.001, 16000)
    assert tree.SOLVER.STEPS == (10000, 16000)


@pytest.mark.parametrize("part", ["BACKBONE", "RESNETS", "ROI_BOX_HEAD"])
def test_it_has_the_detector_s_network(part):
    detector = cfg.clone()
    detector.merge_from_file(str(config_file("detector_x101.yaml")))
    assert detector.MODEL[part] == merged().MODEL[part]
