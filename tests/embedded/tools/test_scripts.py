"""Both scripts, from their command line, on a few pictures."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark_hml.datasets.mini_vg import make_mini_vg
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.resources import config_file, embedded_root

from ...waiting import HUNG

_spec = importlib.util.spec_from_file_location("small_run", Path(__file__).with_name("small_run.py"))
small_run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small_run)

TEST_SET = "VG_stanford_filtered_with_attribute_test"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "vg"
    make_mini_vg(folder, images=45, seed=0)
    return folder


@pytest.fixture
def command(data, monkeypatch):
    """``command(script, *words)`` calls the script's main() as the shell would."""
    monkeypatch.setenv("HML_DATA", str(data))

    def call(name, *words):
        module = small_run.script(name)
        config = ["--config-file", str(config_file("demo/relation.yaml"))]
        monkeypatch.setattr(sys, "argv", [name, *config, *map(str, words)])
        module.main()

    return call


def weights(folder):
    return torch.load(folder / "model_final.pth", weights_only=True)["model"]


def metrics(folder):
    return json.loads((folder / "inference" / TEST_SET / "metrics.json").read_text())


def test_train_resume_and_test(command, tmp_path):
    solver = ["SOLVER.MAX_ITER", 4, "SOLVER.CHECKPOINT_PERIOD", 2, "SOLVER.VAL_PERIOD", 2, "SOLVER.IMS_PER_BATCH", 2]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    command("relation_train_net", "OUTPUT_DIR", whole, *solver)
    assert (whole / "config.yml").is_file() and "iter: 4" in (whole / "log.txt").read_text()

    cut.mkdir()
    (whole / "model_0000002.pth").rename(cut / "model_0000002.pth")
    (cut / "last_checkpoint").write_text("model_0000002.pth")
    command("relation_train_net", "--skip-test", "OUTPUT_DIR", cut, *solver)
    one, two = weights(whole), weights(cut)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)

    command("relation_test_net", "OUTPUT_DIR", cut)
    assert metrics(cut) == metrics(whole)
    assert metrics(cut)["mode"] == "predcls"


@pytest.mark.slow
def test_two_processes_with_one_command(data, tmp_path):
    words = ["SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "2", "SOLVER.VAL_PERIOD", "2", "OUTPUT_DIR", str(tmp_path)]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        str(embedded_root() / "tools" / "relation_train_net.py"),
        "--config-file", str(config_file("demo/relation.yaml")), *words,
    ]  # fmt: skip
    env = {"PATH": "/usr/bin:/bin", "HML_DATA": str(data), "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=HUNG)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Using 2 processes" in done.stdout
    assert done.stdout.count("iter: 2 ") == 1
    assert metrics(tmp_path)["images"] > 0


def test_nothing_is_written_on_bad_input(command, tmp_path):
    folder = tmp_path / "run"
    for words, says in (
        (["SOLVER.MAXITER", 3], "did you mean SOLVER.MAX_ITER"),
        (["SOLVER.SCHEDULE.TYPE", "Cosine"], "Cosine"),
        (["MODEL.PRETRAINED_DETECTOR_CKPT", "absent.pth"], "absent.pth"),
    ):
        with pytest.raises(HMLError, match=says):
            command("relation_train_net", "OUTPUT_DIR", folder, *words)
    with pytest.raises(HMLError, match="nothing to test"):
        command("relation_test_net", "OUTPUT_DIR", folder)
    with pytest.raises(HMLError, match="TO_TEST"):
        command("relation_test_net", "OUTPUT_DIR", folder, "DATASETS.TO_TEST", "everything")
    assert not folder.exists()


def test_error_of_the_plain_script_is_one_line(tmp_path):
    """Started by path, from another folder, with nothing on the path."""
    script = embedded_root() / "tools" / "relation_train_net.py"
    done = subprocess.run(
        [sys.executable, str(script), "--config-file", "absent.yaml"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("hml: error: there is no configuration file absent.yaml")
    assert not list(tmp_path.iterdir())
