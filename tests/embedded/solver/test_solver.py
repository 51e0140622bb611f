"""Optimiser groups and learning-rate curves against plain loops over the rules in words."""

from __future__ import annotations

import logging
import random

import pytest
import torch
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.solver import (
    WarmupMultiStepLR,
    WarmupReduceLROnPlateau,
    check_solver,
    make_lr_scheduler,
    make_optimizer,
)

from maskrcnn_benchmark_hml.errors import HMLError

LOG = logging.getLogger("test")


class Tiny(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen = torch.nn.Linear(2, 2)
        self.head = torch.nn.Linear(2, 3)
        self.lstm = torch.nn.LSTM(2, 2)
        self.freq_bias = torch.nn.Embedding(4, 3)
        self.frozen.requires_grad_(False)


def config(**solver):
    cfg = defaults.clone()
    cfg.defrost()
    for key, value in solver.items():
        cfg.SOLVER[key] = value
    return cfg


def sgd(*lrs):
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in lrs], lr=1.0)


def lr_by_name(model, optimizer):
    by_id = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    groups = {name: by_id.get(id(p)) for name, p in model.named_parameters()}
    return {name: (group["lr"], group["weight_decay"]) for name, group in groups.items() if group is not None}


def test_optimizer_has_one_group_per_rate_and_decay():
    model = Tiny()
    cfg = config(BASE_LR=0.01, BIAS_LR_FACTOR=2, WEIGHT_DECAY=1e-4, WEIGHT_DECAY_BIAS=0.0, MOMENTUM=0.9)
    optimizer = make_optimizer(cfg, model, LOG, rl_factor=12.0)
    rates = lr_by_name(model, optimizer)
    assert len(optimizer.param_groups) == 2
    assert set(rates) == {n for n, p in model.named_parameters() if p.requires_grad}
    assert rates["head.weight"] == (0.01 * 12.0, 1e-4)
    assert rates["head.bias"] == (0.01 * 2 * 12.0, 0.0)
    assert rates["lstm.bias_hh_l0"] == (0.01 * 2 * 12.0, 0.0)
    # The module's name does not make its weight a bias.
    assert rates["freq_bias.weight"] == (0.01 * 12.0, 1e-4)
    assert all(group["momentum"] == 0.9 for group in optimizer.param_groups)


def test_slow_heads_learn_slower():
    model = Tiny()
    cfg = config(BASE_LR=0.01, BIAS_LR_FACTOR=1)
    rates = lr_by_name(model, make_optimizer(cfg, model, LOG, slow_heads=["head"], slow_ratio=10.0, rl_factor=4.0))
    assert rates["head.weight"][0] == 0.01 / 10.0 * 4.0
    assert rates["lstm.weight_ih_l0"][0] == 0.01 * 4.0


def test_nothing_to_train_is_an_error():
    with pytest.raises(HMLError, match="frozen"):
        make_optimizer(config(), Tiny().requires_grad_(False), LOG)


def warmup(t, factor, iters, method):
    if t >= iters:
        return 1.0
    return factor if method == "constant" else factor * (1 - t / iters) + t / iters


@pytest.mark.parametrize("method", ["linear", "constant"])
def test_multi_step_curve(method):
    optimizer = sgd(0.3, 0.6)
    schedule = WarmupMultiStepLR(optimizer, (12, 15), 0.1, 1 / 3, 10, method)
    for t in range(20):
        drops = sum(t >= m for m in (12, 15))
        expected = [base * warmup(t, 1 / 3, 10, method) * 0.1**drops for base in (0.3, 0.6)]
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx(expected, rel=1e-14)
        schedule.step()


