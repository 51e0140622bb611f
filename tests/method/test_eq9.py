"""Eq. 9 as printed, the default: over whole trajectories, in float32's range, and under both readings of eq. 11.

The oracle is a loop over steps and parameters in plain Python numbers, written from the paper's formulas.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.method import flat
from maskrcnn_benchmark_hml.method.importance import (
    fisher_update,
    importance_raw,
    loss_decrease,
    normalise_importance,
    released_importance,
    step_contribution,
)
from maskrcnn_benchmark_hml.method.reconstruction import ModelReconstruction, mr_value, mr_weights
from maskrcnn_benchmark_hml.method.tracker import ImportanceTracker

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
BOTH = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
SHAPES = [(3, 2), (4,), ()]
EPS = 1e-30


def oracle(steps, effective="parameter"):
    """F, Omega_raw and the number of rising steps, from (g, theta before, theta after) of each recorded step."""
    fisher, raw, rising = [0.0] * len(steps[0][0]), [0.0] * len(steps[0][0]), 0
    for t, (gradient, before, after) in enumerate(steps, 1):
        gains = [-g * (b - a) for g, a, b in zip(gradient, before, after)]
        rises = effective == "step" and sum(gains) < 0
        rising += rises
        for i, g in enumerate(gradient):
            fisher[i] = (g * g + (t - 1) * fisher[i]) / t
            gain = 0.0 if rises else max(0.0, gains[i])
            raw[i] += gain / (fisher[i] / 2 * (after[i] - before[i]) ** 2 + EPS)
    return fisher, raw, rising


def values(params):
    return torch.cat([p.detach().double().reshape(-1) for p in params]).tolist()


def gradients(params):
    return [x for p in params for x in ([0.0] * p.numel() if p.grad is None else p.grad.double().reshape(-1).tolist())]


def trajectory(seed, dtype, **settings):
    """A tracker led along a random path; what it should have recorded. Some parameters do not move in a step, some
    have no gradient, some steps are discarded, some have an infinite gradient."""
    draw = torch.Generator().manual_seed(seed)
    random = np.random.default_rng(seed)

    def normal(shape, scale):
        return torch.randn(shape, generator=draw, dtype=torch.float64).mul(scale).to(dtype)

    params = [torch.nn.Parameter(normal(shape, 0.1)) for shape in SHAPES]
    tracker = ImportanceTracker([(f"p{i}", p) for i, p in enumerate(params)], **settings)
    recorded = []
    for _ in range(12):
        for p in params:
            p.grad = None if random.random() < 0.2 else normal(p.shape, 10 ** random.uniform(-3, 0))
        kind = random.choice(["step", "discarded", "infinite"], p=[0.8, 0.1, 0.1])
        if kind == "infinite" and params[1].grad is not None:
            params[1].grad[2] = float("inf")
        before, gradient = values(params), gradients(params)
        finite = bool(np.isfinite(gradient).all())
        assert tracker.record_gradients() is finite
        if kind == "discarded" or not finite:
            tracker.discard_step()
        moves = 10 ** random.uniform(-4, -1)
        with torch.no_grad():
            for p in params:  # a skipped step may move what it likes: it is no step of eq. 9
                p.sub_(normal(p.shape, moves) * (torch.rand(p.shape, generator=draw) < 0.7))
        if kind != "discarded" and finite:
            tracker.record_step()
            recorded.append((gradient, before, values(params)))
    return tracker, recorded


def check(tracker, recorded, dtype, effective="parameter"):
    fisher, raw, rising = oracle(recorded, effective)
    actual = [torch.cat([t.double().reshape(-1) for t in part.values()]) for part in tracker.finish()]
    np.testing.assert_allclose(actual[0], fisher, rtol=TOLERANCE[dtype], atol=0)
    np.testing.assert_allclose(actual[1], raw, rtol=TOLERANCE[dtype], atol=0)
    assert tracker.steps == len(recorded) and tracker.rising_steps == rising
    return rising


@BOTH
def test_the_default_is_the_printed_sum_over_200_trajectories(dtype):
    for seed in range(200):
        check(*trajectory(seed, dtype), dtype)


@BOTH
def test_a_step_whose_loss_rises_adds_nothing_under_effective_step(dtype):
    rising, steps = 0, 0
    for seed in range(50):
        tracker, recorded = trajectory(seed, dtype, effective="step")
        rising += check(tracker, recorded, dtype, "step")
        steps += len(recorded)
    assert 0.3 * steps < rising < 0.7 * steps  # the moves are random: half of them go up


def test_loss_decrease_is_the_float64_sum_of_eq11_before_its_clamp():
    g, before, after = (torch.randn(1000, generator=torch.Generator().manual_seed(i)) for i in range(3))
    products = [-x * (b - a) for x, a, b in zip(*(v.double().tolist() for v in (g, before, after)))]
    decrease = loss_decrease(g, before, after)
    assert decrease.dtype == torch.float64 and decrease.shape == ()
    assert float(decrease) == pytest.approx(sum(products), rel=1e-6)


@pytest.mark.parametrize("contribution", ["descent", "released"])
@pytest.mark.parametrize("effective", ["parameter", "step"])
def test_the_tracker_computes_what_the_equations_compute(contribution, effective, monkeypatch):
    """Bit for bit, on random tensors in several blocks: the equations that are tested are those that run."""
    monkeypatch.setattr(flat, "CPU_BLOCK", 64)
    param = torch.nn.Parameter(torch.randn(1000, generator=torch.Generator().manual_seed(0)))
    tracker = ImportanceTracker([("w", param)], contribution=contribution, effective=effective)
    fisher, raw, rising = torch.zeros(1000), torch.zeros(1000), 0
    for t in range(1, 9):
        draw = torch.Generator().manual_seed(t)
        param.grad = torch.randn(1000, generator=draw) * 1e-2
        before = param.detach().clone()
        tracker.record_gradients()
        with torch.no_grad():
            param.add_(torch.randn(1000, generator=draw) * (torch.rand(1000, generator=draw) < 0.9), alpha=1e-3)
        tracker.record_step()
        fisher_update(fisher, param.grad, t)
        gain = step_contribution(param.grad, before, param.detach(), sign=contribution)
        if effective == "step" and loss_decrease(param.grad, before, param.detach()) < 0:
            gain, rising = torch.zeros(1000), rising + 1
        if contribution == "descent":
            raw += importance_raw(gain, fisher, param.detach() - before, EPS)
        else:
            raw += released_importance(gain, fisher, param.detach() - before)
    assert torch.equal(tracker.finish()[0]["w"], fisher) and torch.equal(tracker.finish()[1]["w"], raw)
    assert tracker.rising_steps == rising and (rising > 0) == (effective == "step")


@pytest.mark.parametrize("eps", [1.2e-38, EPS])
def test_what_underflows_in_float32_stays_finite(eps):
    """g*g, dtheta^2 and F dtheta^2 fall below float32's range: eps alone then stands below the fraction."""
    sizes = 10.0 ** torch.arange(-44, 3, dtype=torch.float32)
    g, move = (grid.reshape(-1).clone() for grid in torch.meshgrid(sizes, sizes, indexing="ij"))
    param = torch.nn.Parameter(torch.zeros_like(move))
    tracker = ImportanceTracker([("w", param)], eps=eps)
    for _ in range(3):
        param.grad = g.clone()
        tracker.record_gradients()
        with torch.no_grad():
            param.copy_(-move if not param.any() else torch.zeros_like(move))
        param.grad = g.clone()
        tracker.record_step()
    fisher, raw = (part["w"] for part in tracker.finish())
    assert torch.isfinite(raw).all() and (raw >= 0).all()
    assert bool(((fisher == 0) & (raw > 0)).any())  # F = 0 beside a contribution: only where g*g underflows
    assert bool((fisher[g > 1e-22] > 0).all())
    (omega,) = normalise_importance([raw])
    assert torch.isfinite(omega).all() and (omega < 1).all() and torch.equal(omega > 0, raw > 0)


