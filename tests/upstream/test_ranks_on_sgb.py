"""Two ranks on the unmodified benchmark: the same on both, and the same as one rank with the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..host.ranks import assert_as_one_rank, assert_identical_on_both_ranks, pinned_options, train, write_pinned_vg
from .test_sgb_runs import TRAIN, untouched  # noqa: F401 (an autouse fixture)

pytestmark = [pytest.mark.upstream, pytest.mark.slow]


@pytest.fixture(scope="module")
def pinned_vg(tmp_path_factory) -> Path:
    return write_pinned_vg(tmp_path_factory.mktemp("pinned") / "vg")


@pytest.fixture
def words(sgb, pinned_vg, small_config):
    """Arguments of ``hml run`` for a run into a folder."""

    def words_for(out: Path) -> list[str]:
        extra = ("MODEL.FLIP_AUG", "False", "SOLVER.WARMUP_ITERS", "5")
        head = ["--sgb", str(sgb), "--data", str(pinned_vg), TRAIN, "--config-file", str(small_config)]
        return [*head, *pinned_options(out, *extra)]

    return words_for


def test_both_launchers(words, tmp_path):
    train("", tmp_path / "one", words(tmp_path / "out1"))
    for launcher in ("launch", "torchrun"):
        files = tmp_path / launcher
        text = train(launcher, files, words(tmp_path / f"out-{launcher}"))
        assert "Using 2 GPUs" in text and text.count("hml: using") == 1
        assert_identical_on_both_ranks(files)
        assert_as_one_rank(tmp_path / "one", files)


@pytest.mark.parametrize("launcher", ["launch", "torchrun"])
def test_our_package_under_a_launcher(words, tmp_path, launcher):
    """The command as it is documented, with validation and test on both ranks."""
    options = [word for word in words(tmp_path / "out") if word != "--skip-test"]
    short = ["HML.STAGES.ITERATIONS", "2,2", "SOLVER.TO_VAL", "True", "SOLVER.VAL_PERIOD", "2"]
    text = train(launcher, tmp_path / "files", [*options, *short], module="maskrcnn_benchmark_hml")
    assert text.count("ends after 2 iterations") == 2 and "type=Mean Recall" in text
    assert (tmp_path / "out" / "model_final.pth").is_file()
