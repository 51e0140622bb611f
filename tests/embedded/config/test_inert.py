"""Every configuration key acts, is refused when changed, or is in the table of keys without effect."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config.inert import INERT, REFUSED, check_refused, inert_keys
from maskrcnn_benchmark.engine.launch import check_run, log_settings
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError

EMBEDDED = Path(__file__).resolve().parents[3] / "maskrcnn_benchmark_hml" / "embedded"
# Read by a name that is put together: rpn[f"PRE_NMS_TOP_N_{phase}"].
BY_PHASE = re.compile(r"MODEL\.RPN\.\w+_TOP_N_(TRAIN|TEST)")
TABLES = {**INERT, **REFUSED}


def leaves(node, prefix=""):
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def code() -> str:
    return "\n".join(p.read_text() for p in sorted(EMBEDDED.rglob("*.py")) if p.name != "inert.py")


def changed(key: str, value):
    tree = cfg.clone()
    node = tree
    *parents, leaf = key.split(".")
    for part in parents:
        node = node[part]
    node[leaf] = value
    return tree


def other(value):
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return value + "x" if isinstance(value, str) else [*value, 1]


def default(key: str):
    node = cfg
    for part in key.split("."):
        node = node[part]
    return node


def test_a_key_that_the_code_does_not_name_is_in_a_table():
    words = set(re.findall(r"[A-Z][A-Z0-9_]+", code()))
    keys = [key for key in leaves(cfg) if not key.startswith("HML.")]
    unnamed = {key for key in keys if key.rpartition(".")[2] not in words and not BY_PHASE.fullmatch(key)}
    assert len(keys) > 180 and len(unnamed) > 25
    assert unnamed - set(TABLES) == set()
    assert 'f"PRE_NMS_TOP_N_{phase}"' in code()


def test_the_tables_hold_keys_that_exist_and_are_not_read():
    assert set(TABLES) <= set(leaves(cfg)) and not set(INERT) & set(REFUSED)
    text = code()
    read = [key for key in TABLES if "cfg." + key in text and key not in (
        # passed on to the evaluation, which has SGB's arguments and does not look at these
        "TEST.EXPECTED_RESULTS", "TEST.EXPECTED_RESULTS_SIGMA_TOL")]
    assert read == []


@pytest.mark.parametrize("key", sorted(INERT))
def test_an_inert_key_is_said(key):
    tree = changed(key, other(default(key)))
    if key in ("TEST.ALLOW_LOAD_FROM_CACHE", "MODEL.ROI_HEADS.USE_FPN"):  # what happens anyway
        assert inert_keys(tree) == ""
    else:
        assert inert_keys(tree) == f"{key} ({INERT[key]})"
    check_refused(tree)


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_what_this_benchmark_lacks_is_refused(key):
    tree = changed(key, other(default(key)))
    tree.MODEL.DEVICE = "cpu"
    with pytest.raises(HMLError, match=f"{re.escape(key)} is .*leave it at"):
        check_run(tree)


def test_the_log_says_it_once(caplog):
    tree = changed("MODEL.ROI_RELATION_HEAD.CAUSAL.EFFECT_TYPE", "TDE")
    tree.SOLVER.CLIP_NORM = 1.0
    tree.MODEL.ROI_RELATION_HEAD.CAUSAL.FUSION_TYPE = "gate"
    with caplog.at_level(logging.INFO):
        log_settings(tree, logging.getLogger("inert"))
        log_settings(cfg, logging.getLogger("inert"))
    (line,) = [r.getMessage() for r in caplog.records if "no effect here" in r.getMessage()]
    assert "CAUSAL.EFFECT_TYPE, MODEL.ROI_RELATION_HEAD.CAUSAL.FUSION_TYPE (there is no causal predictor)" in line
    assert "SOLVER.CLIP_NORM (SOLVER.GRAD_NORM_CLIP is the limit" in line
