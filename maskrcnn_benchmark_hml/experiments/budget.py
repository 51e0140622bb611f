"""How many iterations each run trains: the paper's budget, or the same total for every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from yacs.config import CfgNode

from ..config import add_hml_config, merge_profile
from ..errors import HMLError

BUDGETS = {
    "paper": "HML's last stage trains as long as a one-stage run; its earlier stages are additional",
    "equal": "every run trains for the same total number of iterations",
}


@cache
def profile_shares(profile: str) -> tuple[int, ...]:
    """The profile's ``HML.STAGES.ITERATIONS``, whose ratios are the stages' shares."""
    cfg = add_hml_config(CfgNode())
    merge_profile(cfg, profile)
    return tuple(cfg.HML.STAGES.ITERATIONS)


def stage_shares(layers: int, profile: str, own: Sequence[int] = ()) -> tuple[int, ...]:
    """One share per stage: ``own``, else the profile's if it has as many, else 1 each and 2 for the last one."""
    for shares in (tuple(own), profile_shares(profile)):
        if len(shares) == layers:
            return shares
    return (*[1] * (layers - 1), 2)


def equal_lengths(total: int, shares: Sequence[int]) -> tuple[int, ...]:
    """``total`` iterations over the stages by their shares; at least one each, the last takes the remainder.

    Raises:
        HMLError: no stage, or too few iterations.
    """
    if not shares:
        raise HMLError("the number of layers is 0; give at least one")
    first = [max(total * share // sum(shares), 1) for share in shares[:-1]]
    if total <= sum(first):
        raise HMLError(f"{total} iterations are too few for {len(shares)} stages; give at least one for each")
    return (*first, total - sum(first))


def stage_lengths(budget: str, iterations: int, shares: Sequence[int]) -> tuple[int, ...]:
    """The iterations of each stage of an HML run.

    Args:
        budget: a key of BUDGETS.
        iterations: of a one-stage run.
        shares: of the stages, one each.

    Returns:
        ``paper``: the last stage has ``iterations`` and the others their shares at the same scale (iterations / 2
        for the paper's 8,000 and 16,000). ``equal``: the sum is ``iterations``.
    """
    if budget == "equal":
        return equal_lengths(iterations, shares)
    return (*(max(round(iterations * share / shares[-1]), 1) for share in shares[:-1]), iterations)


def budget_help(default: str) -> str:
    """The help text of ``--budget``."""
    return "; ".join(f"{name}: {what}" for name, what in BUDGETS.items()) + f" (default: {default})"


def describe_budget(budget: str, runs: Mapping[str, Sequence[int]]) -> str:
    """Which budget it is and the iterations that each run trains, runs of the same length together.

    Args:
        runs: name of the run -> iterations of its stages.
    """
    same: dict[tuple[int, ...], list[str]] = {}
    for name, lengths in runs.items():
        same.setdefault(tuple(lengths), []).append(name)
    parts = [f"{', '.join(names)}: {_sum(lengths)}" for lengths, names in same.items()]
    return f"Budget {budget} ({BUDGETS[budget]}). Iterations of {'; '.join(parts)}."


def _sum(lengths: Sequence[int]) -> str:
    total = f"{sum(lengths):,}"
    return total if len(lengths) == 1 else f"{' + '.join(f'{n:,}' for n in lengths)} = {total}"
