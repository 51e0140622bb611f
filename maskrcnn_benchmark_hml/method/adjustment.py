"""Logit adjustment after training: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, section 4.

The classifier's argmax moves from f_j to f_j - tau log pi_j, with pi the class priors of the training data. One trained
model gives a whole curve over tau; HML is measured against it, since it costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import HMLError
from .choices import PRIORS


def log_prior(counts: Sequence[float] | Tensor, foreground_share: float) -> Tensor:
    """log pi, float64 (C,).

    Args:
        counts: (C,) labels per class in the training data; entry 0, the background's, is not read. A predicate without
            any label is counted once: its prior would be 0.
        foreground_share: share of the sampled pairs that carry a predicate, in (0, 1].

    Returns:
        log of (1 - share, share n_1 / N, ...); entry 0 is 0 for a share of 1 (no background was sampled).
    """
    if not 0 < foreground_share <= 1:
        raise HMLError(f"the share of foreground pairs is {foreground_share}; it must be above 0 and at most 1")
    n = torch.as_tensor(counts, dtype=torch.float64).clamp(min=1).cpu()
    prior = foreground_share * n / n[1:].sum()
    prior[0] = 1 - foreground_share if foreground_share < 1 else 1
    return prior.log()


def adjust_logits(logits: Tensor, prior: Tensor, tau: float, over: str = "foreground") -> Tensor:
    """Relation logits less tau log pi.

    Args:
        logits: (N, C), background first.
        prior: (C,) log pi, see :func:`log_prior`.
        tau: 0 leaves the logits as they are, 1 is the balanced error's Bayes classifier.
        over: ``foreground``: the predicates are adjusted among themselves and every pair keeps its background
            probability, so tau decides which predicate a pair gets and not which pairs are related; ``all``: every
            class is adjusted, background too, as the paper has it.
    """
    if over not in PRIORS:
        raise HMLError(f"the prior {over!r} is unknown; use one of {', '.join(PRIORS)}")
    shift = (tau * prior).to(logits)
    if over == "all":
        return logits - shift
    before = logits[:, 1:]
    after = before - shift[1:]
    kept = before.logsumexp(1, keepdim=True) - after.logsumexp(1, keepdim=True)
    return torch.cat((logits[:, :1], after + kept), dim=1)


def tau_folder(tau: float) -> str:
    """Name of the folder that holds the result for one tau, below the usual one."""
    return f"tau_{tau:g}"
