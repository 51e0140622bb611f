"""The training curves of runs on the unmodified benchmark."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from maskrcnn_benchmark_hml.curves import read_curves

from .test_hml_on_sgb import HML, KILLED_IN_STAGE_2, cell, finished, run_hml  # noqa: F401 (run_hml is a fixture)
from .test_sgb_runs import TRAIN, untouched  # noqa: F401 (an autouse fixture)

pytestmark = pytest.mark.upstream


def lines(out: Path) -> list[dict]:
    """Without what is another number in every run."""
    return [{k: v for k, v in line.items() if k not in ("seconds", "memory_mb")}
            for line in read_curves(out / "metrics.jsonl")]


def test_a_resumed_run_has_the_lines_of_an_uninterrupted_one(run_hml, tmp_path):  # noqa: F811
    """PRE_VAL: SGB validates before training, and again whenever the run is resumed."""
    options = ["--skip-test", *cell("MotifPredictor", "predcls"), *HML, "SOLVER.PRE_VAL", "True"]
    text = finished(run_hml(TRAIN, "whole", *options))
    whole = lines(tmp_path / "whole")
    expected = [(stage, iteration, validation) for stage in (1, 2)
                for iteration, validation in ((0, True), (1, False), (2, False), (2, True), (3, False))]
    assert [(line["stage"], line["iteration"], "validation" in line) for line in whole] == expected
    last = whole[-1]
    assert {"loss_rel", "loss_cr", "loss_mr"} <= last["terms"].keys() and "11 of 11 hook points found" in text
    assert last["loss"] == pytest.approx(sum(v for k, v in last["terms"].items() if k != "loss_mr"), rel=1e-5)
    broken = run_hml(TRAIN, "cut", *options, cut=KILLED_IN_STAGE_2)
    assert broken.returncode == -signal.SIGKILL and len(lines(tmp_path / "cut")) == len(whole)
    finished(run_hml(TRAIN, "cut", *options))
    assert lines(tmp_path / "cut") == whole


def test_a_run_without_hml(run_hml, tmp_path):  # noqa: F811
    finished(run_hml(TRAIN, "plain", "--skip-test", *cell("MotifPredictor", "predcls")))
    got = lines(tmp_path / "plain")
    assert [(line["iteration"], "validation" in line) for line in got] == [
        (1, False), (2, False), (2, True), (3, False), (4, False), (4, True)]
    assert got[2]["validation"]["metric"] == "R@100" and "loss_cr" not in got[-2]["terms"]
