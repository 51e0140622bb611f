"""The figures of Omega's distribution, against plain sorting of eq. 10's own result."""

from __future__ import annotations

import math

import pytest
import torch

from maskrcnn_benchmark_hml.method import distribution
from maskrcnn_benchmark_hml.method.distribution import omega_distribution
from maskrcnn_benchmark_hml.method.importance import normalise_importance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("block", [7, 1 << 20])
def test_figures_are_those_of_the_sorted_values(dtype, block, monkeypatch):
    monkeypatch.setattr(distribution, "_BLOCK", block)
    draw = torch.Generator().manual_seed(0)
    raw = [torch.randn(shape, generator=draw, dtype=torch.float64).mul(3).exp().to(dtype) for shape in ((50, 40), (7,))]
    raw[0][3] = 0
    facts = omega_distribution(raw)
    ascending = sorted(x for tensor in raw for x in tensor.flatten().tolist())
    omega = sorted(x for tensor in normalise_importance(raw) for x in tensor.double().flatten().tolist())
    count, total = len(ascending), math.fsum(ascending)
    assert facts["parameters"] == count == 2007 and facts["important"] == count - 40
    assert facts["omega_mean"] == pytest.approx(math.fsum(omega) / count, rel=1e-5)
    assert list(facts["omega"]) == ["0.05", "0.25", "0.5", "0.75", "0.95"]
    for q, value in facts["omega"].items():  # of those above 0
        assert value == pytest.approx(omega[40:][math.ceil(float(q) * (count - 40)) - 1], rel=1e-5) and value > 0
    assert facts["largest_share"] == pytest.approx(ascending[-1] / total, rel=1e-6)
    assert facts["largest_thousandth_share"] == pytest.approx(math.fsum(ascending[-3:]) / total, rel=1e-6)
    held = facts["hold_half"]
    assert math.fsum(ascending[-held:]) >= total / 2 > math.fsum(ascending[count - held + 1 :])


def test_one_parameter_that_holds_all_is_seen():
    facts = omega_distribution([torch.cat([torch.full((999,), 1e-9), torch.tensor([1e3])])])
    assert facts["hold_half"] == 1 and facts["largest_share"] == pytest.approx(1) and facts["omega"]["0.5"] < 1e-3


def test_no_importance_at_all_is_zeros():
    facts = omega_distribution([torch.zeros(5), torch.zeros(())])
    assert facts["parameters"] == 6 and not any(facts["omega"].values())
    zeros = ("important", "omega_mean", "largest_share", "largest_thousandth_share", "hold_half")
    assert not any(facts[key] for key in zeros)


@pytest.mark.parametrize(("count", "largest"), [(999, 1), (1000, 1), (1001, 2), (2000, 2), (2001, 3)])
def test_a_thousandth_is_rounded_up(count, largest):
    facts = omega_distribution([torch.ones(count)])
    assert facts["largest_thousandth_share"] == pytest.approx(largest / count, rel=1e-9)
    assert facts["hold_half"] == -(-count // 2) and facts["largest_share"] == pytest.approx(1 / count, rel=1e-9)
    assert facts["omega_mean"] == pytest.approx(0.5) and set(facts["omega"].values()) == {0.5}
