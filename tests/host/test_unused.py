"""What HML does not do with a setting of the host is said, by name and with what acts instead."""

from __future__ import annotations

from types import SimpleNamespace as Stage

import pytest
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.config import add_hml_config
from maskrcnn_benchmark_hml.host.launch import run_script
from maskrcnn_benchmark_hml.host.unused import small_groups, unused_settings

from .conftest import run_options

STAGES = [Stage(iterations=8), Stage(iterations=16)]
CASES = {
    "nothing": ({}, []),
    "length": ({"MAX_ITER": 50}, ["SOLVER.MAX_ITER 50 is not used: HML.STAGES.ITERATIONS gives the stages 8, 16 iter"]),
    "steps": ({"SCHEDULE": CfgNode({"TYPE": "WarmupMultiStepLR"})}, ["SOLVER.STEPS (12, 18), of SOLVER.MAX_ITER 24, "
              "become (4, 6) and (8, 12) in the stages"]),
    "seed": ({"SEED": 7}, ["SOLVER.SEED 7 is not used: HML.SEED 0 seeds the run"]),
    "schedule": ({"UPDATE_SCHEDULE_DURING_LOAD": True}, ["SOLVER.UPDATE_SCHEDULE_DURING_LOAD True is not used"]),
    "smoothing": ({"smoothing": True}, ["MODEL.ROI_RELATION_HEAD.LABEL_SMOOTHING_LOSS True acts on the objects' loss"]),
}


@pytest.mark.parametrize("case", CASES)
def test_each_setting(case):
    changes, said = CASES[case]
    solver = {"MAX_ITER": 24, "STEPS": (12, 18), "SCHEDULE": CfgNode({"TYPE": "WarmupReduceLROnPlateau"}), **changes}
    head = CfgNode({"LABEL_SMOOTHING_LOSS": solver.pop("smoothing", False)})
    cfg = CfgNode({"SOLVER": CfgNode(solver), "MODEL": CfgNode({"ROI_RELATION_HEAD": head})})
    found = unused_settings(add_hml_config(cfg), STAGES)
    assert len(found) == len(said) and all(line.startswith(start) for line, start in zip(found, said))


def test_a_batch_larger_than_the_images():
    assert small_groups([0] * 12, 12) == ""
    assert small_groups([0] * 5, 12).startswith("it has 5 images, fewer than SOLVER.IMS_PER_BATCH 12")
    assert "5 images of one orientation" in small_groups([0] * 50 + [1] * 5, 12)


def test_a_run_says_it_once(tiny_vg, tmp_path, caplog):
    options = run_options(tiny_vg, tmp_path / "out", "HML.STAGES.ITERATIONS", "1,1", "SOLVER.IMS_PER_BATCH", "64",
                          "SOLVER.SEED", "5", "SOLVER.TO_VAL", "False")
    with caplog.at_level("INFO"):
        run_script(options[2], options[3:], data=options[1])
    assert caplog.text.count("SOLVER.SEED 5 is not used") == caplog.text.count("SOLVER.MAX_ITER") == 1
    assert "fewer than SOLVER.IMS_PER_BATCH 64" in caplog.text
