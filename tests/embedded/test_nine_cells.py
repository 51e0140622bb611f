"""Predictor x task, with and without HML: train, validate, be killed, resume, test; and HML with one to four layers.

A run that was killed and resumed ends bit for bit where the whole run ends, and the test script finds its metrics.
"""

from __future__ import annotations

import itertools
import json
import signal

import pytest
import torch

from maskrcnn_benchmark_hml.datasets.mini_vg import SMALLEST, make_mini_vg
from maskrcnn_benchmark_hml.experiments.budget import stage_lengths, stage_shares
from maskrcnn_benchmark_hml.experiments.grid import override_text
from maskrcnn_benchmark_hml.experiments.presets import (
    DETECTOR_CONFIG,
    DETECTOR_SCRIPT,
    PREDICTORS,
    TASKS,
    run_overrides,
)
from maskrcnn_benchmark_hml.experiments.tree_choice import DataTrees, TreeChoice
from maskrcnn_benchmark_hml.method.memory import StageMemory
from maskrcnn_benchmark_hml.resources import config_file

from .warm_run import run_hml

TRAIN, TEST = "tools/relation_train_net.py", "tools/relation_test_net.py"
INFERENCE = "inference/VG_stanford_filtered_with_attribute_test/metrics.json"
#: Smaller than the demo: two pictures a step, narrow layers, few boxes and pairs.
SMALL = (
    *("SOLVER.IMS_PER_BATCH", "2", "SOLVER.CHECKPOINT_PERIOD", "2", "SOLVER.WARMUP_ITERS", "2"),
    *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", "64", "INPUT.MAX_SIZE_TRAIN", "80"),
    *("INPUT.MAX_SIZE_TEST", "80", "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM", "64"),
)
SMALL_HEAD = (
    *("MODEL.ROI_RELATION_HEAD.BATCH_SIZE_PER_IMAGE", "16", "MODEL.ROI_RELATION_HEAD.CONTEXT_HIDDEN_DIM", "32"),
    *("MODEL.ROI_RELATION_HEAD.CONTEXT_POOLING_DIM", "64", "MODEL.ROI_HEADS.DETECTIONS_PER_IMG", "6"),
)
#: Optimizer steps before the kill: HML's stages have steps 1-3 and 4-6, the plain run 1-4; checkpoints after two.
HML = ("HML.ENABLED", "True", "HML.STAGES.ITERATIONS", "(3,3)", "SOLVER.VAL_PERIOD", "3"), (3, 6)
PLAIN = ("SOLVER.MAX_ITER", "4", "SOLVER.VAL_PERIOD", "4"), (3,)
FAST = {("motifs", "sgdet", "plain"), ("vctree", "sgdet", "hml"), ("transformer", "sgcls", "hml")}
CELLS = [
    pytest.param(*cell, marks=() if cell in FAST else pytest.mark.slow)
    for cell in itertools.product(PREDICTORS, TASKS, ("plain", "hml"))
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_mini_vg(tmp_path_factory.mktemp("data") / "vg", images=SMALLEST, seed=0)


@pytest.fixture(scope="module")
def detector(data, tmp_path_factory):
    """A detector that has hardly learnt: what matters here is that its weights are loaded."""
    out = tmp_path_factory.mktemp("detector")
    words = ["run", "--data", data, DETECTOR_SCRIPT, "--config-file", config_file(DETECTOR_CONFIG), "--skip-test"]
    words += [*SMALL, "SOLVER.MAX_ITER", "2", "SOLVER.TO_VAL", "False", "OUTPUT_DIR", out]
    status, text = run_hml(words, out / "log")
    assert status == 0, text[-3000:]
    return out / "model_final.pth"


def outcome(out, stages):
    """Weights, optimizer, F and Omega."""
    last = torch.load(out / "model_final.pth", weights_only=True)
    memories = [StageMemory.load(out / "hml" / f"stage{k}" / "memory.pt") for k in range(1, stages)]
    rates = [group["lr"] for group in last["optimizer"]["param_groups"]]
    state = torch.load(out / "model_final.hml.pt", weights_only=True)["hml"] if stages else None
    return [last["model"], last["optimizer"]["state"], rates, state, *((m.fisher, m.omega) for m in memories)]


def same(a, b):
    if torch.is_tensor(a):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.fixture
def call(data, detector, tmp_path):
    """``call(cell, script, out, overrides, step=0)`` runs one process; with a step it is killed after that."""

    def run(cell, script, out, overrides, step=0):
        predictor, task = cell
        config, words = run_overrides(predictor, task, data, detector=None if task == "predcls" else detector)
        words = ["run", "--data", data, script, "--config-file", config, *words, *SMALL, *SMALL_HEAD, *overrides]
        status, text = run_hml([*words, "OUTPUT_DIR", out], tmp_path / "log", signal.SIGKILL, step)
        assert status == (-signal.SIGKILL if step else 0), text[-3000:]
        return text

    return run


@pytest.mark.parametrize("predictor, task, way", CELLS)
def test_cell(call, tmp_path, predictor, task, way):
    cell, (settings, cuts) = (predictor, task), {"plain": PLAIN, "hml": HML}[way]
    stages = {"plain": 0, "hml": 2}[way]
    whole = tmp_path / "whole"
    text = call(cell, TRAIN, whole, settings)
    assert text.count("Validation Result") == max(stages, 1)
    assert ("loss_cr" in text) == (way == "hml") and ("binary_loss" in text) == (predictor == "vctree")
    metrics = json.loads((whole / INFERENCE).read_text())
    assert metrics["mode"] == task and metrics["images"] > 0 and 0 <= metrics["mR@50"] <= 1
    expected = outcome(whole, stages)
    for step in cuts:
        cut = tmp_path / f"cut{step}"
        call(cell, TRAIN, cut, settings, step)
        assert not (cut / "model_final.pth").exists()
        call(cell, TRAIN, cut, settings)
        assert all(map(same, outcome(cut, stages), expected))
        assert json.loads((cut / INFERENCE).read_text()) == metrics
    (whole / INFERENCE).unlink()
    call(cell, TEST, whole, ())
    assert json.loads((whole / INFERENCE).read_text()) == metrics


@pytest.mark.isa
@pytest.mark.parametrize(
    "predictor, task",
    [pytest.param(p, t, marks=() if (p, t) == ("motifs", "predcls") else pytest.mark.slow)
     for p in PREDICTORS for t in TASKS],
)  # fmt: skip
def test_mixed_precision(call, tmp_path, predictor, task):
    """Trained by two stages, validated and tested, on processors with and without LSTMs in low precision."""
    cell, out = (predictor, task), tmp_path / "out"
    text = call(cell, TRAIN, out, (*HML[0], "DTYPE", "float16"))
    assert text.count("Validation Result") == 2 and "loss_cr" in text
    metrics = json.loads((out / INFERENCE).read_text())
    (out / INFERENCE).unlink()
    call(cell, TEST, out, ("DTYPE", "float16"))
    assert json.loads((out / INFERENCE).read_text()) == metrics


@pytest.mark.parametrize("layers", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3)), 4])
def test_stages_of_other_trees(call, data, tmp_path, layers):
    cell, whole, cut = ("motifs", "predcls"), tmp_path / "whole", tmp_path / "cut"
    lengths = override_text(stage_lengths("equal", 8, stage_shares(layers, "paper")))
    tree = DataTrees(TreeChoice(), data, tmp_path / "trees").overrides(layers)
    words = [word for pair in tree.items() for word in pair]
    settings = ("HML.ENABLED", "True", "HML.STAGES.ITERATIONS", lengths, *words, "SOLVER.VAL_PERIOD", "2")
    text = call(cell, TRAIN, whole, settings)
    stages = json.loads((whole / "hml" / "stages.json").read_text())
    assert len(stages) == layers and sum(stage["iterations"] for stage in stages) == 8
    assert all(f"HML: stage {k} of {layers} ends after" in text for k in range(1, layers + 1))
    assert ("loss_cr" in text) == (layers > 1)
    seen = [0]
    for stage in stages:
        assert stage["old_classes"] == seen and not set(stage["labels"]) & set(seen)
        seen = [*seen, *stage["labels"]]
    assert sorted(seen) == list(range(51))
    call(cell, TRAIN, cut, settings, step=7)  # in the last stage
    call(cell, TRAIN, cut, settings)
    assert all(map(same, outcome(cut, layers), outcome(whole, layers)))
