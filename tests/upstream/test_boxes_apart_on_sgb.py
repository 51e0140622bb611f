"""A data set in which no two boxes touch, on the unmodified benchmark."""

from __future__ import annotations

import pytest

from maskrcnn_benchmark_hml import cli

from ..boxes_apart import make_boxes_apart
from .test_hml_on_sgb import HML, cell, finished, run_hml  # noqa: F401 (a fixture)
from .test_sgb_runs import HEAD, TRAIN

pytestmark = pytest.mark.upstream


@pytest.fixture(scope="module")
def mini_vg(tmp_path_factory):
    """In the place of the mini-VG of the other tests."""
    return make_boxes_apart(tmp_path_factory.mktemp("apart") / "vg")


@pytest.mark.parametrize("task", ["predcls", pytest.param("sgcls", marks=pytest.mark.slow)])
def test_it_trains_tests_and_reports(run_hml, tmp_path, capsys, task):  # noqa: F811
    """SGB drops relations whose boxes do not overlap in SGDet alone, so its filter may stay on here."""
    filtered = [f"{HEAD}.REQUIRE_BOX_OVERLAP", "True", "TEST.RELATION.REQUIRE_OVERLAP", "True"]
    options = [*cell("MotifPredictor", task), *filtered, *HML, "HML.STAGES.ITERATIONS", "1,2"]
    text = finished(run_hml(TRAIN, "out", *options))
    assert "loss_cr" in text and f"mode={task}" in text
    assert cli.main(["report", str(tmp_path / "out")]) == 0
    assert "mR@50" in capsys.readouterr().out


def test_sgdet_under_its_overlap_filter_is_told_the_option(run_hml, tmp_path):  # noqa: F811
    options = [*cell("MotifPredictor", "sgdet"), f"{HEAD}.REQUIRE_BOX_OVERLAP", "True", *HML]
    done = run_hml(TRAIN, "out", *options)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr[-2000:]
    assert "joins boxes that overlap" in done.stderr and "REQUIRE_BOX_OVERLAP False" in done.stderr
