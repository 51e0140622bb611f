"""apex.amp's interface over torch.amp."""

from __future__ import annotations

import copy

import pytest
import torch

from maskrcnn_benchmark_hml.compat.amp import Amp
from maskrcnn_benchmark_hml.errors import HMLError


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Puts back the functions that O1 replaces on CPU."""
    for module in (torch.nn.functional, torch, torch.Tensor):
        for name in ("softmax", "log_softmax"):
            monkeypatch.setattr(module, name, getattr(module, name))


def make(seed: int = 0) -> tuple[torch.nn.Module, torch.optim.Optimizer, torch.Tensor]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), torch.randn(5, 4)


def step(amp: Amp, model, optimizer, images) -> None:
    optimizer.zero_grad()
    loss = model(images).float().square().mean()
    with amp.scale_loss(loss, optimizer) as scaled:
        scaled.backward()
    optimizer.step()


def weights(model) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def test_o0_changes_nothing():
    plain_model, plain_optimizer, images = make()
    for _ in range(3):
        plain_optimizer.zero_grad()
        plain_model(images).square().mean().backward()
        plain_optimizer.step()
    amp = Amp()
    model, optimizer, images = make()
    model, optimizer = amp.initialize(model, optimizer, opt_level="O0")
    assert "forward" not in model.__dict__
    for _ in range(3):
        step(amp, model, optimizer, images)
    assert all(torch.equal(a, b) for a, b in zip(weights(plain_model), weights(model)))
    assert amp.last_step_skipped is False


def test_o1_on_cpu_computes_in_bfloat16_and_trains():
    amp = Amp()
    model, optimizer, images = make()
    model, optimizer = amp.initialize(model, optimizer, opt_level="O1")
    assert model(images).dtype == torch.bfloat16
    first = float(model(images).detach().float().square().mean())
    for _ in range(20):
        step(amp, model, optimizer, images)
    assert float(model(images).detach().float().square().mean()) < first
    assert all(p.dtype == torch.float32 and p.grad.dtype == torch.float32 for p in model.parameters())


def test_deepcopy_of_a_wrapped_model_runs_its_own_weights():
    amp = Amp()
    model, optimizer, images = make()
    amp.initialize(model, optimizer, opt_level="O1")
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert twin(images).abs().sum().item() == 0.0
    assert model(images).abs().sum().item() > 0.0


@pytest.mark.parametrize("poison", [float("inf"), float("nan"), float("-inf")])
def test_overflow_skips_exactly_one_step_and_fires_no_hook(poison):
    amp = Amp()
    model, optimizer, images = make()
    amp.initialize(model, optimizer, opt_level="O1")
    fired = []
    optimizer.register_step_post_hook(lambda *a: fired.append(1))
    step(amp, model, optimizer, images)
    before = weights(model)
    optimizer.zero_grad()
    with amp.scale_loss(model(images).float().sum() * poison, optimizer) as scaled:
        scaled.backward()
    assert amp.last_step_skipped is True
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, weights(model)))
    assert len(fired) == 1
    step(amp, model, optimizer, images)
    assert amp.last_step_skipped is False
    assert len(fired) == 2
    assert "step" not in optimizer.__dict__


def test_skipping_keeps_a_step_that_was_wrapped_on_the_instance():
    amp = Amp()
    model, optimizer, images = make()
    amp.initialize(model, optimizer, opt_level="O1")
    calls = []
    real = optimizer.step
    optimizer.step = lambda closure=None: (calls.append(1), real())
    for _ in range(2):  # two overflows in a row still skip one step each
        with amp.scale_loss(model(images).float().sum() * float("inf"), optimizer) as scaled:
            scaled.backward()
        optimizer.step()
    assert calls == []
    optimizer.zero_grad()
    step(amp, model, optimizer, images)
    assert calls == [1]


class FakeScaler:
    """GradScaler's arithmetic on CPU, where torch 2.1 has none."""

    def __init__(self):
        self.value = 1024.0

    def get_scale(self):
        return self.value

    def scale(self, loss):
        return loss * self.value

    def unscale_(self, optimizer):
        self.found = False
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad.div_(self.value)
                self.found = self.found or not bool(torch.isfinite(p.grad).all())

    def update(self):
        self.value *= 0.5 if self.found else 1.0

    def state_dict(self):
        return {"scale": self.value}

    def load_state_dict(self, state):
        self.value = state["scale"]


