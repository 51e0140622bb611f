"""Results as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.miscellaneous import mkdir, replaced_file

from maskrcnn_benchmark_hml.metrics.matches import MATCHES_FILE, SplitMatches
from maskrcnn_benchmark_hml.metrics.summary import metrics_csv


def write_results(
    folder: str | Path, content: dict[str, Any], result: dict[str, Any] | None, matches: SplitMatches | None
) -> None:
    """``metrics.json`` and ``metrics.csv``; of relations also ``result_dict.pytorch`` and ``matches.npz``."""
    folder = Path(folder)
    mkdir(folder)
    if result is not None:
        with replaced_file(folder / "result_dict.pytorch") as aside:
            torch.save(result, aside)
    if matches is not None:
        with replaced_file(folder / MATCHES_FILE) as aside:
            matches.save(aside)
    with replaced_file(folder / "metrics.csv") as aside:
        aside.write_text(metrics_csv(content), encoding="utf-8")
    with replaced_file(folder / "metrics.json") as aside:
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
