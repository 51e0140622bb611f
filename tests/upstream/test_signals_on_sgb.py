"""SIGTERM to the whole process group, loader workers included, on the unmodified benchmark."""

from __future__ import annotations

import signal

import pytest

from .test_hml_on_sgb import HML, cell, finished, outcome, run_hml, same  # noqa: F401 (a fixture)
from .test_sgb_runs import TRAIN, untouched  # noqa: F401 (an autouse fixture)

pytestmark = pytest.mark.upstream
OPTIONS = ["--skip-test", *cell("MotifPredictor", "predcls"), "DATALOADER.NUM_WORKERS", "2",
           "SOLVER.CHECKPOINT_PERIOD", "100"]


def test_a_stopped_hml_run_saves_and_ends_as_an_uninterrupted_one(run_hml, tmp_path):  # noqa: F811
    finished(run_hml(TRAIN, "whole", *OPTIONS, *HML))
    cut = run_hml(TRAIN, "cut", *OPTIONS, *HML, cut=(-signal.SIGTERM, 4))
    assert cut.returncode == 128 + signal.SIGTERM and "all is saved" in cut.stdout + cut.stderr, cut.stderr[-3000:]
    assert "resumes after iteration 2" in finished(run_hml(TRAIN, "cut", *OPTIONS, *HML))
    expected, got = outcome(tmp_path / "whole"), outcome(tmp_path / "cut")
    for part, value in expected.items():
        assert same(got[part], value), part


def test_a_stopped_run_without_hml_saves(run_hml, tmp_path):  # noqa: F811
    cut = run_hml(TRAIN, "cut", *OPTIONS, "SOLVER.TO_VAL", "False", cut=(-signal.SIGTERM, 1))
    said = cut.stdout + cut.stderr
    assert cut.returncode == 128 + signal.SIGTERM and "interrupted in the training without HML" in said, said[-3000:]
    assert (tmp_path / "cut" / "last_checkpoint").read_text().strip().endswith("model_0000002.pth")
    resumed = run_hml(TRAIN, "cut", *OPTIONS)
    assert resumed.returncode == 0 and (tmp_path / "cut" / "model_final.pth").is_file(), resumed.stderr[-3000:]
