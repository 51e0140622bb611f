"""A tiny mini-VG and the shortest HML run on the embedded benchmark, made once per test session."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskrcnn_benchmark_hml.compat.amp import amp
from maskrcnn_benchmark_hml.datasets.mini_vg import make_mini_vg

CONFIG = Path(__file__).parents[2] / "configs" / "demo" / "relation.yaml"


@pytest.fixture(scope="session")
def tiny_vg(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "vg"
    make_mini_vg(folder, images=120, seed=1)
    return folder


@pytest.fixture(autouse=True, scope="module")  # before a module's own fixtures
def no_checkout():
    """These tests drive the embedded benchmark, whatever SGB_HOME says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SGB_HOME", raising=False)
        yield


@pytest.fixture(autouse=True)
def full_precision_afterwards():
    """A run with DTYPE float16 leaves torch's functions to the next test as it found them."""
    yield
    amp.deactivate()


def run_options(data: Path, out: Path, *extra: str) -> list[str]:
    """Arguments of ``hml run`` for two stages of 6 and 8 iterations with validation and a checkpoint every 3."""
    return [
        "--data", str(data), "tools/relation_train_net.py", "--config-file", str(CONFIG), "--skip-test",
        "OUTPUT_DIR", str(out), "HML.ENABLED", "True", "HML.STAGES.ITERATIONS", "6,8",
        "SOLVER.IMS_PER_BATCH", "2", "SOLVER.CHECKPOINT_PERIOD", "3", "SOLVER.VAL_PERIOD", "4", "SOLVER.TO_VAL", "True",
        "SOLVER.PRE_VAL", "False", "DATALOADER.NUM_WORKERS", "0", "MODEL.ROI_RELATION_HEAD.BATCH_SIZE_PER_IMAGE", "16",
        *extra,
    ]
