"""A split's metrics as one dictionary, as rows, and as the log lines that scripts around the benchmark parse."""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .matching import KS

_LINES = (
    # key of the result, label, name of the metric
    ("recall", "    R", "Recall(Main)"),
    ("recall_nogc", " ng-R", "No Graph Constraint Recall(Main)"),
    ("zeroshot_recall", "   zR", "Zero Shot Recall"),
    ("ng_zeroshot_recall", "ng-zR", "No Graph Constraint Zero Shot Recall"),
    ("mean_recall", "   mR", "Mean Recall"),
    ("ng_mean_recall", "ng-mR", "No Graph Constraint Mean Recall"),
    ("accuracy", "    A", "TopK Accuracy"),
)
METRICS = tuple(label.strip() for _, label, _ in _LINES)
COLUMNS = ("task", "metric", "k", "predicate", "value")


def mean(values: Sequence[float]) -> float:
    """Mean; NaN for no values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.mean(values))


def at_k(result: Mapping[str, Any], mode: str, key: str) -> dict[int, float]:
    """{K: value over the whole split} of one metric of ``RecallTable.result_dict``, without what it does not hold."""
    if key == "accuracy":
        hits, counts = (result.get(f"{mode}_accuracy_{what}", {}) for what in ("hit", "count"))
        return {k: mean(hits[k]) / mean(counts[k]) for k in KS if k in hits and k in counts}
    values = result.get(f"{mode}_{key}", {})
    return {k: float(values[k]) if isinstance(values[k], float) else mean(values[k]) for k in KS if k in values}


def log_lines(result: Mapping[str, Any], mode: str, predicates: Sequence[str]) -> str:
    """The log lines; ``predicates`` with the background first."""
    text = ""
    for key, label, name in _LINES:
        if key == "accuracy" and mode == "sgdet":
            continue
        text += "SGG eval: " + "".join(f"{label} @ {k}: {v:.4f}; " for k, v in at_k(result, mode, key).items())
        text += f" for mode={mode}, type={name}.\n"
        if key.endswith("mean_recall"):
            text += "----------------------- Details ------------------------\n"
            listed = result[f"{mode}_{key}_list"][100]
            text += "".join(f"({predicate}:{value:.4f}) " for predicate, value in zip(predicates[1:], listed))
            text += "\n--------------------------------------------------------\n"
    return text


def metrics(result: Mapping[str, Any], mode: str, predicates: Sequence[str]) -> dict[str, Any]:
    """For ``metrics.json``: every metric at K, per predicate too (null: the split has none of it).

    Args:
        result: ``RecallTable.result_dict``, or the file of SGB or a fork; a metric that it lacks is left out.
        predicates: with the background first; empty if the names are not known: then nothing is given per predicate.
    """
    content: dict[str, Any] = {}
    for key, label, _ in _LINES:
        if key == "accuracy" and mode == "sgdet":
            continue
        content.update({f"{label.strip()}@{k}": number(v) for k, v in at_k(result, mode, key).items()})
    content["per_predicate"] = {}
    for key, label in (("mean_recall", "R"), ("ng_mean_recall", "ng-R")):
        collected = result.get(f"{mode}_{key}_collect", {})
        for k in (k for k in KS if k in collected and predicates):
            content["per_predicate"][f"{label}@{k}"] = {
                name: mean(share) if share else None for name, share in zip(predicates[1:], collected[k][1:])
            }
    if f"{mode}_recall" in result:
        content["images_evaluated"] = max(map(len, result[f"{mode}_recall"].values()), default=0)
    return content


def absent_metrics(content: Mapping[str, Any]) -> list[str]:
    """The metrics that a task has and ``metrics.json`` lacks: ``zR``, or ``zR@20`` where it has it at another K."""
    absent = []
    for metric in METRICS:
        if metric == "A" and content["mode"] == "sgdet":
            continue
        lacking = [f"{metric}@{k}" for k in KS if f"{metric}@{k}" not in content]
        absent += [metric] if len(lacking) == len(KS) else lacking
    return absent


def number(value: float) -> float | None:
    """``value``, None for NaN, which JSON does not have."""
    return None if math.isnan(value) else value


def metric_rows(content: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    """(task, metric, k, predicate, value) of every number of ``metrics.json``.

    ``k`` is empty for a metric without one, ``predicate`` for one of all predicates, ``value``, a fraction with all its
    digits, where the split has no example. Recall of one predicate is the metric R (or ng-R) with that predicate.
    """
    task = str(content["mode"])
    for key, value in content.items():
        if isinstance(value, (int, float)) or value is None:
            metric, _, k = key.partition("@")
            if key == "mAP@0.5":
                metric, k = key, ""
            yield task, metric, k, "", _digits(value)
    for key, by_name in content.get("per_predicate", {}).items():
        metric, _, k = key.partition("@")
        for name, value in by_name.items():
            yield task, metric, k, name, _digits(value)


def _digits(value: float | None) -> str:
    return "" if value is None else repr(value)


def metrics_csv(content: Mapping[str, Any]) -> str:
    """``metrics.csv``: ``metric_rows`` under their names."""
    return csv_text(COLUMNS, metric_rows(content))


def csv_text(header: Sequence[str], rows: Any) -> str:
    """Comma-separated lines with a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
