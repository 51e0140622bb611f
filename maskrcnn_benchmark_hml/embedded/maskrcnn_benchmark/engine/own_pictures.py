"""TEST.CUSTUM_EVAL: scene graphs of the user's own pictures, written picture by picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from maskrcnn_benchmark.utils.comm import gather, is_main_process
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.files import written_aside

DECIMALS = 6
"""Of ``rel_all_scores``, which are most of a file: all predicates of all pairs."""


def scene_graphs_file(cfg: CfgNode) -> Path:
    """Where the scene graphs go."""
    return Path(cfg.DETECTED_SGG_DIR) / "custom_prediction.json"


class EmptyWithoutDetection(torch.nn.Module):
    """A detector whose prediction is empty where nothing was detected.

    Its relation head works on at least one box, so the likeliest box, below the threshold, stands for none.

    Args:
        threshold: least score of a detection.
    """

    def __init__(self, detector: torch.nn.Module, threshold: float) -> None:
        super().__init__()
        self.detector, self.threshold = detector, threshold

    def forward(self, images: Any, targets: Any) -> list[Any]:
        """The detector's predictions."""
        found: list[bool] = []
        heads = getattr(self.detector, "roi_heads", {})

        def note(_head: torch.nn.Module, _args: Any, output: Any) -> None:
            found[:] = [bool((boxes.get_field("pred_scores") > self.threshold).any()) for boxes in output[1]]

        handle = heads.box.register_forward_hook(note) if "box" in heads else None
        try:
            predictions = self.detector(images, targets)
        finally:
            if handle is not None:
                handle.remove()
        return [p if seen else without_objects(p) for p, seen in zip(predictions, found or [True] * len(predictions))]


@contextmanager
def scene_graph_writer(cfg: CfgNode, pictures: int) -> Iterator[Callable[[int, Any], None]]:
    """Yields what takes (number of the picture, prediction); on leaving, the file is whole.

    The process that writes holds one picture at a time; others hold the text of theirs until the end.

    Raises:
        HMLError: one of the ``pictures`` has no prediction, or the file cannot be written.
    """
    texts: dict[int, str] = {}
    if not is_main_process():
        yield lambda number, prediction: texts.update({number: _text(prediction)})
        gather(texts)
        return
    taken: set[int] = set()
    with written_aside(scene_graphs_file(cfg), "scene graphs") as aside, aside.open("w", encoding="utf-8") as out:

        def write(number: int, text: str) -> None:
            if number not in taken:  # a sampler's padding may repeat pictures
                out.write(f'{"," if taken else "{"}\n"{number}": {text}')
                taken.add(number)

        yield lambda number, prediction: write(number, _text(prediction))
        for part in gather(texts):
            for number, text in part.items():
                write(number, text)
        check_complete([number for number in range(pictures) if number not in taken], pictures)
        out.write("\n}\n")


def check_complete(absent: Sequence[int], images: int) -> None:
    """HMLError if images have no prediction."""
    if absent:
        raise HMLError(f"{len(absent)} of {images} images have no prediction (first: {absent[0]}); check the sampler")


def _text(prediction: Any) -> str:
    return json.dumps(scene_graph(prediction))


def scene_graph(prediction: Any) -> dict[str, list[Any]]:
    """One image's prediction as plain lists: boxes by descending score, relations by descending predicate score.

    ``rel_pairs`` hold positions in the *sorted* boxes; predicate 0, the background, is never a ``rel_labels`` entry.
    Boxes are in pixels of the network's copy of the picture, whose width and height are ``bbox_size``.
    """
    boxes = prediction.convert("xyxy").bbox
    scores, labels = prediction.get_field("pred_scores"), prediction.get_field("pred_labels")
    order = torch.argsort(scores, descending=True, stable=True)
    position = torch.argsort(order)
    pairs, probabilities = prediction.get_field("rel_pair_idxs"), prediction.get_field("pred_rel_scores")
    real = pairs[:, 0] != pairs[:, 1]  # the head takes the pair (0, 0) where there is none
    pairs, probabilities = pairs[real], probabilities[real]
    best, predicate = probabilities[:, 1:].max(dim=1)
    ranked = torch.argsort(best, descending=True, stable=True)
    return {
        "bbox": boxes[order].tolist(),
        "bbox_labels": labels[order].tolist(),
        "bbox_scores": scores[order].tolist(),
        "bbox_size": list(prediction.size),
        "rel_pairs": position[pairs[ranked]].tolist(),
        "rel_labels": (predicate[ranked] + 1).tolist(),
        "rel_scores": best[ranked].tolist(),
        "rel_all_scores": probabilities[ranked].double().round(decimals=DECIMALS).tolist(),
    }


def without_objects(prediction: Any) -> Any:
    """A prediction of the same picture with no box and no pair."""
    return prediction[torch.zeros(0, dtype=torch.int64)]
