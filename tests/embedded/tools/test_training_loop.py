"""The training loop: resume, early stop, bad numbers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark_hml.errors import HMLError, Interrupted

_spec = importlib.util.spec_from_file_location("small_run", Path(__file__).with_name("small_run.py"))
small_run = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small_run)
Run = small_run.Run

# Falls at 8, 12: two decays within 20 iterations.
RISING_THEN_FLAT = {4: 0.3, 8: 0.2, 12: 0.2, 16: 0.5, 20: 0.1}.get


def same(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values()))


def test_detector_stays_frozen_and_head_learns(tmp_path):
    run = Run()
    model = run.go(tmp_path)
    assert {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad} == {"roi_heads"}
    assert not any(p.requires_grad for p in model.roi_heads.box.parameters())
    assert run.saved == ["model_0000004", "model_0000008", "model_0000012", "model_0000016", "model_final"]
    assert (tmp_path / "last_checkpoint").read_text().endswith("model_final.pth")


def test_same_seed_same_weights(tmp_path):
    assert same(Run().go(tmp_path / "a"), Run().go(tmp_path / "b"))
    assert not same(Run(SEED=1).go(tmp_path / "c"), Run().go(tmp_path / "d"))


@pytest.mark.parametrize("kind", ["WarmupReduceLROnPlateau", "WarmupMultiStepLR"])
@pytest.mark.parametrize("where", [("step", 3), ("step", 6), ("step", 9), ("validation", 8), ("validation", 12)])
def test_interrupted_run_ends_bit_identical(tmp_path, where, kind):
    whole, cut = Run(STEPS=(9, 15)), Run(STEPS=(9, 15))
    whole.schedule["TYPE"] = cut.schedule["TYPE"] = kind
    expected = whole.go(tmp_path / "whole", RISING_THEN_FLAT)
    cut.stop_at = where
    with pytest.raises(KeyboardInterrupt):
        cut.go(tmp_path / "cut", RISING_THEN_FLAT)
    cut.stop_at = None
    resumed = cut.go(tmp_path / "cut", RISING_THEN_FLAT)
    assert cut.start_iter == where[1] // 4 * 4
    assert cut.lrs == whole.lrs[cut.start_iter :]
    assert same(expected, resumed)


@pytest.mark.parametrize("kind", ["WarmupReduceLROnPlateau", "WarmupMultiStepLR"])
@pytest.mark.parametrize("where", [("after", 3), ("after", 8), ("validation", 8), ("validation", 12)])
def test_a_run_that_is_asked_to_stop_saves_first(tmp_path, where, kind):
    """Without a checkpoint on the way; the validation that it left has drawn random numbers."""
    whole, cut = (Run(STEPS=(9, 15), CHECKPOINT_PERIOD=100) for _ in range(2))
    whole.schedule["TYPE"] = cut.schedule["TYPE"] = kind
    expected = whole.go(tmp_path / "whole", RISING_THEN_FLAT)
    cut.stop_at, cut.stop_by = where, Interrupted
    with pytest.raises(Interrupted):
        cut.go(tmp_path / "cut", RISING_THEN_FLAT)
    assert cut.saved == [f"model_{where[1]:07d}"]
    cut.stop_at = None
    resumed = cut.go(tmp_path / "cut", RISING_THEN_FLAT)
    assert cut.start_iter == where[1] and cut.lrs == whole.lrs[where[1] :]
    assert same(expected, resumed)


def test_complete_run_is_left_alone(tmp_path):
    run = Run()
    first = run.go(tmp_path)
    again = run.go(tmp_path)
    assert run.lrs == [] and run.saved == []
    assert same(first, again)


def test_early_stop_saves_the_final_model(tmp_path):
    run = Run(MAX_ITER=100)
    run.schedule["MAX_DECAY_STEP"] = 2
    model = run.go(tmp_path)
    assert len(run.lrs) < 100
    assert run.saved[-1] == "model_final"
    again = run.go(tmp_path)
    assert run.lrs == [] and same(model, again)


def test_early_stop_that_a_kill_cut_off(tmp_path):
    """Killed in the validation that would have ended the run: the resumed run ends there too."""
    whole, cut = Run(MAX_ITER=100), Run(MAX_ITER=100)
    whole.schedule["MAX_DECAY_STEP"] = cut.schedule["MAX_DECAY_STEP"] = 2
    expected = whole.go(tmp_path / "whole")
    cut.stop_at = ("validation", len(whole.lrs))
    with pytest.raises(KeyboardInterrupt):
        cut.go(tmp_path / "cut")
    cut.stop_at = None
    resumed = cut.go(tmp_path / "cut")
    assert cut.lrs == [] and cut.saved == ["model_final"]
    assert same(expected, resumed)


def test_nan_loss_stops_with_the_iteration(tmp_path):
    run = Run()
    run.poison = {7: "loss"}
    with pytest.raises(HMLError, match="iteration 7.*BASE_LR"):
        run.go(tmp_path)
    assert (tmp_path / "last_checkpoint").read_text().endswith("model_0000004.pth")


def test_infinite_gradient_drops_one_step(tmp_path):
    run = Run()
    run.poison = {7: "gradient"}
    model = run.go(tmp_path)
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert not same(model, Run().go(tmp_path / "clean"))


def test_gradients_that_stay_infinite_stop_the_run(tmp_path):
    run = Run(MAX_ITER=100, TO_VAL=False)
    run.poison = dict.fromkeys(range(1, 101), "gradient")
    with pytest.raises(HMLError, match="50 times in a row up to iteration 50"):
        run.go(tmp_path)


def test_a_run_that_dropped_every_step_is_an_error(tmp_path):
    run = Run(MAX_ITER=6)
    run.poison = dict.fromkeys(range(1, 7), "gradient")
    for _ in range(2):  # resumed after iteration 4, it ends in the same way
        with pytest.raises(HMLError, match="nothing was trained: .* in all 6 steps"):
            run.go(tmp_path)
        assert run.saved in (["model_0000004"], [])
    run.poison = {}
    run.go(tmp_path)
    assert run.saved == ["model_final"]


def test_pre_validation_only_at_the_start(tmp_path):
    seen = []

    def val(iteration):
        seen.append(iteration)
        return 0.3

    run = Run(PRE_VAL=True, MAX_ITER=4, VAL_PERIOD=100)
    run.go(tmp_path, val)
    run.solver["MAX_ITER"] = 6
    run.go(tmp_path, val)
    assert seen == [0]


def test_mixed_precision_trains(tmp_path):
    run = Run()
    original = run.config

    def half(folder):
        cfg = original(folder)
        cfg.defrost()
        cfg.DTYPE = "float16"
        cfg.freeze()
        return cfg

    run.config = half
    model = run.go(tmp_path)
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize("kind", ["WarmupReduceLROnPlateau", "WarmupMultiStepLR"])
def test_a_longer_run_continues_a_finished_one(tmp_path, kind):
    """MAX_ITER raised: the same as if it had been so from the start, while the schedule has no milestone between."""
    long, short = Run(STEPS=(5, 17)), Run(STEPS=(5, 17), MAX_ITER=12)
    long.schedule["TYPE"] = short.schedule["TYPE"] = kind
    expected = long.go(tmp_path / "long", RISING_THEN_FLAT)
    short.go(tmp_path / "short", RISING_THEN_FLAT)
    short.solver["MAX_ITER"] = 20
    assert same(expected, short.go(tmp_path / "short", RISING_THEN_FLAT))
    assert short.start_iter == 12


@pytest.mark.parametrize("kind", ["WarmupReduceLROnPlateau", "WarmupMultiStepLR"])
def test_changed_solver_settings_act_on_resume(tmp_path, caplog, kind):
    run = Run(STEPS=(100,), MAX_ITER=12)
    run.schedule["TYPE"] = kind
    run.go(tmp_path, RISING_THEN_FLAT)
    run.solver.update(
        MAX_ITER=20, BASE_LR=0.002, STEPS=(14,), GAMMA=0.5, MOMENTUM=0.5, WEIGHT_DECAY=0.1, BIAS_LR_FACTOR=1,
        WEIGHT_DECAY_BIAS=0.1,
    )
    run.schedule["FACTOR"] = 0.25
    used, count = [], run.before_step

    def before_step(optimizer):
        used.append([(g["lr"], g["momentum"], g["weight_decay"]) for g in optimizer.param_groups])
        count(optimizer)

    run.before_step = before_step
    with caplog.at_level("INFO"):
        run.go(tmp_path, {12: 0.8, 16: 0.9, 20: 0.95}.get)
    base = 0.002 * 5
    # The checkpoint's one decay (at 8) stays counted (plateau); STEPS 14 acts after 14 iterations.
    rates = [base * 0.25] * 8 if kind == "WarmupReduceLROnPlateau" else [base] * 2 + [base * 0.5] * 6
    assert [lr for groups in used for lr, _, _ in groups] == pytest.approx([lr for lr in rates for _ in range(2)])
    assert {(m, d) for groups in used for _, m, d in groups} == {(0.5, 0.1)}
    (line,) = [r.getMessage() for r in caplog.records if "differ from the checkpoint" in r.getMessage()]
    assert "SOLVER.BASE_LR x IMS_PER_BATCH (0.1, 0.2) -> 0.01" in line and "SOLVER.MOMENTUM 0.9 -> 0.5" in line
    assert ("SOLVER.STEPS 100 -> 14" in line) == (kind == "WarmupMultiStepLR")
    assert "SOLVER.WEIGHT_DECAY (0.0005, 0) -> 0.1" in line and "from iteration 13 on" in line


def test_another_schedule_on_resume(tmp_path, caplog):
    run = Run(MAX_ITER=12)
    run.go(tmp_path, RISING_THEN_FLAT)
    run.solver.update(MAX_ITER=16, STEPS=(14,))
    run.schedule["TYPE"] = "WarmupMultiStepLR"
    with caplog.at_level("INFO"):
        run.go(tmp_path)
    assert run.lrs == pytest.approx([0.2, 0.2, 0.02, 0.02])  # the bias's rate is twice BASE_LR x 5
    assert "SOLVER.SCHEDULE.TYPE has changed" in caplog.text


def test_unchanged_settings_are_not_mentioned(tmp_path, caplog):
    run = Run()
    run.stop_at = ("step", 9)
    with pytest.raises(KeyboardInterrupt):
        run.go(tmp_path)
    run.stop_at = None
    with caplog.at_level("INFO"):
        run.go(tmp_path)
    assert "differ from the checkpoint" not in caplog.text
