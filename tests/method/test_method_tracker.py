"""ImportanceTracker and ModelReconstruction at work: skipped steps, restart, odd tensors, bad input."""

from __future__ import annotations

import copy
import io

import pytest
import torch

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.method import flat
from maskrcnn_benchmark_hml.method.reconstruction import ModelReconstruction, mr_weights
from maskrcnn_benchmark_hml.method.tracker import ImportanceTracker


def make(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"a.weight": (40, 30), "a.bias": (40,), "idle": (7,), "scale": ()}
    values = {n: torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for n, s in shapes.items()}
    named = [(n, torch.nn.Parameter(value)) for n, value in values.items()]
    return named, torch.optim.SGD([p for _, p in named], lr=0.1, momentum=0.9, weight_decay=1e-3)


def set_gradients(named, step):
    turns = step % 3 == 2  # back on the step before, against the momentum: the loss rises
    generator = torch.Generator().manual_seed(1000 + step - turns)
    scale = -0.05 if turns else 0.1
    for name, p in named:
        p.grad = None if name == "idle" else torch.randn(p.shape, generator=generator, dtype=p.dtype) * scale


def run(named, optimizer, tracker, steps):
    for step in steps:
        set_gradients(named, step)
        assert tracker.record_gradients()
        optimizer.step()
        tracker.record_step()


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.fixture(params=[8, flat.CPU_BLOCK])
def block(request, monkeypatch):
    """Blocks far smaller than a tensor, and the usual ones: the numbers must not depend on it."""
    monkeypatch.setattr(flat, "CPU_BLOCK", request.param)


def test_blocks_do_not_change_a_bit(monkeypatch):
    results = []
    for size in (8, 1 << 20):
        monkeypatch.setattr(flat, "CPU_BLOCK", size)
        named, optimizer = make()
        tracker = ImportanceTracker(named, interval=2)
        run(named, optimizer, tracker, range(5))
        results.append(tracker.finish())
    assert all(equal(a, b) for a, b in zip(*results))


@pytest.mark.parametrize(("interval", "effective"), [(0, "parameter"), (1, "parameter"), (1, "step"), (3, "step")])
def test_continuation_is_bit_identical(block, interval, effective):
    named, optimizer = make()
    tracker = ImportanceTracker(named, interval=interval, effective=effective)
    run(named, optimizer, tracker, range(10))
    expected, rising = tracker.finish(), tracker.rising_steps
    assert (rising > 0) == (effective == "step")
    for stop in range(10):
        named, optimizer = make()
        tracker = ImportanceTracker(named, interval=interval, effective=effective)
        run(named, optimizer, tracker, range(stop))
        file = io.BytesIO()
        torch.save({"tracker": tracker.state_dict(), "theta": dict(named), "optimizer": optimizer.state_dict()}, file)
        file.seek(0)
        saved = torch.load(file, weights_only=True)
        named, optimizer = make(seed=5)
        tracker = ImportanceTracker(named, interval=interval, effective=effective)
        with torch.no_grad():
            for name, p in named:
                p.copy_(saved["theta"][name])
        optimizer.load_state_dict(saved["optimizer"])
        tracker.load_state_dict(saved["tracker"])
        assert tracker.steps == stop
        run(named, optimizer, tracker, range(stop, 10))
        assert all(equal(a, b) for a, b in zip(expected, tracker.finish())) and tracker.rising_steps == rising


@pytest.mark.parametrize("interval", [0, 1, 2])
@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan"), 1e30])
def test_a_step_with_a_bad_gradient_leaves_no_trace(block, bad, interval):
    named, optimizer = make()
    tracker = ImportanceTracker(named, interval=interval)
    run(named, optimizer, tracker, range(3))
    before = copy.deepcopy(tracker.state_dict())
    set_gradients(named, 3)
    named[0][1].grad[17, 3] = bad  # 1e30 is finite, its square is not
    assert tracker.record_gradients() is False
    after = tracker.state_dict()
    assert after["steps"] == before["steps"] == 3
    assert all(torch.equal(v, after[k]) for k, v in before.items() if torch.is_tensor(v))
    with pytest.raises(HMLError, match="record_gradients"):
        tracker.record_step()
    run(named, optimizer, tracker, range(4, 6))
    assert tracker.steps == 5


def test_many_large_gradients_are_not_taken_for_an_overflow():
    named = [("w", torch.nn.Parameter(torch.zeros(1000)))]
    tracker = ImportanceTracker(named)
    named[0][1].grad = torch.full((1000,), 1.5e19)  # each square is finite, their sum is not
    assert tracker.record_gradients()