def test_eps_is_bounded_by_the_precision():
    named = [("w", torch.nn.Parameter(torch.zeros(2, dtype=torch.float64)))]
    assert ImportanceTracker(named, eps=1e-300).numel == 2  # float64 holds it
    with pytest.raises(HMLError, match="eps of eq. 9 is 1e-39; in float32 it must be finite and at least 1.18e-38"):
        ImportanceTracker([("w", torch.nn.Parameter(torch.zeros(2)))], eps=1e-39)


@BOTH
@pytest.mark.parametrize("mode", ["mean", "ema"])
@pytest.mark.parametrize("interval", [0, 1, 3])
def test_the_blockwise_loop_is_the_plain_equations(dtype, mode, interval, monkeypatch):
    """Every setting of the tracker against the functions on whole tensors: steps without displacement or gradient."""
    monkeypatch.setattr(flat, "CPU_BLOCK", 7)
    draw = torch.Generator().manual_seed(3)

    def normal(shape, scale):
        return torch.randn(shape, generator=draw, dtype=torch.float64).mul(scale).to(dtype)

    named = {name: torch.nn.Parameter(normal(shape, 0.1)) for name, shape in (("a", (6, 5)), ("b", (4,)), ("c", ()))}
    tracker = ImportanceTracker(list(named.items()), fisher_mode=mode, ema=0.3, interval=interval, eps=EPS)
    zeros = {name: torch.zeros_like(p.detach()) for name, p in named.items()}
    fisher, raw, gains = ({name: t.clone() for name, t in zeros.items()} for _ in range(3))
    start = {name: p.detach().clone() for name, p in named.items()}
    for t in range(1, 8):
        before = {name: p.detach().clone() for name, p in named.items()}
        for name, p in named.items():
            p.grad = None if (name, t) in (("b", 2), ("c", 1)) else normal(p.shape, 1e-2)
        assert tracker.record_gradients()
        with torch.no_grad():
            for p in named.values():
                p.add_(normal(p.shape, 1e-3) * (torch.rand(p.shape, generator=draw) < 0.7))
        tracker.record_step()
        for name, p in named.items():
            grad, now = zeros[name] if p.grad is None else p.grad, p.detach()
            fisher_update(fisher[name], grad, t, mode=mode, ema=0.3)
            gains[name] = gains[name] + step_contribution(grad, before[name], now)
            if interval and t % interval == 0:
                raw[name] += importance_raw(gains[name], fisher[name], now - start[name], EPS)
                gains[name], start[name] = zeros[name], now.clone()
    if interval != 1:  # the running interval is closed at the end of the stage
        for name, p in named.items():
            raw[name] += importance_raw(gains[name], fisher[name], p.detach() - start[name], EPS)
    for got, expected in zip(tracker.finish(), (fisher, raw)):
        torch.testing.assert_close(got, expected, rtol=TOLERANCE[dtype], atol=0)


