"""Runs side by side: every metric, by layer, by predicate, and Mean@K."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import HMLError
from ..metrics.matching import KS
from ..metrics.summary import METRICS, metric_rows
from ..scene_graph import TASK_TITLES
from .importance import run_facts
from .runs import TASKS, Run
from .tables import format_table, layer_recall, percent

CSV_COLUMNS = ("run", "task", "metric", "k", "layer", "predicate", "value")
TASK_NAMES = {**TASK_TITLES, "detection": "detection"}
_DETECTION = ("mAP@0.5", "mAP")


def metrics_table(names: Sequence[str], runs: Sequence[Run]) -> str:
    """One row per metric and K, one column per run; a metric that no run has is left out."""
    rows = [["task", *(TASK_NAMES.get(run.task, run.task) for run in runs)]]
    rows.append(["test images", *(str(run.metrics.get("images", "-")) for run in runs)])
    for key in [f"{metric}@{k}" for metric in METRICS for k in KS]:
        _append(rows, key, [run.metrics.get(key) for run in runs])
    by_layer = [layer_means(run) for run in runs]
    for layer in sorted({layer for layers in by_layer for layer, _ in layers}):
        for k in KS:
            _append(rows, f"layer {layer} mR@{k}", [layers.get((layer, k)) for layers in by_layer])
    for key in _DETECTION:
        _append(rows, key, [None if run.task == "predcls" else run.metrics.get(key) for run in runs])
    return format_table(["", *names], rows)


def notes(runs: Sequence[Run]) -> str:
    """What the results are not, or do not hold, one sentence a line, after an empty line; '' if there is none."""
    lines = [line for run in runs for line in run.notes]
    return "\n\n" + "\n".join(lines) if lines else ""


def _append(rows: list[list[str]], label: str, values: Sequence[float | None]) -> None:
    if any(value is not None for value in values):
        rows.append([label, *(percent([value]) for value in values)])


def layer_means(run: Run) -> dict[tuple[int, int], float | None]:
    """{(layer, K): mean recall@K over the layer's predicates that occur in the test images}; empty without a tree."""
    if run.tree is None or not run.predicates:
        return {}
    layers = run.tree.layers
    known = [k for k in KS if run.per_predicate(f"R@{k}")]
    return {(n, k): value for k in known for n, value in layer_recall(run.metrics, layers, k).items()}


def predicates_table(names: Sequence[str], runs: Sequence[Run], k: int) -> str:
    """One row per predicate: layer, and recall@k of each run.

    Raises:
        HMLError: runs with other predicates, or without any.
    """
    tree = next((run.tree for run in runs if run.tree is not None), None)
    order = list(_common_predicates(runs))
    if tree is not None:
        counts = tree.counts
        order.sort(key=lambda name: -counts[name])
    rows = []
    for name in order:
        layer = str(tree.layers[name]) if tree is not None else "-"
        rows.append([name, layer, *(percent([run.per_predicate(f"R@{k}").get(name)]) for run in runs)])
    return format_table(["predicate", "layer", *names], rows)


def _common_predicates(runs: Sequence[Run]) -> tuple[str, ...]:
    for run in runs:
        if not run.predicates:
            raise HMLError(f"{run.path} has no recall per predicate; leave it out")
        if set(run.predicates) != set(runs[0].predicates):
            raise HMLError(f"{runs[0].path} and {run.path} were tested on different predicates; compare like with like")
    return runs[0].predicates


def csv_rows(run: Run) -> Iterator[tuple[Any, ...]]:
    """Rows of ``CSV_COLUMNS``: those of metrics.csv and, where a tree is known, one per layer and K."""
    layers = run.tree.layers if run.tree is not None else {}
    for task, metric, k, predicate, value in metric_rows(run.metrics):
        yield run.path, task, metric, k, layers.get(predicate, ""), predicate, value
    for (layer, at), mean in layer_means(run).items():
        yield run.path, run.task, "mR", str(at), layer, "", "" if mean is None else repr(mean)


def json_entry(run: Run) -> dict[str, Any]:
    """The run's metrics.json with ``run``; where a tree is known, ``per_layer``: {"mR@50": {"1": ...}}; and
    ``importance``: each stage's importance.json, where the run has them.
    """
    entry = {"run": run.path, **run.metrics}
    by_layer = layer_means(run)
    if by_layer:
        entry["per_layer"] = {f"mR@{k}": {str(n): v for (n, at), v in by_layer.items() if at == k} for k in KS}
    facts = run_facts(run.folder)
    if facts:
        entry["importance"] = facts
    return entry


def mean_at_k(runs: Sequence[Run]) -> dict[str, float]:
    """``R@K`` and ``mR@K`` averaged over the three tasks, and ``Mean@K``, the mean of the two.

    Raises:
        HMLError: not one run of each task, different predicates, or a run without images.
    """
    by_task: dict[str, Run] = {}
    for run in runs:
        if run.task not in TASKS:
            raise HMLError(f"{run.path} is a {run.task} result; Mean@K takes one run each of PredCls, SGCls and SGDet")
        if run.task in by_task:
            raise HMLError(
                f"{by_task[run.task].path} and {run.path} are both {TASK_NAMES[run.task]}; "
                "Mean@K takes one run each of PredCls, SGCls and SGDet"
            )
        by_task[run.task] = run
    absent = [TASK_NAMES[task] for task in TASKS if task not in by_task]
    if absent:
        raise HMLError(f"Mean@K lacks a run of {' and '.join(absent)}; give one each of PredCls, SGCls and SGDet")
    _common_predicates(runs)
    figures: dict[str, float] = {}
    for metric in ("R", "mR"):
        for key in (f"{metric}@{k}" for k in KS):
            for run in runs:
                if key not in run.metrics:
                    raise HMLError(f"{run.path} has no {key}: its test did not store it; Mean@K needs R and mR at "
                                   f"{', '.join(map(str, KS))}")  # fmt: skip
                if run.metrics[key] is None:
                    raise HMLError(f"{run.path} has no {key} (no image with a relation was tested); test it again")
            figures[key] = sum(run.metrics[key] for run in runs) / len(runs)
    figures.update({f"Mean@{k}": (figures[f"R@{k}"] + figures[f"mR@{k}"]) / 2 for k in KS})
    return figures


def mean_at_k_table(runs: Sequence[Run], figures: Mapping[str, float]) -> str:
    """One row per task and their mean, in percent."""
    keys = [f"{metric}@{k}" for metric in ("R", "mR") for k in KS]
    rows = []
    for run in sorted(runs, key=lambda run: TASKS.index(run.task)):
        means = [percent([(run.metrics[f"R@{k}"] + run.metrics[f"mR@{k}"]) / 2]) for k in KS]
        rows.append([TASK_NAMES[run.task], *(percent([run.metrics[key]]) for key in keys), *means])
    rows.append(["mean", *(percent([value]) for value in figures.values())])
    return format_table(["", *figures], rows)
