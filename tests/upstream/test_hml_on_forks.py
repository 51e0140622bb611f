"""HML on six forks: two stages of three steps each, validated and tested, in a copy of the fork.

SGB_FORKS names a folder with the checkouts (SHA-GCL, IETrans, PENET, CFA, DLFE, FGPL). What a fork needs beyond
SGB's command line stands beside its name.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
import torch
import yaml

from .conftest import CONFIG, REPO
from .test_hml_on_sgb import HML, cell
from .test_sgb_runs import HEAD, TRAIN

FORKS = Path(os.environ.get("SGB_FORKS") or "nowhere")
SHARED = Path(os.environ.get("HML_SHARED") or REPO.parent / "shared")
VECTORS = SHARED / "data" / "vectors" / "glove840B_300d_vgwords.vec"
AUTHORS_FOLDER = "/home/lvxinyu/lib/scene-graph-benchmark"
VG = "50VG_stanford_filtered_with_attribute_"
pytestmark = [pytest.mark.upstream, pytest.mark.slow]

OPTIONS = {
    "CFA": [],
    "DLFE": [],
    # Plain SGB training, its own names for the data, and a validation that is not 2 / (1/R + 1/mR): R may be 0.
    "IETrans": ["WSUPERVISE.METHOD", "none", "TEST.METRIC", "R", "DATASETS.TRAIN", f"('{VG}train',)",
                "DATASETS.VAL", f"('{VG}val',)", "DATASETS.TEST", f"('{VG}test',)"],
    # Without word vectors its predicates' embeddings are 0/0.
    "PENET": [f"{HEAD}.PREDICTOR", "PrototypeEmbeddingNetwork", "GLOVE_DIR", str(VECTORS)],
    # Its loss evaluator returns what the head expects only so; its run_val takes two results where there is one.
    "FGPL": [f"{HEAD}.USE_EXTRA_LOSS", "True", "SOLVER.TO_VAL", "False"],
    # Its detector's default path is its author's; predictors named *_GCL have no single relation loss.
    "SHA-GCL": ["MODEL.PRETRAINED_DETECTOR_CKPT_VG", "", "GLOBAL_SETTING.RELATION_PREDICTOR", "TransLikePredictor",
                "GLOBAL_SETTING.BASIC_ENCODER", "Hybrid-Attention"],
}
PACKAGES = {"IETrans": "ipdb", "PENET": "ipdb"}


@pytest.fixture
def fork(request, tmp_path) -> Path:
    """A copy of the fork's code: several write beside it."""
    name = request.param
    source = FORKS / name
    if not (source / TRAIN).is_file():
        pytest.skip(f"SGB_FORKS holds no checkout of {name}")
    package = PACKAGES.get(name)
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{name} imports {package}, which is not installed")
    if name == "PENET" and not VECTORS.is_file():
        pytest.skip(f"{VECTORS} does not exist; HML_SHARED names the folder that holds data/")
    return Path(shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns(".git", "__pycache__")))


@pytest.fixture
def data(fork, mini_vg, tmp_path) -> Path:
    """mini-VG as the fork wants it."""
    folder = Path(shutil.copytree(mini_vg, tmp_path / "vg"))
    if fork.name == "IETrans":  # its annotation files mark the validation split
        with h5py.File(folder / "VG-SGG-with-attri.h5", "r+") as file:
            file["split"][: int(file.attrs["num_val_images"])] = 1
    if fork.name == "FGPL":  # absolute paths, and a matrix of counts that is not in the repository
        for path in (*fork.glob("maskrcnn_benchmark/**/*.py"), fork / TRAIN):
            path.write_text(path.read_text().replace(AUTHORS_FOLDER, str(fork)))
        for path in folder.iterdir():
            (fork / "datasets" / "vg" / path.name).symlink_to(path)
        write_counts(fork, folder)
    return folder


def write_counts(fork: Path, folder: Path) -> None:
    import numpy as np

    with h5py.File(folder / "VG-SGG-with-attri.h5", "r") as file:
        labels, pairs = file["labels"][:, 0], file["relationships"][:]
        counts = np.zeros((151, 151, 51))
        np.add.at(counts, (labels[pairs[:, 0]], labels[pairs[:, 1]], file["predicates"][:, 0]), 1)
    np.save(fork / "misc" / "fg_matrix_overlap.npy", counts)


@pytest.fixture
def config(fork, tmp_path) -> Path:
    """The small config, with the fork's names."""
    content = yaml.safe_load(CONFIG)
    if fork.name == "SHA-GCL":  # what depends on the dataset is there once per dataset
        box = content["MODEL"]["ROI_BOX_HEAD"]
        box["VG_NUM_CLASSES"] = box.pop("NUM_CLASSES")
        content["DATASETS"] = {f"VG_{key}": value for key, value in content["DATASETS"].items()}
    path = tmp_path / "fork.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("fork", OPTIONS, indirect=True)
def test_two_stages(fork, data, config, environ, tmp_path):
    out = tmp_path / "out"
    words = [sys.executable, "-m", "maskrcnn_benchmark_hml", "run", "--sgb", ".", "--data", str(data), TRAIN]
    words += ["--config-file", str(config), *cell("MotifPredictor", "predcls"), *OPTIONS[fork.name], *HML]
    done = subprocess.run([*words, "OUTPUT_DIR", str(out)], capture_output=True, text=True, env=environ, cwd=fork)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    assert len(re.findall(r"HML: stage \d of 2 ends after 3 iterations", text)) == 2
    assert re.search(r"loss_cr: \d", text) and "the step is skipped" not in text
    assert "type=Mean Recall" in text
    state = torch.load(out / "model_final.pth", map_location="cpu", weights_only=True)["model"]
    assert all(bool(torch.isfinite(value).all()) for value in state.values() if value.is_floating_point())
