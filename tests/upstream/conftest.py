"""Tests against the original benchmark: they need SGB_HOME, a Scene-Graph-Benchmark checkout, and say so without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ..host.ranks import free_port

REPO = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

# Small enough for two CPU cores: a thin R-50-FPN, narrow heads, few boxes, four steps. Pixels are scaled down because
# an untrained backbone, whose frozen batch norms do nothing, scales its input up by orders of magnitude.
CONFIG = """
MODEL:
  META_ARCHITECTURE: "GeneralizedRCNN"
  BACKBONE: {CONV_BODY: "R-50-FPN"}
  RESNETS: {BACKBONE_OUT_CHANNELS: 32, RES2_OUT_CHANNELS: 32, STEM_OUT_CHANNELS: 16, WIDTH_PER_GROUP: 8}
  RELATION_ON: True
  RPN:
    USE_FPN: True
    ANCHOR_STRIDE: (4, 8, 16, 32, 64)
    PRE_NMS_TOP_N_TRAIN: 200
    PRE_NMS_TOP_N_TEST: 200
    POST_NMS_TOP_N_TRAIN: 60
    POST_NMS_TOP_N_TEST: 60
    FPN_POST_NMS_TOP_N_TRAIN: 60
    FPN_POST_NMS_TOP_N_TEST: 60
    FPN_POST_NMS_PER_BATCH: False
    RPN_MID_CHANNEL: 32
  ROI_HEADS:
    USE_FPN: True
    POSITIVE_FRACTION: 0.5
    BATCH_SIZE_PER_IMAGE: 32
    DETECTIONS_PER_IMG: 10
    SCORE_THRESH: 0.0
    NMS_FILTER_DUPLICATES: True
  ROI_BOX_HEAD:
    POOLER_RESOLUTION: 7
    POOLER_SCALES: (0.25, 0.125, 0.0625, 0.03125)
    POOLER_SAMPLING_RATIO: 2
    FEATURE_EXTRACTOR: "FPN2MLPFeatureExtractor"
    PREDICTOR: "FPNPredictor"
    NUM_CLASSES: 151
    MLP_HEAD_DIM: 64
  ROI_RELATION_HEAD:
    ADD_GTBOX_TO_PROPOSAL_IN_TRAIN: True
    REQUIRE_BOX_OVERLAP: False
    BATCH_SIZE_PER_IMAGE: 64
    EMBED_DIM: 50
    CONTEXT_POOLING_DIM: 64
    CONTEXT_HIDDEN_DIM: 32
    TRANSFORMER: {OBJ_LAYER: 1, REL_LAYER: 1, NUM_HEAD: 2, KEY_DIM: 16, VAL_DIM: 16, INNER_DIM: 32}
INPUT:
  MIN_SIZE_TRAIN: (96,)
  MAX_SIZE_TRAIN: 128
  MIN_SIZE_TEST: 96
  MAX_SIZE_TEST: 128
  PIXEL_STD: [1000.0, 1000.0, 1000.0]
DATASETS:
  TRAIN: ("VG_stanford_filtered_with_attribute_train",)
  VAL: ("VG_stanford_filtered_with_attribute_val",)
  TEST: ("VG_stanford_filtered_with_attribute_test",)
DATALOADER: {SIZE_DIVISIBILITY: 32, NUM_WORKERS: 0}
GLOVE_DIR: ""
SOLVER:
  BASE_LR: 0.001
  IMS_PER_BATCH: 2
  MAX_ITER: 4
  VAL_PERIOD: 2
  CHECKPOINT_PERIOD: 2
  PRE_VAL: False
  SCHEDULE: {TYPE: "WarmupReduceLROnPlateau"}
TEST:
  IMS_PER_BATCH: 1
  ALLOW_LOAD_FROM_CACHE: False
  RELATION: {SYNC_GATHER: True, REQUIRE_OVERLAP: False, LATER_NMS_PREDICTION_THRES: 0.5}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    home = os.environ.get("SGB_HOME")
    if home and (Path(home) / "maskrcnn_benchmark").is_dir():
        return
    reason = f"SGB_HOME={home} is no checkout" if home else "SGB_HOME names no Scene-Graph-Benchmark checkout"
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def sgb() -> Path:
    """The checkout."""
    return Path(os.environ["SGB_HOME"]).resolve()


@pytest.fixture(scope="session")
def mini_vg(tmp_path_factory) -> Path:
    """The smallest mini-VG."""
    from maskrcnn_benchmark_hml.datasets.mini_vg import SMALLEST, make_mini_vg

    return make_mini_vg(tmp_path_factory.mktemp("data") / "vg", images=SMALLEST, seed=0)


@pytest.fixture
def small_config(tmp_path) -> Path:
    """The small config as a file."""
    config = tmp_path / "small.yaml"
    config.write_text(CONFIG)
    return config


@pytest.fixture
def environ() -> dict[str, str]:
    """No bytecode, so that the checkout stays as it is; our package from this tree; one thread."""
    path = os.pathsep.join(filter(None, (str(REPO), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def run_host(sgb, mini_vg, small_config, environ, tmp_path) -> Callable[..., SimpleNamespace]:
    """Runs a script of the checkout with ``hml run``, with the small config.

    ``ranks`` > 1 through a launcher; ``files``: the limit of open files.
    """

    def run(script: str, *options: str, launcher: str = "", ranks: int = 1, files: int = 0) -> SimpleNamespace:
        head = [sys.executable]
        if launcher:
            head += ["-m", launcher, f"--nproc_per_node={ranks}", f"--master_port={free_port()}"]
        head += ["-m", "maskrcnn_benchmark_hml", "run", "--sgb", str(sgb), "--data", str(mini_vg)]
        tail = ["--config-file", str(small_config), *options, "OUTPUT_DIR", str(tmp_path / "out")]
        limit = ["bash", "-c", f'ulimit -n {files}; exec "$@"', "bash"] if files else []
        words = [*limit, *head, script, *tail]
        done = subprocess.run(words, capture_output=True, text=True, env=environ, cwd=tmp_path)
        return SimpleNamespace(code=done.returncode, text=done.stdout + done.stderr, out=tmp_path / "out")

    return run
