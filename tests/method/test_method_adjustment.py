"""Logit adjustment: the closed form against a slow oracle, what it keeps, what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.method.adjustment import adjust_logits, log_prior

COUNTS = [123.0, 60.0, 30.0, 10.0, 0.0]


def logits() -> torch.Tensor:
    return torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_prior_is_a_distribution_of_the_training_labels():
    prior = log_prior(COUNTS, 0.25).exp().tolist()
    assert prior == pytest.approx([0.75, *(0.25 * n / 101 for n in (60, 30, 10, 1))])
    assert log_prior(COUNTS, 1.0)[0] == 0
    with pytest.raises(HMLError, match="share of foreground pairs is 0"):
        log_prior(COUNTS, 0)


@pytest.mark.parametrize("tau", [0.0, 0.5, 2.0])
def test_both_forms_against_probabilities(tau):
    prior = log_prior(COUNTS, 0.25)
    before, pi = logits().softmax(1), prior.exp()
    everything = before / pi**tau
    everything /= everything.sum(1, keepdim=True)
    torch.testing.assert_close(adjust_logits(logits(), prior, tau, "all").softmax(1), everything)
    foreground = before[:, 1:] / pi[1:] ** tau
    foreground *= (1 - before[:, :1]) / foreground.sum(1, keepdim=True)
    after = adjust_logits(logits(), prior, tau).softmax(1)
    torch.testing.assert_close(after[:, 1:], foreground)
    torch.testing.assert_close(after[:, 0], before[:, 0])


def test_one_predicate_more_by_tau_log_of_the_ratio_of_counts():
    prior = log_prior(COUNTS, 0.25)
    for over in ("foreground", "all"):
        after = adjust_logits(logits(), prior, 1.5, over)
        gain = (after[:, 3] - after[:, 1]) - (logits()[:, 3] - logits()[:, 1])
        assert gain.tolist() == pytest.approx([1.5 * math.log(6)] * 7)


def test_no_pair_and_unknown_prior():
    assert adjust_logits(torch.zeros(0, 5), log_prior(COUNTS, 0.25), 1.0).shape == (0, 5)
    with pytest.raises(HMLError, match="the prior 'flat' is unknown"):
        adjust_logits(logits(), log_prior(COUNTS, 0.25), 1.0, "flat")
