"""How long each run trains under the two budgets."""

from __future__ import annotations

import pytest

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.experiments.budget import describe_budget, equal_lengths, stage_lengths, stage_shares


@pytest.mark.parametrize("layers, split", [(1, (100,)), (2, (33, 67)), (3, (25, 25, 50)), (4, (20, 20, 20, 40))])
def test_stages_share_one_budget(layers, split):
    shares = stage_shares(layers, "paper")
    assert stage_lengths("equal", 100, shares) == split
    assert sum(equal_lengths(907, shares)) == 907
    assert equal_lengths(layers, shares) == (1,) * layers


def test_the_papers_last_stage_trains_as_long_as_one_stage():
    assert stage_lengths("paper", 16000, stage_shares(2, "paper")) == (8000, 16000)
    assert stage_lengths("paper", 450, stage_shares(2, "paper")) == (225, 450)
    assert stage_lengths("paper", 100, stage_shares(4, "paper")) == (50, 50, 50, 100)
    assert stage_lengths("paper", 100, stage_shares(1, "paper")) == (100,)
    assert stage_lengths("paper", 72, stage_shares(2, "tuned")) == (168, 72)
    assert stage_lengths("paper", 1, (1, 5)) == (1, 1)


def test_shares_are_a_cells_own_else_the_profiles_else_the_papers():
    assert stage_shares(2, "tuned") == (16800, 7200) and stage_shares(2, "tuned", (1, 4)) == (1, 4)
    assert stage_shares(3, "tuned") == (1, 1, 2)


def test_what_a_budget_costs_is_said():
    line = describe_budget("paper", {"baseline": (16000,), "HML": (8000, 16000), "control": (16000,)})
    assert line.startswith("Budget paper (HML's last stage trains as long as a one-stage run")
    assert line.endswith("Iterations of baseline, control: 16,000; HML: 8,000 + 16,000 = 24,000.")


def test_too_few_iterations_are_named():
    with pytest.raises(HMLError, match="3 iterations are too few for 4 stages"):
        equal_lengths(3, (1, 1, 1, 2))
