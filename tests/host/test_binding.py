"""What a run's folder is bound to, and from when on: at its first saved step, by content, and with a way to go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host.launch import run_script
from maskrcnn_benchmark_hml.host.stage_driver import StageDriver

from .conftest import run_options


def run(data: Path, out: Path, *extra: str) -> None:
    """Two stages of two steps each."""
    options = run_options(data, out, "HML.STAGES.ITERATIONS", "2,2", "SOLVER.TO_VAL", "False", *extra)
    run_script(options[2], options[3:], data=options[1])


def bound(out: Path) -> bool:
    return (out / "hml" / "settings.json").is_file()


@pytest.fixture
def no_checkpoint(tmp_path) -> Path:
    path = tmp_path / "detector.pth"
    path.write_text("<html>please log in")
    return path


def test_a_start_that_fails_binds_nothing_and_the_corrected_command_runs(tiny_vg, tmp_path, no_checkpoint, monkeypatch):
    out = tmp_path / "out"
    for options in (
        ("MODEL.PRETRAINED_DETECTOR_CKPT", str(no_checkpoint)),
        ("MODEL.PRETRAINED_DETECTOR_CKPT", str(tmp_path / "missing.pth")),
        ("MODEL.BACKBONE.CONV_BODY", "R-7"),
        ("MODEL.DEVICE", "cuda:77"),
    ):
        with pytest.raises((HMLError, RuntimeError, AssertionError, KeyError)):
            run(tiny_vg, out, *options)
        assert not bound(out), options
    with monkeypatch.context() as patch:
        def out_of_memory(*args, **kwargs):
            raise torch.OutOfMemoryError("CUDA out of memory") if hasattr(torch, "OutOfMemoryError") else RuntimeError

        patch.setattr(StageDriver, "_clip_grad_norm", out_of_memory)
        with pytest.raises(RuntimeError):
            run(tiny_vg, out, "SOLVER.IMS_PER_BATCH", "4")
    assert not bound(out)
    run(tiny_vg, out)
    assert bound(out) and json.loads((out / "hml" / "stages.json").read_text())[1]["iterations"] == 2
    with pytest.raises(HMLError, match="was begun with SOLVER.IMS_PER_BATCH = 2, now it is 4"):
        run(tiny_vg, out, "SOLVER.IMS_PER_BATCH", "4")