def test_a_discarded_step_leaves_no_trace(block):
    named, optimizer = make()
    twin_named, twin_optimizer = make()
    tracker, twin = ImportanceTracker(named), ImportanceTracker(twin_named)
    for step in range(6):
        set_gradients(named, step)
        assert tracker.record_gradients()
        if step == 2:
            tracker.discard_step()
            continue
        optimizer.step()
        tracker.record_step()
        run(twin_named, twin_optimizer, twin, [step])
    assert all(equal(a, b) for a, b in zip(tracker.finish(), twin.finish()))


def test_an_idle_parameter_drops_out_of_mr():
    named, optimizer = make()
    tracker = ImportanceTracker(named)
    run(named, optimizer, tracker, range(4))
    fisher, raw = tracker.finish()
    assert not fisher["idle"].any() and not raw["idle"].any()
    weights = mr_weights(fisher, raw)
    assert not weights["idle"].any() and (weights["a.weight"] > 0).any()
    assert all((w >= 0).all() and torch.isfinite(w).all() for w in weights.values())


def test_finish_does_not_disturb_and_is_independent():
    named, optimizer = make()
    twin_named, twin_optimizer = make()
    tracker, twin = ImportanceTracker(named, interval=4), ImportanceTracker(twin_named, interval=4)
    run(named, optimizer, tracker, range(6))
    first = tracker.finish()
    kept = copy.deepcopy(first)
    run(named, optimizer, tracker, range(6, 9))
    run(twin_named, twin_optimizer, twin, range(9))
    assert all(equal(a, b) for a, b in zip(tracker.finish(), twin.finish()))
    assert all(equal(a, b) for a, b in zip(first, kept))


def test_gradients_may_be_laid_out_otherwise():
    named, optimizer = make()
    twin_named, twin_optimizer = make()
    tracker, twin = ImportanceTracker(named), ImportanceTracker(twin_named)
    star = {n: torch.zeros_like(p) for n, p in named}
    one = {n: torch.ones_like(p) for n, p in named}
    for step in range(3):
        set_gradients(named, step)
        weight = named[0][1]
        weight.grad = weight.grad.t().contiguous().t()
        assert not weight.grad.is_contiguous()
        assert tracker.record_gradients()
        ModelReconstruction(named, star, one, one, 2.0).add_gradient_()
        set_gradients(twin_named, step)
        assert twin.record_gradients()
        ModelReconstruction(twin_named, star, one, one, 2.0).add_gradient_()
        torch.testing.assert_close(named[0][1].grad, twin_named[0][1].grad, rtol=1e-5, atol=1e-7)
        optimizer.step()
        twin_optimizer.step()
        tracker.record_step()
        twin.record_step()
    torch.testing.assert_close(tracker.finish()[0], twin.finish()[0])


def test_half_precision_parameters_are_tracked_in_float32():
    named, optimizer = make(dtype=torch.bfloat16)
    tracker = ImportanceTracker(named)
    run(named, optimizer, tracker, range(3))
    fisher, raw = tracker.finish()
    assert fisher["a.weight"].dtype == raw["a.weight"].dtype == torch.float32
    mr = ModelReconstruction(named, {n: torch.zeros_like(p) for n, p in named}, fisher, raw, 1.0)
    set_gradients(named, 9)
    before = named[0][1].grad.clone()
    mr.add_gradient_()
    assert named[0][1].grad.dtype == torch.bfloat16 and mr.value() > 0
    assert named[0][1].grad.shape == before.shape


@pytest.mark.parametrize("mode", ["mean_one", "l2"])
def test_mr_as_a_sum_pulls_by_two_lambda_on_average(mode):
    named, _ = make()
    star = {n: torch.zeros_like(p) for n, p in named}
    raw = {n: torch.rand_like(p) for n, p in named}
    fisher = {n: 7.0 * torch.rand_like(p) for n, p in named}
    mean, total = (ModelReconstruction(named, star, fisher, raw, 0.3, mode, how) for how in ("mean", "sum"))
    count = sum(p.numel() for _, p in named)
    assert total.pull == pytest.approx(0.6, rel=1e-5) and mean.pull == pytest.approx(0.6 / count, rel=1e-5)
    assert total.value() == pytest.approx(count * mean.value(), rel=1e-6)
    gradients = []
    for mr in (mean, total):
        for _, p in named:
            p.grad = torch.zeros_like(p)
        mr.add_gradient_()
        gradients.append(torch.cat([p.grad.flatten() for _, p in named]))
    torch.testing.assert_close(gradients[1], count * gradients[0])
    with pytest.raises(HMLError, match="the MR reduction 'max' is unknown"):
        ModelReconstruction(named, star, fisher, raw, 0.3, mode, "max")


