"""Diagonal Fisher information F and parameter importance Omega as equations (eq. 6-11); no state is kept here.

:mod:`.tracker` calls :func:`fisher_update`, :func:`step_contribution`, :func:`loss_decrease` and :func:`kl_term` on
blocks of the parameters while a stage trains. ``out`` arguments spare it temporary tensors; the numbers are the same
with and without. :func:`importance_raw` is called where an interval of several steps closes; for one step the tracker
has its two lines without the mask, and tests/method/test_eq9.py holds the whole loop to these functions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Floors and ceiling of the released code.
_RELEASED_SMALL = 1e-20
_RELEASED_GAIN = 1e-15


def fisher_update(
    fisher: Tensor, grad: Tensor, step: int, *, mode: str = "mean", ema: float = 0.5, scratch: Tensor | None = None
) -> Tensor:
    """F^t from F^(t-1), in place (eq. 8; eq. 6-7 define F as the expectation that this mean estimates).

    ``mean``: F^t = (g*g + (t-1) F^(t-1)) / t. ``ema`` (released code): F^t = ema g*g + (1-ema) F^(t-1), F^0 = 0.

    Args:
        fisher: F^(t-1), any shape; overwritten with F^t.
        grad: g, same shape: unscaled, unclipped, averaged over ranks, of the current stage's loss without MR.
        step: t, from 1.
        mode: ``mean`` or ``ema``.
        ema: share of the new square under ``ema``, in (0, 1].
        scratch: room for g*g, same shape; overwritten.

    Returns:
        ``fisher``.
    """
    return fisher.lerp_(torch.mul(grad, grad, out=scratch), 1.0 / step if mode == "mean" else ema)


def step_contribution(
    grad: Tensor, before: Tensor, after: Tensor, *, sign: str = "descent", out: Tensor | None = None
) -> Tensor:
    """max(0, -g (theta(t+1) - theta(t))): the loss that each parameter took off in one step (eq. 11).

    ``released`` follows the misprint of eq. 11, max(0, g (theta(t+1) - theta(t))), which rewards uphill moves.
    """
    first, second = (before, after) if sign == "descent" else (after, before)
    return torch.sub(first, second, out=out).mul_(grad).clamp_min_(0)


def loss_decrease(grad: Tensor, before: Tensor, after: Tensor, *, out: Tensor | None = None) -> Tensor:
    """sum of -g (theta(t+1) - theta(t)) without the clamp: what the step took off the loss, in first order.

    Below 0 the loss rises. The sum runs over all elements in float64, in an order that depends on the shape alone.

    Returns:
        a float64 tensor without dimensions.
    """
    return torch.sub(before, after, out=out).mul_(grad).sum(dtype=torch.float64)


def kl_term(fisher: Tensor, displacement: Tensor, eps: float, *, out: Tensor | None = None) -> Tensor:
    """F/2 dtheta^2 + eps: the denominator of eq. 9, the KL divergence between two points in second order.

    Args:
        fisher: F. displacement: dtheta, same shape; ``out`` may be the same tensor.
        eps: above 0 in the tensors' precision. The product can underflow to 0 in float32; eps then bounds the ratio.
    """
    return torch.mul(displacement, displacement, out=out).mul_(fisher).mul_(0.5).add_(eps)


def importance_raw(contributions: Tensor, fisher: Tensor, displacement: Tensor, eps: float = 1e-30) -> Tensor:
    """One term of Omega_raw: contributions / (F/2 dtheta^2 + eps) (eq. 9), elementwise.

    As printed, eq. 9 has one term for each step t: that step's contribution (eq. 11), F^t and theta(t+1) - theta(t).
    A parameter that ends where it began (dtheta = 0) gets 0: over no distance there is nothing to protect, and 1/eps
    would drown all others.

    Args:
        contributions: eq. 11 of the step, or summed over an interval of several.
        fisher: F at the end of the step or interval.
        displacement: theta(end) - theta(start).
        eps: added to the denominator; keep it far below F dtheta^2, which can be 1e-18.
    """
    share = contributions / kl_term(fisher, displacement, eps)
    return torch.where(displacement == 0, torch.zeros_like(share), share)


def released_importance(contributions: Tensor, fisher: Tensor, displacement: Tensor) -> Tensor:
    """One term of Omega_raw as the released code computes it, with floors in place of eps.

    2 max(contributions, 1e-15) / max(F dtheta^2, 1e-20). It is never 0, so a parameter that never moved collects 2e5
    per term. The released code adds one term per step (``interval=1``).
    """
    return 2 * contributions.clamp_min(_RELEASED_GAIN) / (fisher * displacement.square()).clamp_min(_RELEASED_SMALL)


def normalise_importance(raw: Sequence[Tensor]) -> list[Tensor]:
    """Omega = sigmoid(log10(P Omega_raw / sum Omega_raw)), global over all P parameters (eq. 10).

    Args:
        raw: Omega_raw of each parameter tensor, not negative.

    Returns:
        Omega in [0, 1), same shapes. Where Omega_raw is 0 (no step lowered the loss by this parameter), Omega is 0.
    """
    count = sum(tensor.numel() for tensor in raw)
    total = sum(float(tensor.sum(dtype=torch.float64)) for tensor in raw)
    if total <= 0:
        return [torch.zeros_like(tensor) for tensor in raw]
    return [squash(tensor, total / count) for tensor in raw]


def squash(raw: Tensor, mean: float) -> Tensor:
    """sigmoid(log10(Omega_raw / mean)): eq. 10, elementwise, given Omega_raw's mean over all P, above 0."""
    # log10 of 0 is -inf, whose sigmoid is the 0 that is wanted.
    return torch.sigmoid(torch.log10(raw / mean))


def released_normalise(values: Sequence[Tensor], ceiling: float | None = None) -> list[Tensor]:
    """The released code's normalisation of F and of Omega: sigmoid(log10 x - mean log10 x), x >= 1e-20.

    The mean runs over all P parameters. Unlike eq. 10 it leaves no parameter out: one never updated counts 1e-20.

    Args:
        values: F or Omega_raw of each parameter tensor.
        ceiling: upper bound of x; the released code has 1 for F and none for Omega.
    """
    logs = [torch.log10(tensor.clamp(_RELEASED_SMALL, ceiling)) for tensor in values]
    count = sum(tensor.numel() for tensor in logs)
    mean = sum(float(tensor.sum(dtype=torch.float64)) for tensor in logs) / count
    return [torch.sigmoid(tensor - mean) for tensor in logs]
