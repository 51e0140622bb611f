"""Which tree a run has: a run of one stage needs none."""

from __future__ import annotations

import pytest
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.config import add_hml_config
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.training.stages import plan_stages
from maskrcnn_benchmark_hml.training.trees import one_stage_tree, resolve_tree

CLASSES = ["__background__", "glorps", "fnords", "blicks"]
COUNTS = {"glorps": 5, "fnords": 3, "blicks": 0}


def settings(**values):
    hml = add_hml_config(CfgNode()).HML
    hml.CONTROL = "class_balanced"
    for name, value in values.items():
        hml.TREE[name] = value
    return hml


@pytest.mark.parametrize("values", [{}, {"BUILDER": "frequency", "BOUNDARIES": [15]}, {"BUILDER": "clustered"}])
def test_one_stage_needs_no_tree_and_trains_for_the_sum_of_the_stages(values, tmp_path):
    hml = settings(**values)
    with pytest.raises(HMLError):
        resolve_tree(hml.TREE, CLASSES, COUNTS)
    tree = one_stage_tree(hml.TREE, CLASSES, COUNTS)
    assert tree.num_layers == 1 and set(tree.predicates) == set(COUNTS)
    (only,) = plan_stages(hml, tree, CLASSES, tmp_path)
    assert only.iterations == 8000 + 16000 and only.labels == (1, 2, 3)


def test_a_tree_that_was_asked_for_by_name_must_be_there():
    with pytest.raises(HMLError, match="HML.TREE.FILE missing.json does not exist"):
        one_stage_tree(settings(FILE="missing.json").TREE, CLASSES, COUNTS)


def test_the_tree_of_the_settings_is_used_where_there_is_one():
    hml = settings(BUILDER="frequency", BOUNDARIES=[1])
    assert one_stage_tree(hml.TREE, CLASSES, COUNTS).num_layers == 2
