"""What a demo's runs found: the content of summary.json, and the tables that the user reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..report.tables import RECALL_KEYS, changes_table, layer_recall, layers_table, mean_or_none, runs_table
from ..run_folder import RunFolder
from .progress import clock
from .run import RunResult

LABELS = {"baseline": "baseline", "class_balanced": "class-balanced", "hml": "HML"}
GIVEN = {
    "predcls": "PredCls (boxes and object labels given)",
    "sgcls": "SGCls (boxes given)",
    "sgdet": "SGDet (nothing given)",
}


def read_layers(hml_output: Path) -> dict[str, int]:
    """predicate -> layer of the tree that an HML run used."""
    from ..method.tree import PredicateTree

    return PredicateTree.load(RunFolder(hml_output).tree).layers


def summarise(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], layers: Mapping[str, int], **facts: Any
) -> dict[str, Any]:
    """The content of summary.json: means over seeds as fractions, single seeds, layers, and the ``facts`` given."""
    means, single, by_layer = {}, {}, {}
    for run, seeds in runs.items():
        means[run] = {key: mean_or_none([m[key] for m in seeds]) for key in RECALL_KEYS}
        single[run] = [{key: m[key] for key in RECALL_KEYS} for m in seeds]
        recalls = [layer_recall(m, layers, 50) for m in seeds]
        by_layer[run] = {str(n): mean_or_none([one[n] for one in recalls]) for n in recalls[0]}
    return {"runs": means, **facts, "unit": "fraction", "per_seed": single, "layers_R@50": by_layer}


def describe(
    runs: Mapping[str, Sequence[RunResult]], layers: Mapping[str, int], summary: Mapping[str, Any],
    facts: Sequence[str] = (),
) -> str:
    """What the user reads at the end: what was measured, the tables, and what mR@50 costs in R@50.

    Args:
        facts: further sentences on how it was measured, a line each.
    """
    metrics = {LABELS[run]: [r.metrics for r in found] for run, found in runs.items()}
    seeds, baseline = summary["seeds"], metrics[LABELS["baseline"]]
    images = baseline[0]["images"]
    spread = "one seed, so no standard deviation"
    if len(seeds) > 1:
        spread = f"mean +- standard deviation over {len(seeds)} seeds"
    before, after = summary["runs"]["baseline"], summary["runs"]["hml"]
    per_layer = {n: sum(layer == n for layer in layers.values()) for n in sorted(set(layers.values()))}
    sizes = ", ".join(f"layer {n}: {count}" for n, count in per_layer.items())
    return "\n".join(
        [
            "",
            f"{summary['model']}, {GIVEN[summary['task']]}, {images} test images of {summary['data']}; profile "
            f"{summary['profile']}; {spread}.",
            *facts,
            f"Everything in percent. Running time {clock(summary['seconds'])} min.",
            "",
            runs_table(metrics),
            "",
            f"Mean recall by layer of the predicate tree ({sizes} predicates), over the predicates in the test images:",
            layers_table(metrics, layers),
            "",
            "The ten predicates whose R@50 changed most, baseline to HML:",
            changes_table(baseline, metrics[LABELS["hml"]], layers),
            "",
            f"HML compared with the baseline: mR@50 {_ratio(before['mR@50'], after['mR@50'])}; "
            f"the cost in R@50: {_ratio(before['R@50'], after['R@50'])}.",
        ]
    )


def _ratio(before: float, after: float) -> str:
    times = f", x{after / before:.2f}" if before > 0 else ""
    return f"{100 * before:.1f} -> {100 * after:.1f}{times}"