@BOTH
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_mr_in_blocks_is_mr_value_and_its_gradient(dtype, reduction, monkeypatch):
    monkeypatch.setattr(flat, "CPU_BLOCK", 7)
    draw = torch.Generator().manual_seed(4)
    shapes = {"a": (6, 5), "b": (4,), "idle": (3,), "c": ()}

    def normal(shape):
        return torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)

    params, star, fisher, raw = ({name: normal(shape) for name, shape in shapes.items()} for _ in range(4))
    fisher, raw = ({name: t.abs() for name, t in part.items()} for part in (fisher, raw))
    params["b"][1] = star["b"][1]  # no displacement
    params = {name: torch.nn.Parameter(p) for name, p in params.items()}
    given = {name: None if name == "idle" else normal(shape) for name, shape in shapes.items()}
    for name, p in params.items():
        p.grad = None if given[name] is None else given[name].clone()
    mr = ModelReconstruction(list(params.items()), star, fisher, raw, 0.7, "paper", reduction)
    mr.add_gradient_()
    value = mr_value(params, star, mr_weights(fisher, raw)) * (38 if reduction == "sum" else 1)  # P = 38
    assert mr.value() == pytest.approx(value.item(), rel=TOLERANCE[dtype])
    own = torch.autograd.grad(0.7 * value, list(params.values()))
    for (name, p), gradient in zip(params.items(), own):
        if given[name] is None:
            assert p.grad is None
        else:
            torch.testing.assert_close(p.grad, given[name] + gradient, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
