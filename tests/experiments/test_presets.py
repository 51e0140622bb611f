"""Predictor, task -> config and overrides: one base file, the detector's network where a detector is used."""

from __future__ import annotations

import pytest
import yaml

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.experiments import presets as catalog
from maskrcnn_benchmark_hml.resources import config_file

HEAD = "MODEL.ROI_RELATION_HEAD."


def pairs(words):
    return dict(zip(words[::2], words[1::2]))


@pytest.mark.parametrize("task", catalog.TASKS)
@pytest.mark.parametrize("predictor", catalog.PREDICTORS)
def test_each_run_says_what_differs(make_run, tmp_path, predictor, task):
    data = make_run().data
    config, words = catalog.run_overrides(predictor, task, data, detector=tmp_path / "d.pth")
    given = pairs(words)
    assert config.is_file() and len(given) * 2 == len(words)
    assert given[HEAD + "PREDICTOR"].lower().startswith(predictor.rstrip("s"))
    mode = {("True", "True"): "predcls", ("True", "False"): "sgcls", ("False", "False"): "sgdet"}
    assert mode[given[HEAD + "USE_GT_BOX"], given[HEAD + "USE_GT_OBJECT_LABEL"]] == task
    assert given["MODEL.PRETRAINED_DETECTOR_CKPT"] == str(tmp_path / "d.pth")
    assert given[HEAD + "NUM_CLASSES"] == "4" and given["MODEL.ROI_BOX_HEAD.NUM_CLASSES"] == "3"


def test_only_predcls_does_without_a_detector(make_run):
    data = make_run().data
    _, words = catalog.run_overrides("motifs", "predcls", data)
    assert not {"MODEL.PRETRAINED_DETECTOR_CKPT", "MODEL.RESNETS.BACKBONE_OUT_CHANNELS"} & set(words)
    for task in ("sgcls", "sgdet"):
        with pytest.raises(HMLError, match=f"{task} needs a detector"):
            catalog.run_overrides("motifs", task, data)
    with pytest.raises(HMLError, match="no predictor 'imp'; choose one of motifs, vctree, transformer"):
        catalog.run_overrides("imp", "predcls", data)
    with pytest.raises(HMLError, match="no task 'all'"):
        catalog.run_overrides("motifs", "all", data)


def test_the_relation_run_has_the_network_of_the_detector(make_run, tmp_path):
    """Every key that shapes a weight or decides where a box's features come from."""
    relation, detector = (
        yaml.safe_load(config_file(name).read_text()) for name in (catalog.RELATION_CONFIG, catalog.DETECTOR_CONFIG)
    )
    _, words = catalog.run_overrides("motifs", "sgdet", make_run().data, detector=tmp_path)
    for key, value in pairs(words).items():
        if key.startswith(("MODEL.RESNETS", "MODEL.ROI_BOX_HEAD.POOLER")):
            *path, leaf = key.split(".")
            node = relation
            for part in path:
                node = node[part]
            node[leaf] = yaml.safe_load(value.replace("(", "[").replace(")", "]"))
    assert relation["INPUT"] == detector["INPUT"]
    for part in ("BACKBONE", "RESNETS", "ROI_BOX_HEAD"):
        assert relation["MODEL"][part] == detector["MODEL"][part], part
    for key in ("USE_FPN", "ANCHOR_SIZES", "ANCHOR_STRIDE", "ASPECT_RATIOS", "RPN_MID_CHANNEL"):
        assert relation["MODEL"]["RPN"][key] == detector["MODEL"]["RPN"][key], key
