"""The configuration tree: types, overrides as on the command line, the dataset catalog."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from maskrcnn_benchmark import config
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config.defaults import load_defaults
from maskrcnn_benchmark.config.paths_catalog import DatasetCatalog, ModelCatalog
from maskrcnn_benchmark.engine import launch

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host import environment


def test_brackets_are_tuples_and_paths_are_set():
    tree = load_defaults()
    assert tree.DATASETS.TRAIN == () and tree.SOLVER.STEPS == (30000,)
    assert tree.MODEL.ROI_HEADS.BBOX_REG_WEIGHTS == (10.0, 10.0, 5.0, 5.0)
    assert tree.PATHS_CATALOG.endswith("paths_catalog.py")
    assert len(tree.MODEL.ROI_RELATION_HEAD.REL_PROP) == 50


def test_command_line_overrides_merge():
    tree = cfg.clone()
    tree.merge_from_list(
        "MODEL.ROI_RELATION_HEAD.PREDICTOR MotifPredictor SOLVER.STEPS (10,20) TEST.IMS_PER_BATCH 2 DTYPE float16 "
        "MODEL.ROI_RELATION_HEAD.CAUSAL.EFFECT_TYPE none GLOVE_DIR /glove SOLVER.PRE_VAL False".split()
    )
    assert tree.SOLVER.STEPS == (10, 20) and tree.SOLVER.PRE_VAL is False


def test_unknown_key_is_refused():
    with pytest.raises(AssertionError, match="SOLVER.NOPE"):
        cfg.clone().merge_from_list(["SOLVER.NOPE", 1])


@pytest.mark.parametrize("name", ["VG_stanford_filtered_with_attribute_all", "COCO_train", ""])
def test_unknown_dataset_is_named(name):
    with pytest.raises(HMLError, match="not in the catalog"):
        DatasetCatalog.get(name, cfg)


def test_the_precisions_that_the_file_lists_are_those_that_are_accepted():
    text = (Path(config.__file__).parent / "defaults.yaml").read_text()
    listed = re.search(r"^DTYPE:.*# ([\w| ]+):", text, re.MULTILINE)[1].split(" | ")
    assert tuple(listed) == launch._PRECISIONS == environment.PRECISIONS


def test_overlap_filter_is_for_sgdet_only():
    tree = cfg.clone()
    tree.MODEL.RELATION_ON = True
    name = "VG_stanford_filtered_with_attribute_train"
    assert DatasetCatalog.get(name, tree)["args"]["filter_non_overlap"] is False
    tree.MODEL.ROI_RELATION_HEAD.USE_GT_BOX = False
    assert DatasetCatalog.get(name, tree)["args"]["filter_non_overlap"] is True


def test_model_catalog_refuses_to_download():
    with pytest.raises(HMLError, match="local file"):
        ModelCatalog.get("ImageNetPretrained/FAIR/20171220/X-101-32x8d")
