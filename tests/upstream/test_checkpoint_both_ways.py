"""A model trained by HML in one benchmark and tested in the other: the same recalls, image by image."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from .test_hml_on_sgb import cell, finished
from .test_sgb_runs import TEST, TRAIN, untouched  # noqa: F401 (an autouse fixture)

pytestmark = [pytest.mark.upstream, pytest.mark.slow]
# The R-50 that both benchmarks have; steps enough for a recall above 0.
MODEL = [
    "MODEL.DEVICE", "cpu", "MODEL.RESNETS.STRIDE_IN_1X1", "False", "MODEL.RESNETS.RES2_OUT_CHANNELS", "256",
    "MODEL.RESNETS.STEM_OUT_CHANNELS", "64", *cell("MotifPredictor", "predcls"),
]
STEPS = ["HML.ENABLED", "True", "HML.STAGES.ITERATIONS", "30,60", "SOLVER.BASE_LR", "0.01", "SOLVER.TO_VAL", "False"]


def numbers(value) -> np.ndarray:
    """All numbers of nested lists, NaN as -1."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return np.concatenate([np.zeros(0), *(numbers(item) for item in value)])
    return np.nan_to_num(np.array([float(value)]), nan=-1)


@pytest.mark.parametrize("trains", ["SGB", "embedded"])
def test_the_same_recalls(sgb, mini_vg, small_config, environ, tmp_path, trains):
    environ = {name: value for name, value in environ.items() if name != "SGB_HOME"}
    results = {}

    def run(benchmark: str, script: str, *options: str) -> None:
        head = [sys.executable, "-m", "maskrcnn_benchmark_hml", "run", *(["--sgb", str(sgb)] * (benchmark == "SGB"))]
        words = ["--data", str(mini_vg), script, "--config-file", str(small_config), *options, *MODEL]
        words += ["OUTPUT_DIR", str(tmp_path / "out")]
        finished(subprocess.run([*head, *words], capture_output=True, text=True, env=environ, cwd=tmp_path))

    run(trains, TRAIN, "--skip-test", *STEPS)
    for benchmark in ("SGB", "embedded"):
        run(benchmark, TEST)
        (file,) = (tmp_path / "out" / "inference").glob("*/result_dict.pytorch")
        results[benchmark] = torch.load(file, weights_only=False)
    ours, theirs = results["embedded"], results["SGB"]
    # SGB counts zero-shot triplets by a list made for Visual Genome, which comes with it.
    names = {name for name in theirs if "zeroshot" not in name}
    assert names <= set(ours) and max(numbers(theirs["predcls_recall"][100])) > 0
    for name in sorted(names):
        for k, value in theirs[name].items():
            assert np.allclose(numbers(value), numbers(ours[name][k]), rtol=0, atol=1e-6), (name, k)
