"""One gradient with inf in it: the step is not done, F and Omega do not know of it, the run goes on."""

from __future__ import annotations

import math

import pytest
import torch

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host import stage_driver
from maskrcnn_benchmark_hml.host.launch import run_script

from .conftest import run_options

BAD, LAST = 3, 5


@pytest.fixture
def states(monkeypatch):
    """Parameters, F and Omega_raw before each forward of stage 2."""
    seen: dict[int, dict[str, torch.Tensor]] = {}
    original = stage_driver.StageDriver._before_forward

    def before(self, model, inputs):
        if model.training and self.stage.index == 2:
            tracker = self.method.tracker.state_dict()
            state = {f"parameter {name}": p.detach().clone() for name, p in model.named_parameters()}
            state.update({name: tracker[name].clone() for name in ("fisher", "raw")})
            seen[self.iteration + 1] = {**state, "steps": torch.tensor(tracker["steps"])}
        return original(self, model, inputs)

    monkeypatch.setattr(stage_driver.StageDriver, "_before_forward", before)
    return seen


def inject(monkeypatch, prefix: str, value: float) -> None:
    """Put ``value`` into the gradient of the first parameter below ``prefix``, in iteration BAD of stage 2."""
    original = stage_driver.StageDriver._build_model

    def build(self, *args, **kwargs):
        model = original(self, *args, **kwargs)
        parameter = next(p for name, p in model.named_parameters() if name.startswith(prefix) and p.requires_grad)

        def spoil(gradient):
            if self.stage.index == 2 and self.iteration == BAD:
                gradient = gradient.clone()
                gradient.view(-1)[0] = value
            return gradient

        parameter.register_hook(spoil)
        return model

    monkeypatch.setattr(stage_driver.StageDriver, "_build_model", build)


CASES = [
    ("predictor.", math.inf, "float32"), ("predictor.", math.nan, "float32"),
    pytest.param("union_feature_extractor.", math.inf, "float16", marks=pytest.mark.isa),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in (
        ("union_feature_extractor.", math.inf, "float32"), ("predictor.", math.inf, "float16"),
        ("predictor.", math.nan, "float16"))),
]  # fmt: skip


@pytest.mark.parametrize(("part", "value", "dtype"), CASES)
def test_the_step_is_not_done(tiny_vg, tmp_path, monkeypatch, states, part, value, dtype):
    inject(monkeypatch, f"roi_heads.relation.{part}", value)
    words = ["HML.STAGES.ITERATIONS", f"1,{LAST}", "DTYPE", dtype, "SOLVER.TO_VAL", "False"]
    options = run_options(tiny_vg, tmp_path / "out", *words)
    run_script(options[2], options[3:], data=options[1])
    assert sorted(states) == list(range(1, LAST + 1))
    before, after = states[BAD], states[BAD + 1]
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    for earlier in (BAD - 1, BAD + 1):  # the steps around it are done
        moved = {name for name in before if not torch.equal(states[earlier][name], states[earlier + 1][name])}
        assert {"fisher", "raw", "steps"} < moved and any(name.startswith("parameter") for name in moved)
    final = torch.load(tmp_path / "out" / "model_final.pth", map_location="cpu", weights_only=False)["model"]
    assert all(bool(torch.isfinite(t).all()) for t in final.values() if t.is_floating_point())


def test_a_stage_whose_steps_are_all_skipped_is_an_error(tiny_vg, tmp_path):
    """It ended with exit code 0 and a model_final.pth that nothing had trained."""
    words = ["HML.STAGES.ITERATIONS", "1,4", "HML.CR.WEIGHT", "1e38", "SOLVER.TO_VAL", "False"]
    options = run_options(tiny_vg, tmp_path / "out", *words)
    for _ in range(2):  # the same command once more resumes at iteration 3, and ends in the same way
        with pytest.raises(HMLError, match="stage 2 of 2 trained nothing: its 4 steps were all skipped"):
            run_script(options[2], options[3:], data=options[1])
        assert (tmp_path / "out" / "model_0000003.pth").is_file()
        assert not (tmp_path / "out" / "model_final.pth").exists()
