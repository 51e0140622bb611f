"""The host's config for one stage."""

from __future__ import annotations

from pathlib import Path

from yacs.config import CfgNode

from maskrcnn_benchmark_hml.host.train import stage_config
from maskrcnn_benchmark_hml.training.stages import Stage


def test_a_stage_has_its_folder_its_length_and_steps_at_the_same_fractions():
    cfg = CfgNode({"OUTPUT_DIR": "out", "SOLVER": {"MAX_ITER": 40000, "STEPS": (10000, 16000)}})
    stage = Stage(1, 2, (1,), (0,), "only", 8000, True, Path("out/hml/stage1"), Path("memory.pt"))
    own = stage_config(cfg, stage)
    assert (own.OUTPUT_DIR, own.SOLVER.MAX_ITER, own.SOLVER.STEPS) == ("out/hml/stage1", 8000, (2000, 3200))
    assert cfg.OUTPUT_DIR == "out" and cfg.SOLVER.MAX_ITER == 40000
