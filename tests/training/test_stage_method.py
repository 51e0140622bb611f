"""What a stage's settings do to its loss weights and to MR."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.config import add_hml_config
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.method.losses import class_balanced_weights
from maskrcnn_benchmark_hml.method.memory import StageMemory
from maskrcnn_benchmark_hml.training.data import StageData
from maskrcnn_benchmark_hml.training.importance_facts import write_facts
from maskrcnn_benchmark_hml.training.stage_method import StageMethod
from maskrcnn_benchmark_hml.training.stages import Stage

COUNTS = np.array([40, 20, 10, 2, 0])


def stage(**changes) -> Stage:
    values = dict(index=2, count=2, labels=(3, 4), old_classes=(0, 1, 2), policy="containing", iterations=4,
                  class_balanced=True, folder=Path("."), memory_file=Path("memory.pt"))
    return Stage(**{**values, **changes})


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_a_stages_own_exponent_shapes_its_weights(exponent):
    hml = StageMethod(add_hml_config(CfgNode()).HML, stage(exponent=exponent), None)
    hml.on_data(StageData(4, 32, 4, 32, COUNTS))
    logits, labels = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3, 3, 0])
    weights = class_balanced_weights(COUNTS) ** exponent
    weights[4] = 0
    expected = torch.nn.functional.cross_entropy(logits, labels, weight=weights.float())
    torch.testing.assert_close(hml.relation_loss(logits, labels), expected)


@pytest.mark.parametrize("reduction, factor", [("mean", 1 / 6), ("sum", 1.0)])
def test_mr_settings_reach_the_gradient(reduction, factor):
    head = nn.Module()
    head.predictor = nn.Linear(3, 2, bias=False)
    star = {"predictor.weight": torch.zeros(2, 3)}
    cfg = add_hml_config(CfgNode()).HML
    cfg.CR.WEIGHT, cfg.MR.WEIGHT, cfg.MR.MODE, cfg.MR.REDUCTION = 0.0, 0.25, "l2", reduction
    hml = StageMethod(cfg, stage(), StageMemory(1, star, star, star, {}))
    hml.on_stage_start(head, "roi_heads.relation.", ("predictor.",), None)
    hml.on_parameters(head)
    head.predictor.weight.grad = torch.zeros(2, 3)
    assert hml.on_gradients()
    torch.testing.assert_close(head.predictor.weight.grad, 0.5 * factor * head.predictor.weight.detach())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_stage_that_begins_with_weights_that_are_not_finite_is_refused_by_name(value):
    """Word vectors that a fork divides by the number of words found, for one: every step would be skipped."""
    head = nn.Module()
    head.predictor = nn.Linear(3, 2, bias=False)
    head.embedding = nn.Parameter(torch.tensor([0.0, value]), requires_grad=False)
    hml = StageMethod(add_hml_config(CfgNode()).HML, stage(), None)
    hml.on_stage_start(head, "roi_heads.relation.", ("predictor.",), None)
    with pytest.raises(HMLError, match=r"first in roi_heads\.relation\.embedding \(1 tensors\); look at GLOVE_DIR"):
        hml.on_parameters(head)


@pytest.mark.parametrize("effective", ["parameter", "step"])
def test_a_stage_hands_on_eq9_as_printed_and_says_how_it_is_spread(effective, caplog, tmp_path):
    cfg = add_hml_config(CfgNode()).HML
    cfg.IMPORTANCE.EFFECTIVE = effective
    head = nn.Module()
    head.predictor = nn.Linear(3, 2)
    hml = StageMethod(cfg, stage(index=1), None)
    hml.on_stage_start(head, "roi_heads.relation.", ("predictor.",), None)
    hml.on_parameters(head)
    hml.on_data(StageData(4, 32, 4, 32, COUNTS))
    draw = torch.Generator().manual_seed(0)
    fisher, raw, moves = torch.zeros(2, 3), torch.zeros(2, 3), (-0.1, 0.05, -0.2)
    for t, move in enumerate(moves, 1):
        head.predictor.bias.grad = torch.zeros(2)
        head.predictor.weight.grad = g = torch.randn(2, 3, generator=draw)
        assert hml.on_gradients()
        before = head.predictor.weight.detach().clone()
        with torch.no_grad():
            head.predictor.weight += move * g  # the second step goes uphill, and each parameter with it
            head.predictor.weight[0, 0] = before[0, 0] + 0.1 * g[0, 0].abs() * (1 if g[0, 0] < 0 else -1)
        hml.on_step(t)
        moved = head.predictor.weight.detach() - before
        fisher = (g * g + (t - 1) * fisher) / t
        if effective == "parameter" or move < 0:
            raw += (-g * moved).clamp_min(0) / (fisher / 2 * moved**2)
    with caplog.at_level("INFO"):
        memory = hml.on_stage_end(head, {"seed": 0})
    torch.testing.assert_close(memory.omega["predictor.weight"], raw, rtol=1e-5, atol=0)
    facts = memory.provenance["importance"]
    assert facts["parameters"] == 8 and facts["important"] == 6 and facts["steps"] == 3 and facts["mr_pull"] is None
    assert facts["largest_share"] == pytest.approx(float(raw.max() / raw.sum()), rel=1e-5)
    assert facts["rising_steps"] == (1 if effective == "step" else None)
    assert ("the loss rose to first order in 1 of 3 steps (33.3 %)" in caplog.text) == (effective == "step")
    assert "Omega (eq. 10) is above 0 for 6 of P = 8 parameters, with the quantiles 5 %: 0." in caplog.text
    write_facts(facts, tmp_path)
    assert json.loads((tmp_path / "importance.json").read_text()) == facts
    memory.save(tmp_path / "memory.pt")
    assert StageMemory.load(tmp_path / "memory.pt").provenance["importance"] == facts


def test_vanished_gradients_are_named_while_it_trains(caplog):
    cfg = add_hml_config(CfgNode()).HML
    head = nn.Module()
    head.predictor = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    hml = StageMethod(cfg, stage(index=1), None)
    hml.on_stage_start(head, "roi_heads.relation.", ("predictor.",), None)
    hml.on_parameters(head)
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))

    def step(iteration: int) -> str:
        caplog.clear()
        head.zero_grad()
        head.predictor(inputs).square().sum().backward()
        assert hml.on_gradients()
        hml.on_step(iteration)
        return caplog.text

    with torch.no_grad():
        head.predictor[0].bias.fill_(1.0)
    assert "vanished" not in step(200)
    with torch.no_grad():
        head.predictor[0].bias.fill_(-100.0)  # no pair passes the ReLU: only the output's bias has a gradient
    assert "vanished" not in step(399)
    warned = step(400)
    assert "3 of the relation head's 4 trained tensors no longer get a gradient (predictor.0.weight" in warned
    assert "SOLVER.GRAD_NORM_CLIP" in warned


def test_half_of_the_tensors_may_be_silent(caplog, monkeypatch):
    hml, _ = bad_steps_stage()
    for silent, heard, warned in ((2, 4, False), (3, 5, True), (0, 0, False), (1, 1, True)):
        caplog.clear()
        monkeypatch.setattr(hml.tracker, "silent", lambda n=silent, of=heard: ([f"t{i}" for i in range(n)], of))
        hml._warn_of_vanished_gradients(200)
        assert ("gradients have vanished" in caplog.text) == warned


def bad_steps_stage() -> tuple[StageMethod, nn.Module]:
    head = nn.Module()
    head.predictor = nn.Linear(3, 2, bias=False)
    hml = StageMethod(add_hml_config(CfgNode()).HML, stage(index=1), None)
    hml.on_stage_start(head, "roi_heads.relation.", ("predictor.",), False)
    hml.on_parameters(head)
    return hml, head


def one_step(hml: StageMethod, head: nn.Module, kind: str) -> None:
    """One training step that is ``good``, has a bad gradient in the head (``nan``) or elsewhere (``skipped``)."""
    head.predictor.weight.grad = torch.full((2, 3), torch.nan if kind == "nan" else 1.0)
    assert hml.on_gradients() == (kind != "nan")
    if kind == "skipped":
        hml.on_skipped()
    elif kind == "good":
        hml.on_step(1)


@pytest.mark.parametrize("kind", ["nan", "skipped"])
def test_the_stage_stops_after_50_bad_steps_in_a_row(kind):
    hml, head = bad_steps_stage()
    for _ in range(49):
        one_step(hml, head, kind)
    one_step(hml, head, "good")  # a good step begins the count again
    assert hml.bad_steps == 0
    for _ in range(49):
        one_step(hml, head, kind)
    resumed, other = bad_steps_stage()  # a restart does not
    resumed.load_state_dict(hml.state_dict())
    with pytest.raises(HMLError, match="inf or NaN 50 times in a row; lower SOLVER.BASE_LR"):
        one_step(resumed, other, kind)
    with pytest.raises(HMLError, match="resume file is of stage 2, not of stage 1"):
        hml.load_state_dict({**hml.state_dict(), "stage": 2})


def test_a_stage_without_a_single_step_is_an_error():
    hml, head = bad_steps_stage()
    one_step(hml, head, "nan")
    one_step(hml, head, "skipped")
    resumed, _ = bad_steps_stage()
    resumed.load_state_dict(hml.state_dict())
    for method in (hml, resumed):
        with pytest.raises(HMLError, match="stage 1 of 2 trained nothing: its 2 steps were all skipped.*CR.WEIGHT"):
            method.check_trained(2)
    one_step(hml, head, "good")
    hml.check_trained(3)