def with_scaler() -> tuple[Amp, torch.nn.Module, torch.optim.Optimizer, torch.Tensor]:
    amp = Amp()
    model, optimizer, images = make()
    amp.opt_level, amp._scaler = "O1", FakeScaler()
    return amp, model, optimizer, images


def test_gradients_are_unscaled_when_the_block_ends():
    amp, model, optimizer, images = with_scaler()
    model(images).square().mean().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    optimizer.zero_grad()
    with amp.scale_loss(model(images).square().mean(), optimizer) as scaled:
        scaled.backward()
    for parameter, gradient in zip(model.parameters(), expected):
        torch.testing.assert_close(parameter.grad, gradient)


def test_accumulated_gradients_are_not_unscaled_twice():
    amp, model, optimizer, images = with_scaler()
    model(images).square().mean().backward()
    expected = [2 * p.grad for p in model.parameters()]
    optimizer.zero_grad()
    for _ in range(2):
        with amp.scale_loss(model(images).square().mean(), optimizer) as scaled:
            scaled.backward()
    for parameter, gradient in zip(model.parameters(), expected):
        torch.testing.assert_close(parameter.grad, gradient)


def test_overflow_lowers_the_scale_and_the_state_survives_a_restart():
    amp, model, optimizer, images = with_scaler()
    with amp.scale_loss(model(images).sum() * float("inf"), optimizer) as scaled:
        scaled.backward()
    assert amp.last_step_skipped and amp.loss_scale == 512.0
    other, *_ = with_scaler()
    other.load_state_dict(amp.state_dict())
    assert other.loss_scale == 512.0


def test_a_scale_of_zero_is_an_error():
    amp, model, optimizer, images = with_scaler()
    amp._scaler.value = 0.0
    with pytest.raises(HMLError, match="loss scale fell to 0"):
        with amp.scale_loss(model(images).sum(), optimizer):
            pass


def test_cast_functions_act_only_under_o1():
    amp = Amp()
    seen = []
    record = lambda *tensors: seen.append([t.dtype for t in tensors])  # noqa: E731
    half, whole, both = amp.half_function(record), amp.float_function(record), amp.promote_function(record)
    low, high, index = torch.ones(2, dtype=torch.bfloat16), torch.ones(2), torch.ones(2, dtype=torch.long)
    whole(low, index)
    assert seen.pop() == [torch.bfloat16, torch.long]
    amp.opt_level = "O1"
    whole(low, index)
    assert seen.pop() == [torch.float32, torch.long]
    whole(high.double(), index)  # never lower than it came
    assert seen.pop() == [torch.float64, torch.long]
    half(high, index)
    assert seen.pop() == [torch.bfloat16, torch.long]
    both(low, high)
    assert seen.pop() == [torch.float32, torch.float32]


@pytest.mark.parametrize("where", [torch.nn.functional, torch, torch.Tensor])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_gives_float32_on_cpu_as_on_cuda_and_is_put_back(where, name):
    amp, (model, optimizer, _) = Amp(), make()
    original = getattr(where, name)
    amp.initialize(model, optimizer, opt_level="O1")
    low = torch.randn(2, 3).to(torch.bfloat16)
    assert getattr(where, name)(low, 1).dtype == torch.float32
    amp.deactivate()
    assert getattr(where, name) is original and getattr(where, name)(low, 1).dtype == torch.bfloat16


def test_init_is_global_until_deactivated():
    amp = Amp()
    linear = torch.nn.Linear(2, 2)
    amp.init(enabled=True, verbose=False)
    assert linear(torch.ones(1, 2)).dtype == (torch.float16 if torch.cuda.is_available() else torch.bfloat16)
    amp.deactivate()
    assert linear(torch.ones(1, 2)).dtype == torch.float32
    amp.init(enabled=False)
    assert amp.opt_level == "O0"


def test_levels_without_an_equivalent_are_refused():
    with pytest.raises(HMLError, match="O2"):
        Amp().initialize(torch.nn.Linear(1, 1), opt_level="O2")


def test_autocast_context_matches_the_forward():
    amp = Amp()
    linear, images = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with amp.autocast():
        assert linear(images).dtype == torch.float32
    amp.initialize(linear, opt_level="O1")
    with amp.autocast(), amp.disable_casts():
        assert torch.nn.functional.linear(images, linear.weight).dtype == torch.float32
