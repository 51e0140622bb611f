"""HML.TEST.TAU on the unmodified benchmark: its own training and test scripts give a result per tau."""

from __future__ import annotations

import pytest
import torch

from .test_hml_on_sgb import finished, run_hml  # noqa: F401 (a fixture)
from .test_sgb_runs import TASKS, TEST, TRAIN, untouched  # noqa: F401 (an autouse fixture)

pytestmark = pytest.mark.upstream


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_each_tau_has_its_result_and_tau_0_is_the_plain_one(task, run_hml, tmp_path):  # noqa: F811
    options = [*TASKS[task], "SOLVER.TO_VAL", "False"]
    text = finished(run_hml(TRAIN, "out", *options, "HML.TEST.TAU", "0,1.5"))
    assert "less 1.5 log prior (foreground)" in text
    (plain,) = (tmp_path / "out" / "inference").iterdir()
    results = [torch.load(folder / "result_dict.pytorch", weights_only=False)
               for folder in (plain, plain / "tau_0", plain / "tau_1.5")]
    key = next(name for name in results[0] if name.endswith("_recall") and "mean" not in name)
    assert results[0][key] == results[1][key]
    finished(run_hml(TEST, "out", *options, "HML.TEST.TAU", "1.5", "HML.TEST.PRIOR", "all"))
    assert (plain / "tau_1.5" / "result_dict.pytorch").is_file()