class PlateauOracle:
    """The benchmark's plateau rule as a plain loop: history of validations in, number of decays out.

    Its schedule begins by "validating" the value 0 at iteration 1.
    """

    def __init__(self, patience, threshold, cooldown):
        self.patience, self.threshold, self.length = patience, threshold, cooldown
        self.best, self.bad, self.rest, self.decays = -1e12, 0, cooldown, 0
        self.validate(0.0)

    def validate(self, value):
        if value > self.best + self.threshold:
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.rest:
            self.rest, self.bad = self.rest - 1, 0
        if self.bad >= self.patience:
            self.decays, self.rest, self.bad = self.decays + 1, self.length, 0


@pytest.mark.parametrize(("patience", "cooldown"), [(2, 1), (1, 0), (3, 2), (2, 0)])
def test_plateau_curve(patience, cooldown):
    generator = random.Random(patience * 10 + cooldown)
    optimizer = sgd(0.012, 0.024)
    schedule = WarmupReduceLROnPlateau(
        optimizer, 0.1, 0.1, 20, "linear", patience=patience, threshold=1e-3, cooldown=cooldown
    )
    oracle = PlateauOracle(patience, 1e-3, cooldown)
    lrs = [[g["lr"] for g in optimizer.param_groups]]
    expected = [[b * warmup(1, 0.1, 20, "linear") for b in (0.012, 0.024)]]
    for t in range(1, 200):
        value = generator.random() * 0.1 if t % 5 == 0 else None
        schedule.step(value, epoch=t)
        if value is not None:
            oracle.validate(value)
        lrs.append([g["lr"] for g in optimizer.param_groups])
        expected.append([b * warmup(t, 0.1, 20, "linear") * 0.1**oracle.decays for b in (0.012, 0.024)])
    assert schedule.stage_count == oracle.decays > 1
    for got, want in zip(lrs, expected):
        assert got == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("kind", ["WarmupReduceLROnPlateau", "WarmupMultiStepLR"])
def test_state_dict_continues_the_curve(kind, tmp_path):
    cfg = config(WARMUP_ITERS=10, STEPS=(30, 60))
    cfg.SOLVER.SCHEDULE.TYPE = kind
    cfg.SOLVER.SCHEDULE.PATIENCE = 1
    values = [0.3, 0.2, 0.1, 0.35, 0.3, 0.2, 0.2, 0.1, 0.1, 0.0]

    def advance(schedule, first, last):
        curve = []
        for t in range(first, last):
            if kind == "WarmupMultiStepLR":
                schedule.step()
            else:
                schedule.step(values[t // 10] if t % 10 == 0 else None, epoch=t)
            curve.append([g["lr"] for g in schedule.optimizer.param_groups])
        return curve

    whole = advance(make_lr_scheduler(cfg, sgd(0.5), LOG), 1, 100)
    first = make_lr_scheduler(cfg, sgd(0.5), LOG)
    start = advance(first, 1, 57)
    torch.save(first.state_dict(), tmp_path / "s.pth")
    resumed = make_lr_scheduler(cfg, sgd(0.5), LOG)
    resumed.load_state_dict(torch.load(tmp_path / "s.pth", weights_only=True))
    assert [g["lr"] for g in resumed.optimizer.param_groups] == start[-1]
    assert "logger" not in first.state_dict()
    assert start + advance(resumed, 57, 100) == whole


@pytest.mark.parametrize(
    ("key", "value"),
    [("MAX_ITER", 0), ("CHECKPOINT_PERIOD", 0), ("BASE_LR", 0.0), ("WARMUP_METHOD", "cosine"), ("STEPS", (5, 2)),
     ("SEED", -1)],
)
def test_bad_solver_keys_are_named(key, value):
    with pytest.raises(HMLError, match=f"SOLVER.{key}"):
        check_solver(config(**{key: value}))


def test_unknown_schedule_is_named():
    cfg = config()
    cfg.SOLVER.SCHEDULE.TYPE = "Cosine"
    for call in (lambda: check_solver(cfg), lambda: make_lr_scheduler(cfg, sgd(0.1))):
        with pytest.raises(HMLError, match="Cosine.*WarmupMultiStepLR"):
            call()
