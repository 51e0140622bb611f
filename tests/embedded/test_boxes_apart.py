"""A data set in which no two boxes touch trains, tests and reports: every predictor, task and label policy."""

from __future__ import annotations

import json

import pytest

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.curves import read_curves
from maskrcnn_benchmark_hml.experiments.presets import (
    DETECTOR_CONFIG,
    DETECTOR_SCRIPT,
    PREDICTORS,
    TASKS,
    run_overrides,
)
from maskrcnn_benchmark_hml.resources import config_file
from maskrcnn_benchmark_hml.settings_notes import POLICIES

from ..boxes_apart import make_boxes_apart
from .test_nine_cells import INFERENCE, SMALL, SMALL_HEAD, TRAIN
from .warm_run import run_hml

HML = ("HML.ENABLED", "True", "HML.STAGES.ITERATIONS", "(1,2)", "SOLVER.VAL_PERIOD", "2", "HML.STAGES.LABELS")
#: SGDet trains on pairs that overlap, and its tests keep such pairs alone, unless these say otherwise.
NO_OVERLAP = ("MODEL.ROI_RELATION_HEAD.REQUIRE_BOX_OVERLAP", "False", "TEST.RELATION.REQUIRE_OVERLAP", "False")
#: predictor, task, labels of both stages, and whether it is of make test.
CELLS = [
    *((p, t, "only,containing", (p, t) == ("vctree", "predcls")) for p in PREDICTORS for t in TASKS),
    *(("motifs", "predcls", f"{policy},all", False) for policy in POLICIES if policy != "only"),
    # No picture of the smallest mini-VG has relations of layer 2 alone.
    *(("motifs", "predcls", f"only,{policy}", False) for policy in POLICIES if policy in ("only", "all")),
    ("transformer", "sgdet", "only,only", False),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_boxes_apart(tmp_path_factory.mktemp("apart") / "vg")


@pytest.fixture(scope="module")
def detector(data, tmp_path_factory):
    """A detector that has hardly learnt."""
    out = tmp_path_factory.mktemp("detector")
    words = ["run", "--data", data, DETECTOR_SCRIPT, "--config-file", config_file(DETECTOR_CONFIG), "--skip-test"]
    words += [*SMALL, "SOLVER.MAX_ITER", "2", "SOLVER.VAL_PERIOD", "2", "OUTPUT_DIR", out]
    status, text = run_hml(words, out / "log")
    assert status == 0, text[-3000:]
    curves = read_curves(out / "metrics.jsonl")
    assert [line["iteration"] for line in curves] == [1, 2, 2]
    assert curves[-1]["validation"]["metric"] == "mAP@0.5" and len(curves[0]["terms"]) == 4
    return out / "model_final.pth"


@pytest.mark.parametrize("predictor, task, labels", [
    pytest.param(*cell, marks=() if fast else pytest.mark.slow) for *cell, fast in CELLS])
def test_it_trains_tests_and_reports(data, request, tmp_path, capsys, predictor, task, labels):
    weights = None if task == "predcls" else request.getfixturevalue("detector")
    config, words = run_overrides(predictor, task, data, detector=weights)
    words = ["run", "--data", data, TRAIN, "--config-file", config, *words, *SMALL, *SMALL_HEAD, *HML, labels]
    overlap = NO_OVERLAP if task == "sgdet" else ()
    status, text = run_hml([*words, *overlap, "OUTPUT_DIR", tmp_path / "out"], tmp_path / "log")
    assert status == 0 and "loss_cr" in text, text[-3000:]
    metrics = json.loads((tmp_path / "out" / INFERENCE).read_text())
    assert metrics["mode"] == task and metrics["images"] > 0 and 0 <= metrics["mR@50"] <= 1
    if task == "predcls":
        assert metrics["images_evaluated"] == metrics["images"]  # each has predicted relations
    assert cli.main(["report", str(tmp_path / "out"), "--per-predicate"]) == 0
    assert "mR@50" in capsys.readouterr().out


@pytest.mark.slow
def test_sgdet_under_the_overlap_filter_is_told_the_option(data, detector, tmp_path):
    config, words = run_overrides("motifs", "sgdet", data, detector=detector)
    words = ["run", "--data", data, TRAIN, "--config-file", config, *words, *SMALL, *SMALL_HEAD, *HML, "only,all"]
    require = ("MODEL.ROI_RELATION_HEAD.REQUIRE_BOX_OVERLAP", "True")
    status, text = run_hml([*words, *require, "OUTPUT_DIR", tmp_path / "out"], tmp_path / "log")
    assert status == 2 and "joins boxes that overlap" in text and "REQUIRE_BOX_OVERLAP False" in text, text[-2000:]
    assert "Traceback" not in text and not (tmp_path / "out").exists()
