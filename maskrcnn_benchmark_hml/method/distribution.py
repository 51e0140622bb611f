"""How Omega is spread over the parameters: a few numbers that say whether eq. 10's normaliser means anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .importance import squash

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BLOCK = 1 << 20


def omega_distribution(raw: Sequence[Tensor]) -> dict[str, Any]:
    """Quantiles of Omega (eq. 10), and how few parameters hold the sum of Omega_raw (eq. 9).

    Omega grows with Omega_raw, so one sorted copy of Omega_raw on the CPU gives everything (P = 28.8 M: seconds).

    Args:
        raw: Omega_raw of each parameter tensor, not negative.

    Returns:
        Plain values:
        ``parameters``: P. ``important``: how many have Omega_raw > 0; the others have Omega 0 and drop out of MR.
        ``omega_mean``: over all P. ``omega``: the quantiles ``"0.05"`` ... ``"0.95"`` of Omega over the important ones
        (often half of all are 0, such as rows of a table for pairs of classes that do not occur); a quantile q is the
        smallest Omega that a share q of them does not exceed.
        ``largest_share``, ``largest_thousandth_share``: share of the sum of Omega_raw that the largest parameter, and
        the largest 0.1 % (rounded up), hold. ``hold_half``: how many of the largest hold half of the sum.
        All zeros where the sum is 0.
    """
    values = _sorted(raw)
    count, total = len(values), _sum(values)
    important = count - int(np.searchsorted(values, values.dtype.type(0), side="right"))
    facts: dict[str, Any] = {"parameters": count, "important": important}
    if total <= 0:
        omega = {f"{q:g}": 0.0 for q in QUANTILES}
        zeros = {"omega_mean": 0.0, "largest_share": 0.0, "largest_thousandth_share": 0.0, "hold_half": 0}
        return {**facts, "omega": omega, **zeros}
    ranks = [count - important + int(np.ceil(q * important)) - 1 for q in QUANTILES]
    at_ranks = squash(torch.from_numpy(values[ranks].astype(np.float64)), total / count).tolist()
    top = _sum(values[count - -(-count // 1000) :])
    return {
        **facts,
        "omega_mean": _mean_omega(values, total / count),
        "omega": {f"{q:g}": omega for q, omega in zip(QUANTILES, at_ranks)},
        "largest_share": float(values[-1]) / total,
        "largest_thousandth_share": top / total,
        "hold_half": _largest_that_hold(values, total / 2),
    }


def _sorted(raw: Sequence[Tensor]) -> np.ndarray:
    double = any(tensor.dtype == torch.float64 for tensor in raw)
    values = np.empty(sum(tensor.numel() for tensor in raw), np.float64 if double else np.float32)
    start = 0
    for tensor in raw:
        values[start : start + tensor.numel()] = tensor.detach().reshape(-1).cpu().numpy()
        start += tensor.numel()
    values.sort()
    return values


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    return [values[start : start + _BLOCK] for start in range(0, len(values), _BLOCK)]


def _sum(values: np.ndarray) -> float:
    return float(sum(block.sum(dtype=np.float64) for block in _blocks(values)))


def _mean_omega(values: np.ndarray, mean: float) -> float:
    sums = [float(squash(torch.from_numpy(block), mean).sum(dtype=torch.float64)) for block in _blocks(values)]
    return sum(sums) / len(values)


def _largest_that_hold(values: np.ndarray, wanted: float) -> int:
    """The smallest n for which the n largest of the ascending values sum to at least ``wanted``."""
    held, counted = 0.0, 0
    for block in _blocks(values[::-1]):
        sums = held + np.cumsum(block, dtype=np.float64)
        if sums[-1] >= wanted:
            return counted + int(np.searchsorted(sums, wanted)) + 1
        held, counted = float(sums[-1]), counted + len(block)
    return counted
