"""A training without HML that hml run started saves when a signal asks it to stop, and goes on from there."""

from __future__ import annotations

import signal
from pathlib import Path

import torch

from ..embedded.warm_run import run_hml
from .conftest import run_options
from .test_resume import same

LENGTH = ("SOLVER.MAX_ITER", "8", "SOLVER.CHECKPOINT_PERIOD", "100", "SOLVER.VAL_PERIOD", "4")


def launch(data: Path, out: Path, number: int = 0, step: int = 0) -> tuple[int, str]:
    words = ["run", *run_options(data, out, "HML.ENABLED", "False", *LENGTH, "DATALOADER.NUM_WORKERS", "2")]
    return run_hml(words, out.parent / f"{out.name}.log", number, step)


def test_a_stopped_baseline_is_saved_and_ends_as_an_uninterrupted_one(tiny_vg, tmp_path):
    code, said = launch(tiny_vg, tmp_path / "whole")
    assert code == 0, said[-3000:]
    expected = torch.load(tmp_path / "whole" / "model_final.pth", weights_only=True)
    out = tmp_path / "cut"
    # after step 4 it validates, where a signal ends it at once; after step 5 it looks for one after the next step
    for step, iteration in ((4, 4), (1, 6)):
        code, said = launch(tiny_vg, out, -signal.SIGTERM, step)
        assert code == 128 + signal.SIGTERM, said[-3000:]
        assert f"HML: interrupted in the training without HML after iteration {iteration}; all is saved" in said
        assert (out / "last_checkpoint").read_text().endswith(f"model_{iteration:07d}.pth")
    code, said = launch(tiny_vg, out)
    assert code == 0, said[-3000:]
    got = torch.load(out / "model_final.pth", weights_only=True)
    for part in ("model", "optimizer", "scheduler", "iteration"):
        assert same(got[part], expected[part]), part