def test_weights_without_any_update_stay_zero_under_mean_one():
    zero = {"a": torch.zeros(3)}
    assert mr_weights({"a": torch.ones(3)}, zero, "mean_one")["a"].tolist() == [0.0, 0.0, 0.0]


def test_mr_skips_parameters_without_gradient_and_keeps_theta_star_by_reference():
    named, _ = make()
    star = {n: torch.zeros_like(p) for n, p in named}
    one = {n: torch.ones_like(p) for n, p in named}
    mr = ModelReconstruction(named, star, one, one, 0.5, "l2")
    for name, p in named:
        p.grad = None if name == "idle" else torch.zeros_like(p)
    mr.add_gradient_()
    count = sum(p.numel() for _, p in named)
    assert named[2][1].grad is None
    torch.testing.assert_close(named[0][1].grad, named[0][1].detach() / count)
    before = mr.value()
    star["a.bias"].fill_(100.0)
    assert mr.value() > before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fisher_mode": "max"}, "Fisher mode 'max'"),
        ({"ema": 0.0}, "EMA is 0.0"),
        ({"ema": 1.5}, "EMA is 1.5"),
        ({"interval": -1}, "interval is -1"),
        ({"eps": 0.0}, "eps of eq. 9 is 0.0; in float32"),
        ({"eps": 1e-300}, "eps of eq. 9 is 1e-300; in float32"),
        ({"eps": float("inf")}, "eps of eq. 9 is inf"),
        ({"effective": "loss"}, "effective step 'loss'"),
        ({"contribution": "uphill"}, "contribution 'uphill'"),
    ],
)
def test_bad_tracker_settings_are_named(changes, words):
    with pytest.raises(HMLError, match=words):
        ImportanceTracker(make()[0], **changes)


def test_bad_parameters_are_named():
    p = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises(HMLError, match="no parameter was picked"):
        ImportanceTracker([])
    with pytest.raises(HMLError, match="w was picked twice"):
        ImportanceTracker([("w", p), ("w", p)])
    with pytest.raises(HMLError, match="n is no floating-point"):
        ImportanceTracker([("w", p), ("n", torch.zeros(2, dtype=torch.long))])
    with pytest.raises(HMLError, match="several devices"):
        ImportanceTracker([("w", p), ("m", torch.zeros(2, device="meta"))])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("fisher"), "lacks fisher"),
        (lambda s: s["settings"].update(eps=1.0), "eps = 1.0"),
        (lambda s: s["shapes"].update({"a.bias": [41]}), "first: a.bias"),
        (lambda s: s["shapes"].pop("idle"), "first: idle"),
        (lambda s: s.update(raw=torch.zeros(3)), "raw vector of a wrong length"),
        (lambda s: s.pop("settings"), "lacks settings"),
        (lambda s: s["settings"].update(interval=0), "interval = 0, now it is 1"),
        # As written before there was a choice of what an effective step is.
        (lambda s: s["settings"].pop("effective"), "by another version of hml .setting effective."),
    ],
)
def test_a_state_that_does_not_fit_is_named_and_changes_nothing(change, words):
    named, optimizer = make()
    tracker = ImportanceTracker(named)
    run(named, optimizer, tracker, range(2))
    before = copy.deepcopy(tracker.state_dict())
    state = copy.deepcopy(before)
    change(state)
    with pytest.raises(HMLError, match=words):
        tracker.load_state_dict(state)
    after = tracker.state_dict()
    assert after["steps"] == 2 and all(torch.equal(v, after[k]) for k, v in before.items() if torch.is_tensor(v))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.update(lam=-1.0), "lambda, the weight of MR, is -1.0"),
        (lambda a: a.update(lam=float("nan")), "is nan"),
        (lambda a: a.update(mode="plain"), "MR mode 'plain'"),
        (lambda a: a["theta_star"].pop("idle"), "idle is absent in the previous stage"),
        (lambda a: a["theta_star"].update(idle=torch.zeros(8)), r"idle has the shape \(8,\)"),
        (lambda a: a["fisher"].pop("idle"), "F has nothing for the parameter idle"),
        (lambda a: a["omega_raw"].update(idle=torch.zeros(8)), r"Omega has the shape \(8,\) for idle"),
    ],
)
def test_bad_mr_input_is_named(change, words):
    named, _ = make()
    arguments = {
        "named_params": named,
        "lam": 0.5,
        "mode": "paper",
        **{key: {n: torch.ones_like(p) for n, p in named} for key in ("theta_star", "fisher", "omega_raw")},
    }
    change(arguments)
    with pytest.raises(HMLError, match=words):
        ModelReconstruction(**arguments)


def test_weights_of_two_stages_cannot_be_mixed():
    with pytest.raises(HMLError, match="different parameters"):
        mr_weights({"a": torch.zeros(2)}, {"b": torch.zeros(2)})
