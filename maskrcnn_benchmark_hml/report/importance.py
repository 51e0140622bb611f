"""How Omega is spread and how hard MR pulls, stage by stage, as the runs stored it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import HMLError
from ..method.tree_file import read_json
from ..run_folder import IMPORTANCE, results_above
from ..training.importance_facts import quantile_levels
from .runs import Run
from .tables import format_table


def run_facts(folder: Path) -> list[Mapping[str, Any]]:
    """The figures of a run's stages, in their order; empty for a run without HML, or of an older hml.

    Args:
        folder: holds the results: OUTPUT_DIR/inference/<dataset>, or OUTPUT_DIR itself.

    Raises:
        HMLError: a file that is damaged.
    """
    return sorted(map(_read, results_above(folder, f"stage*/{IMPORTANCE}")), key=lambda facts: facts["stage"])


def _read(path: Path) -> Mapping[str, Any]:
    facts = read_json(path, "stage's figures")
    try:
        _cells(facts)
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise HMLError(f"{path} lacks figures of a stage; delete it to leave them out of the report") from error
    return facts


def _cells(facts: Mapping[str, Any]) -> dict[tuple[int, str], str]:
    """(stage, row label) -> cell."""
    omega, levels = facts["omega"], quantile_levels(facts)
    cells = {
        "Omega > 0": _share(facts["important"] / facts["parameters"]),
        f"Omega > 0, quantiles {'/'.join(f'{100 * q:g}' for q in levels)} %": "/".join(
            f"{omega[f'{q:g}']:.2g}" for q in levels
        ),
        "Omega, mean of all": f"{facts['omega_mean']:.3g}",
        "Omega_raw, share of the largest": _share(facts["largest_share"]),
        "Omega_raw, share of the largest 0.1 %": _share(facts["largest_thousandth_share"]),
        "Omega_raw, half of the sum is in": f"{facts['hold_half']:,} of {facts['parameters']:,}",
    }
    if facts["rising_steps"] is not None:
        cells["steps dropped"] = _share(facts["rising_steps"] / max(1, facts["steps"]))
    if facts["mr_pull"] is not None:
        cells["MR's mean pull"] = f"{facts['mr_pull']:.2e}"
    return {(int(facts["stage"]), label): cell for label, cell in cells.items()}


def _share(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"


def importance_table(names: Sequence[str], runs: Sequence[Run]) -> str:
    """One row per stage and figure, one column per run; empty if no run stored any."""
    rows = importance_rows(runs)
    return format_table(["", *names], rows) if rows else ""


def importance_rows(runs: Sequence[Run]) -> list[list[str]]:
    """[stage and figure, its value in each run]; empty if no run stored any."""
    columns = [{key: cell for facts in run_facts(run.folder) for key, cell in _cells(facts).items()} for run in runs]
    keys = dict.fromkeys(key for column in columns for key in column)
    return [
        [f"stage {key[0]}: {key[1]}", *(column.get(key, "-") for column in columns)]
        for key in sorted(keys, key=lambda key: key[0])
    ]
