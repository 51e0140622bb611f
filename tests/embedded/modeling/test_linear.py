"""The dense layer and its gradients, against torch's own."""

from __future__ import annotations

import sys

import pytest
import torch
from maskrcnn_benchmark.layers import Linear, PointwiseConv2d, linear

pytestmark = pytest.mark.isa

layers_linear = sys.modules[Linear.__module__]  # the package holds the function under the module's name


@pytest.mark.parametrize("rows", [0, 1, 8, 37, 128, 129])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(300, 260), (700, 760)])  # the second weight is a large one
def test_same_as_torch(rows: int, bias: bool, sizes: tuple[int, int]) -> None:
    torch.manual_seed(0)
    own, reference = Linear(*sizes, bias=bias), torch.nn.Linear(*sizes, bias=bias)
    reference.load_state_dict(own.state_dict())
    x = torch.randn(rows, sizes[0])
    results = []
    for layer in (own, reference):
        given = x.clone().requires_grad_()
        out = layer(given).relu_()
        out.square().sum().backward()
        results.append([out.detach(), given.grad, *(p.grad for p in layer.parameters())])
    for here, there in zip(*results):
        torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-4 * (1 + float(there.abs().max() if rows else 0)))


@pytest.mark.parametrize("sizes", [(300, 260), (700, 760)])
def test_when_onednn_multiplies(sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where torch lacks the operation, and not where numbers, layout or device are others than its own."""
    calls, product = [], layers_linear._product
    monkeypatch.setattr(layers_linear, "_product", lambda *given: calls.append(1) or product(*given))
    x, weight = torch.randn(20, sizes[0]), torch.randn(sizes[1], sizes[0])
    linear(x, weight)
    assert len(calls) == int(layers_linear._AVAILABLE)
    calls.clear()
    wide = torch.randn(sizes[1], 2 * sizes[0])
    part, turned = wide[:, : sizes[0]], x.t().contiguous().t()
    for a, b in ((x.double(), weight.double()), (x, part), (turned, weight), (x[:7], weight)):
        torch.testing.assert_close(linear(a, b), torch.nn.functional.linear(a, b))
    assert linear(x.to("meta"), weight.to("meta")).shape == (20, sizes[1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        linear(x, weight)
    monkeypatch.setattr(layers_linear, "_AVAILABLE", False)
    torch.testing.assert_close(linear(x, weight), torch.nn.functional.linear(x, weight))
    assert not calls


def test_part_of_a_weight_and_frozen_ones() -> None:
    torch.manual_seed(0)
    weight = torch.randn(300, 400, requires_grad=True)
    x, frozen = torch.randn(20, 100), torch.randn(300)
    out = linear(x, weight[:, 50:150], frozen)
    torch.testing.assert_close(out, torch.nn.functional.linear(x, weight[:, 50:150], frozen), rtol=1e-4, atol=1e-4)
    out.sum().backward()
    assert not weight.grad[:, :50].any() and weight.grad[:, 50:150].abs().sum() > 0 and frozen.grad is None


def test_mixed_precision_is_left_to_torch() -> None:
    layer = Linear(300, 260)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.randn(30, 300)).dtype == torch.bfloat16
    assert layer.double()(torch.randn(30, 300, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("stride", [1, 2])
def test_pointwise_convolution(stride: int) -> None:
    torch.manual_seed(0)
    own, reference = (kind(24, 40, 1, stride=stride) for kind in (PointwiseConv2d, torch.nn.Conv2d))
    reference.load_state_dict(own.state_dict())
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 24, 17, 12).contiguous(memory_format=layout).requires_grad_()
        results = []
        for layer in (own, reference):
            out = layer(x)
            results.append([out, *torch.autograd.grad(out.square().sum(), [x, *layer.parameters()])])
        for here, there in zip(*results):
            torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-3)
