"""Two ranks on the embedded benchmark: the same on both, and the same as one rank with the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import CONFIG
from .ranks import assert_as_one_rank, assert_identical_on_both_ranks, pinned_options, train, write_pinned_vg

pytestmark = pytest.mark.slow
SCRIPT = "tools/relation_train_net.py"


@pytest.fixture(scope="module")
def pinned_vg(tmp_path_factory) -> Path:
    return write_pinned_vg(tmp_path_factory.mktemp("pinned") / "vg")


def words(data: Path, out: Path) -> list[str]:
    extra = ("SOLVER.BASE_LR", "0.001", "SOLVER.WARMUP_ITERS", "5", "HML.IMPORTANCE.EFFECTIVE", "step")
    return ["--data", str(data), SCRIPT, "--config-file", str(CONFIG), *pinned_options(out, *extra)]


@pytest.fixture(scope="module")
def whole(pinned_vg, tmp_path_factory) -> Path:
    """One rank."""
    folder = tmp_path_factory.mktemp("whole")
    train("", folder / "files", words(pinned_vg, folder / "out"))
    return folder / "files"


@pytest.mark.parametrize("launcher", ["launch", "torchrun"])
def test_two_ranks(pinned_vg, whole, tmp_path, launcher):
    train(launcher, tmp_path / "files", words(pinned_vg, tmp_path / "out"))
    assert_identical_on_both_ranks(tmp_path / "files")
    assert_as_one_rank(whole, tmp_path / "files")
