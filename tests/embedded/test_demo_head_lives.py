"""The demo's relation heads stay alive under the class-balanced loss; if they did not, the log would say so.

A dead head is easily overlooked: the frequency bias alone still has a loss that falls and a recall to show.
"""

from __future__ import annotations

import pytest

from maskrcnn_benchmark_hml.datasets.mini_vg import make_mini_vg
from maskrcnn_benchmark_hml.experiments.presets import run_overrides

from .warm_run import run_hml


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_mini_vg(tmp_path_factory.mktemp("data") / "vg", images=180, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "predictor, changed, dead",
    [
        ("motifs", (), False),
        ("motifs", ("SOLVER.GRAD_NORM_CLIP", "20.0"), True),
        ("vctree", (), False),
        ("transformer", (), False),
    ],
)
def test_the_first_stages_loss_and_the_heads_relus(data, tmp_path, predictor, changed, dead):
    config, words = run_overrides(predictor, "predcls", data)
    command = ["run", "--data", data, "tools/relation_train_net.py", "--config-file", config, "--skip-test"]
    command += ["OUTPUT_DIR", tmp_path / "run", *words, "HML.ENABLED", "True"]
    command += ["HML.STAGES.ITERATIONS", "(200,1)", "SOLVER.TO_VAL", "False", "SOLVER.SEED", "0", "HML.SEED", "0"]
    status, text = run_hml([*command, *changed], tmp_path / "log")
    assert status == 0, text[-3000:]
    assert ("gradients have vanished" in text) == dead, text[-3000:]
