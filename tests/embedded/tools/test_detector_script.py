"""The detector's script, and the relation scripts on its result (SGDet, SGCls)."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark_hml.datasets.mini_vg import make_mini_vg
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.experiments.presets import run_overrides
from maskrcnn_benchmark_hml.resources import config_file

_spec = importlib.util.spec_from_file_location("small_run", Path(__file__).with_name("small_run.py"))
small_run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small_run)

TEST_SET = "VG_stanford_filtered_with_attribute_test"
SOLVER = ["SOLVER.MAX_ITER", 4, "SOLVER.CHECKPOINT_PERIOD", 2, "SOLVER.VAL_PERIOD", 4, "SOLVER.IMS_PER_BATCH", 2]
FEW_BOXES = ["MODEL.ROI_HEADS.DETECTIONS_PER_IMG", 8]


@pytest.fixture(autouse=True, scope="module")
def two_threads():
    """A run repeats bit for bit with several threads too; the other tests have OMP_NUM_THREADS, by default one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_mini_vg(tmp_path_factory.mktemp("data") / "vg", images=45, seed=0)


@pytest.fixture(scope="module")
def command(data):
    """``command(script, config, *words)`` calls the script's main() as the shell would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HML_DATA", str(data))

        def call(name, config, *words):
            module = small_run.script(name)
            patch.setattr(sys, "argv", [name, "--config-file", str(config_file(config)), *map(str, words)])
            module.main()

        yield call


@pytest.fixture(scope="module")
def detector(command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    command("detector_pretrain_net", "demo/detector.yaml", "OUTPUT_DIR", folder, *SOLVER)
    return folder


def weights(folder):
    return torch.load(folder / "model_final.pth", weights_only=True)["model"]


def metrics(folder):
    return json.loads((folder / "inference" / TEST_SET / "metrics.json").read_text())


def resumed(command, script, config, whole, cut, *words):
    """Runs again from ``whole``'s checkpoint of iteration 2 and asserts the same end."""
    cut.mkdir()
    (cut / "model_0000002.pth").write_bytes((whole / "model_0000002.pth").read_bytes())
    (cut / "last_checkpoint").write_text("model_0000002.pth")
    command(script, config, "--skip-test", "OUTPUT_DIR", cut, *words)
    one, two = weights(whole), weights(cut)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_the_detector_trains_tests_and_resumes(command, detector, tmp_path):
    found = metrics(detector)
    assert found["mode"] == "detection" and 0 <= found["mAP"] <= found["mAP@0.5"] <= 1
    assert "Detection evaluation mAp=" in (detector / "log.txt").read_text()
    assert not [name for name in weights(detector) if "relation" in name]
    resumed(command, "detector_pretrain_net", "demo/detector.yaml", detector, tmp_path / "cut", *SOLVER)


def test_sgdet_on_the_detector_trains_tests_and_resumes(command, data, detector, tmp_path):
    whole, config = tmp_path / "whole", "demo/relation.yaml"
    task = run_overrides("motifs", "sgdet", data, detector=detector / "model_final.pth")[1]
    words = [*task, *SOLVER, *FEW_BOXES]
    command("relation_train_net", config, "OUTPUT_DIR", whole, *words)
    assert metrics(whole)["mode"] == "sgdet" and "A@20" not in metrics(whole)
    trained, given = weights(whole), weights(detector)
    frozen = [name for name in trained if not name.startswith("roi_heads.relation.")]
    assert frozen and all(torch.equal(trained[name], given[name]) for name in frozen)
    resumed(command, "relation_train_net", config, whole, tmp_path / "cut", *words)
    tested = metrics(whole)
    command("relation_test_net", config, "OUTPUT_DIR", whole, *task, *FEW_BOXES)
    assert metrics(whole) == tested


def test_sgcls_takes_the_same_file(command, data, detector, tmp_path):
    task = run_overrides("motifs", "sgcls", data, detector=detector / "model_final.pth")[1]
    command("relation_train_net", "demo/relation.yaml", "OUTPUT_DIR", tmp_path, *task, *SOLVER)
    assert metrics(tmp_path)["mode"] == "sgcls"


def test_what_it_does_not_train_is_named(command, tmp_path):
    folder, script = tmp_path / "run", "detector_pretrain_net"
    with pytest.raises(HMLError, match="RELATION_ON is True"):
        command(script, "demo/relation.yaml", "OUTPUT_DIR", folder)
    with pytest.raises(HMLError, match="R-101-FPN has frozen normalisation.*MODEL.WEIGHT"):
        command(script, "demo/detector.yaml", "OUTPUT_DIR", folder, "MODEL.BACKBONE.CONV_BODY", "R-101-FPN")
    assert not folder.exists()
