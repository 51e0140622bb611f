"""The class-balanced loss l_new (eq. 4) and Concept Reconstruction (eq. 5), as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import HMLError
from .choices import CR_METRICS, CR_REDUCTIONS


def class_balanced_weights(counts: Sequence[float] | Tensor, gamma: float | None = None) -> Tensor:
    """W_i = (1 - gamma) / (1 - gamma^n_i) of eq. 4, computed in float64.

    Args:
        counts: n_i, (C,), label counts of the current stage, 0 or more; index 0 is the background and holds the
            number of sampled background pairs.
        gamma: in [0, 1); None takes (N - 1) / N, with N the foreground labels ``counts[1:].sum()``.

    Returns:
        float64 (C,). A class without a label has weight 0 (it stays in the softmax).

    Raises:
        HMLError: counts of a wrong shape or sign, no foreground label, or gamma outside [0, 1).
    """
    n = torch.as_tensor(counts, dtype=torch.float64).detach().cpu()
    if n.dim() != 1 or len(n) < 2:
        raise HMLError(f"class counts have the shape {tuple(n.shape)}; give one number per class, background first")
    if not bool(torch.isfinite(n).all()) or bool((n < 0).any()):
        raise HMLError("class counts must be finite and not negative; count the stage's labels again")
    if gamma is None:
        total = n[1:].sum()
        if total < 1:
            raise HMLError("the stage has no foreground label, so eq. 4 has no gamma; check the tree and the dataset")
        # gamma is within 1e-5 of 1: its complement is known exactly and must not be found by subtraction.
        complement = 1.0 / total
    else:
        if not 0 <= gamma < 1:
            raise HMLError(f"gamma is {gamma}; eq. 4 needs a value in [0, 1), or None for (N-1)/N")
        complement = torch.tensor(1.0 - gamma, dtype=torch.float64)
    present = n > 0
    power = torch.where(present, n, torch.ones_like(n)) * torch.log1p(-complement)
    return torch.where(present, complement / -torch.expm1(power), torch.zeros_like(n))


def class_balanced_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """l_new (eq. 4): softmax cross entropy weighted by W, reduced as torch's weighted cross entropy.

    Args:
        logits: (N, C).
        labels: int64 (N,), each in 0..C-1; a row whose label is below 0 has none and is left out.
        weights: (C,), from :func:`class_balanced_weights`.

    Returns:
        Scalar: sum_n W_{y_n} nll_n / sum_n W_{y_n}; 0 (with a gradient of 0) if no row has a weight above 0.

    Raises:
        HMLError: shapes that do not fit.
    """
    if logits.dim() != 2 or labels.shape != logits.shape[:1] or weights.shape != logits.shape[1:]:
        raise HMLError(
            f"l_new got logits {tuple(logits.shape)}, labels {tuple(labels.shape)}, weights {tuple(weights.shape)}; "
            "they must be (N, C), (N,) and (C,)"
        )
    weights, labels = weights.to(logits), labels.clamp(min=-1)
    if not bool(((weights[labels] > 0) & (labels >= 0)).any()):
        return logits.sum() * 0.0
    return F.cross_entropy(logits, labels, weight=weights, ignore_index=-1)


def concept_reconstruction(
    student_logits: Tensor,
    teacher_logits: Tensor,
    old_classes: Tensor,
    *,
    metric: str = "l2",
    temperature: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """CR (eq. 5): distance of the two models' predictions for the same pairs on the concepts learnt before.

    The softmax runs over all C classes; then the old classes are selected. The gradient flows to the student only.

    Args:
        student_logits: (N_n, C).
        teacher_logits: (N_n, C), row for row the same pairs.
        old_classes: int64 (C_old,), background and the predicates of earlier stages.
        metric: with p the student's and q the teacher's probabilities, summed over the old classes:
            ``l2`` (p-q)^2 (the paper), ``l1`` |p-q|, ``ce`` -q log p, ``kl`` q (log q - log p).
        temperature: divides both logits, above 0.
        reduction: ``mean`` over the N_n rows (the paper), or ``released``: the sum over rows and classes / (2 C),
            as the authors' code does.

    Returns:
        Scalar; 0 for no row.

    Raises:
        HMLError: an unknown metric or reduction, a temperature not above 0, or shapes that do not fit.
    """
    if metric not in CR_METRICS:
        raise HMLError(f"the CR metric {metric!r} is unknown; use one of {', '.join(CR_METRICS)}")
    if reduction not in CR_REDUCTIONS:
        raise HMLError(f"the CR reduction {reduction!r} is unknown; use one of {', '.join(CR_REDUCTIONS)}")
    if not temperature > 0:
        raise HMLError(f"the CR temperature is {temperature}; it must be above 0")
    if student_logits.dim() != 2 or student_logits.shape != teacher_logits.shape:
        raise HMLError(
            f"CR compares student {tuple(student_logits.shape)} with teacher {tuple(teacher_logits.shape)}; "
            "both must be (pairs, classes) and of the same pairs"
        )
    rows, classes = student_logits.shape
    if old_classes.numel() == 0 or int(old_classes.min()) < 0 or int(old_classes.max()) >= classes:
        raise HMLError(f"CR's old classes must be a non-empty subset of 0..{classes - 1}; check the tree")
    if rows == 0:
        return student_logits.sum() * 0.0
    old_classes = old_classes.to(student_logits.device)
    log_p = F.log_softmax(student_logits / temperature, dim=1)[:, old_classes]
    log_q = F.log_softmax(teacher_logits.detach() / temperature, dim=1)[:, old_classes]
    p, q = log_p.exp(), log_q.exp()
    if metric == "l2":
        distance = (p - q).square()
    elif metric == "l1":
        distance = (p - q).abs()
    elif metric == "ce":
        distance = -q * log_p
    else:
        distance = q * (log_q - log_p)
    return distance.sum() / (rows if reduction == "mean" else 2 * classes)
