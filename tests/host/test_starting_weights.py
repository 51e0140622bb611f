"""HML.STAGES.INIT: what stage 2 starts from when a detector is given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from maskrcnn_benchmark_hml.method.memory import StageMemory

from .conftest import run_options

CHILD = Path(__file__).with_name("start_run.py")
HEAD, BOX = "roi_heads.relation.", "roi_heads.box."
COPY = "roi_heads.relation.box_feature_extractor.fc6.weight"


def stage_2_start(words: list[str], environ: dict[str, str], folder: Path, out: Path) -> tuple[dict, dict, dict]:
    """Runs the child; (the model at stage 2's step 0, the relation head of stage 1, the detector)."""
    words = [sys.executable, str(CHILD), str(folder), *words]
    done = subprocess.run(words, capture_output=True, text=True, env=environ, cwd=folder)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    start = torch.load(folder / "start.pt", weights_only=True)
    detector = torch.load(folder / "detector.pth", weights_only=True)["model"]
    assert all(torch.equal(start[name], tensor) for name, tensor in detector.items() if name in start)
    return start, StageMemory.load(out / "hml" / "stage1" / "memory.pt").head, detector


def starts_as_the_previous_head_ended(start: dict, previous: dict, detector: dict) -> None:
    head = {name[len(HEAD) :]: tensor for name, tensor in start.items() if name.startswith(HEAD)}
    assert head.keys() == previous.keys()
    assert [name for name in head if not torch.equal(head[name], previous[name])] == []
    assert not torch.equal(start[COPY], detector[BOX + "feature_extractor.fc6.weight"])  # stage 1 has trained it


def test_init_previous_wins_over_a_detector(tiny_vg, tmp_path):
    out = tmp_path / "out"
    words = run_options(tiny_vg, out, "HML.STAGES.ITERATIONS", "2,1", "SOLVER.TO_VAL", "False")
    words += ["HML.STAGES.INIT", "previous"]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    starts_as_the_previous_head_ended(*stage_2_start(words, environ, tmp_path, out))
