"""Results as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.miscellaneous import mkdir

from maskrcnn_benchmark_hml.files import save_torch, write_json, write_text
from maskrcnn_benchmark_hml.metrics.matches import MATCHES_FILE, SplitMatches
from maskrcnn_benchmark_hml.metrics.summary import metrics_csv


def write_results(
    folder: str | Path, content: dict[str, Any], result: dict[str, Any] | None, matches: SplitMatches | None
) -> None:
    """``metrics.json`` and ``metrics.csv``; of relations also ``result_dict.pytorch`` and ``matches.npz``."""
    folder = Path(folder)
    mkdir(folder)
    if result is not None:
        save_torch(result, folder / "result_dict.pytorch", "result")
    if matches is not None:
        matches.save(folder / MATCHES_FILE)
    write_text(folder / "metrics.csv", metrics_csv(content), "result")
    write_json(folder / "metrics.json", content, "result", indent=1, allow_nan=False)


def write_predictions(
    folder: str | Path, groundtruths: Sequence[BoxList], predictions: Sequence[BoxList], dataset: Any
) -> None:
    """``eval_results.pytorch`` ({"groundtruths", "predictions"}: lists of BoxList) and ``visual_info.json``."""
    mkdir(folder)
    stored = {"groundtruths": list(groundtruths), "predictions": list(predictions)}
    save_torch(stored, Path(folder) / "eval_results.pytorch", "predictions")
    drawn = [
        {
            "img_file": str(Path(dataset.filenames[i]).absolute()),
            "groundtruth": _named(truth, "labels", dataset.categories),
            "prediction": _named(prediction, "pred_labels", dataset.categories),
        }
        for i, (truth, prediction) in enumerate(zip(groundtruths, predictions))
    ]
    write_json(Path(folder) / "visual_info.json", drawn)


def _named(boxes: BoxList, field: str, names: dict[int, str]) -> list[list[Any]]:
    """[x1, y1, x2, y2, class name] per box."""
    return [[*box, names[label]] for box, label in zip(boxes.bbox.tolist(), boxes.get_field(field).tolist())]
