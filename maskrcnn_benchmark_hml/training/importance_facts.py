"""What a stage's Omega and MR came to, in a few numbers: logged at its end, and stored beside its memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..files import write_json
from ..method.distribution import omega_distribution
from ..method.tracker import ImportanceTracker
from ..run_folder import IMPORTANCE

_log = logging.getLogger("maskrcnn_benchmark.hml")


def importance_facts(
    stage: int, hml, tracker: ImportanceTracker, omega_raw: Mapping[str, Tensor], mr_pull: float | None
) -> dict[str, Any]:
    """The figures of one finished stage, as plain values.

    Args:
        stage: k, from 1.
        hml: the ``HML`` config node.
        omega_raw: eq. 9, as the tracker's ``finish`` returned it.
        mr_pull: the mean pull 2 lambda (F + Omega) / P of the MR that acted in this stage; None without MR.

    Returns:
        ``stage``, ``steps`` (recorded ones), ``interval``, ``effective`` (the settings), ``rising_steps`` (steps that
        ``effective`` = ``step`` dropped; None under ``parameter``), ``mr_pull``, and those of
        :func:`.distribution.omega_distribution`.
    """
    begin = time.perf_counter()
    by_step = hml.IMPORTANCE.EFFECTIVE == "step"
    facts = {
        "stage": stage, "steps": tracker.steps, "interval": hml.IMPORTANCE.INTERVAL,
        "effective": hml.IMPORTANCE.EFFECTIVE, "rising_steps": tracker.rising_steps if by_step else None,
        "mr_pull": mr_pull, **omega_distribution(list(omega_raw.values())),
    }
    _log.info("HML: the distribution of Omega took %.1f s", time.perf_counter() - begin)
    return facts


def log_facts(title: str, facts: Mapping[str, Any]) -> None:
    """The figures as lines of the log; ``title`` names the stage."""
    omega, count = facts["omega"], facts["parameters"]
    quantiles = ", ".join(f"{100 * q:g} %: {omega[f'{q:g}']:.3g}" for q in quantile_levels(facts))
    _log.info("HML: %s: Omega (eq. 10) is above 0 for %s of P = %s parameters, with the quantiles %s; its mean over "
              "all is %.3g", title, f"{facts['important']:,}", f"{count:,}", quantiles, facts["omega_mean"])
    _log.info("HML: %s: of the sum of Omega_raw (eq. 9) the largest parameter holds %.3g %%, the largest 0.1 %% hold "
              "%.3g %%; %s parameters hold half", title, 100 * facts["largest_share"],
              100 * facts["largest_thousandth_share"], f"{facts['hold_half']:,}")
    if facts["rising_steps"] is not None:
        _log.info("HML: %s: the loss rose to first order in %d of %d steps (%.1f %%), which add nothing to Omega "
                  "(HML.IMPORTANCE.EFFECTIVE step)", title, facts["rising_steps"], facts["steps"],
                  100 * facts["rising_steps"] / max(1, facts["steps"]))
    if facts["mr_pull"] is not None:
        _log.info("HML: %s: MR's mean pull (mr_pull in docs/metrics.md) was %.3e", title, facts["mr_pull"])


def quantile_levels(facts: Mapping[str, Any]) -> list[float]:
    """The q, ascending, whose quantiles of Omega the figures hold."""
    return sorted(map(float, facts["omega"]))


def write_facts(facts: Mapping[str, Any], folder: Path) -> None:
    """Write the figures as JSON into the folder of the stage's memory."""
    write_json(folder / IMPORTANCE, facts, "stage's figures", indent=1, allow_nan=False)
