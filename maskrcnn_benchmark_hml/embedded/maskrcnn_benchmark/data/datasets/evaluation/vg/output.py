"""Results as log lines and as files."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.miscellaneous import mkdir, replaced_file

from .recall import KS

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


def mean(values: Sequence[float]) -> float:
    """Mean; NaN for no values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.mean(values))


def at_k(result: dict[str, Any], mode: str, key: str) -> dict[int, float]:
    """{K: value over the whole split} of one metric of ``RecallTable.result_dict``."""
    if key == "accuracy":
        hits, counts = result[f"{mode}_accuracy_hit"], result[f"{mode}_accuracy_count"]
        return {k: mean(hits[k]) / mean(counts[k]) for k in KS}
    values = result[f"{mode}_{key}"]
    return {k: float(values[k]) if isinstance(values[k], float) else mean(values[k]) for k in KS}


def log_lines(result: dict[str, Any], mode: str, predicates: Sequence[str]) -> str:
    """The lines that scripts around the benchmark parse; ``predicates`` with the background first."""
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


def metrics(result: dict[str, Any], mode: str, predicates: Sequence[str]) -> dict[str, Any]:
    """For ``metrics.json``: every metric at K, per predicate too (null: the split has none of it)."""
    content: dict[str, Any] = {}
    for key, label, _ in _LINES:
        if key == "accuracy" and mode == "sgdet":
            continue
        content.update({f"{label.strip()}@{k}": _number(v) for k, v in at_k(result, mode, key).items()})
    content["per_predicate"] = {}
    for key, label in (("mean_recall", "R"), ("ng_mean_recall", "ng-R")):
        for k in KS:
            shares = result[f"{mode}_{key}_collect"][k][1:]
            content["per_predicate"][f"{label}@{k}"] = {
                name: mean(share) if share else None for name, share in zip(predicates[1:], shares)
            }
    content["images_evaluated"] = len(result[f"{mode}_recall"][KS[0]])
    return content


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def write_results(folder: str | Path, result: dict[str, Any] | None, content: dict[str, Any]) -> None:
    """``metrics.json``, and ``result_dict.pytorch`` if there is a ``result`` of relations."""
    mkdir(folder)
    if result is not None:
        with replaced_file(Path(folder) / "result_dict.pytorch") as aside:
            torch.save(result, aside)
    with replaced_file(Path(folder) / "metrics.json") as aside:
        aside.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")


def write_predictions(
    folder: str | Path, groundtruths: Sequence[BoxList], predictions: Sequence[BoxList], dataset: Any
) -> None:
    """``eval_results.pytorch`` ({"groundtruths", "predictions"}: lists of BoxList) and ``visual_info.json``."""
    mkdir(folder)
    with replaced_file(Path(folder) / "eval_results.pytorch") as aside:
        torch.save({"groundtruths": list(groundtruths), "predictions": list(predictions)}, aside)
    drawn = [
        {
            "img_file": str(Path(dataset.filenames[i]).absolute()),
            "groundtruth": _named(truth, "labels", dataset.categories),
            "prediction": _named(prediction, "pred_labels", dataset.categories),
        }
        for i, (truth, prediction) in enumerate(zip(groundtruths, predictions))
    ]
    with replaced_file(Path(folder) / "visual_info.json") as aside:
        aside.write_text(json.dumps(drawn), encoding="utf-8")


def _named(boxes: BoxList, field: str, names: dict[int, str]) -> list[list[Any]]:
    """[x1, y1, x2, y2, class name] per box."""
    return [[*box, names[label]] for box, label in zip(boxes.bbox.tolist(), boxes.get_field(field).tolist())]
