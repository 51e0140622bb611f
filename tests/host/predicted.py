"""Compares what ``open_run`` predicts on a run's test pictures with what its test script has stored for them.

As a program, for a benchmark of its own process: ``predicted.py RUN DATA SGB [BATCH]`` prints the differences as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from maskrcnn_benchmark_hml.host.inference import TrainedModel, open_run
from maskrcnn_benchmark_hml.report.stored import StoredBoxes, load_stored
from maskrcnn_benchmark_hml.scene_graph import SceneGraph

TOP = 100


@dataclasses.dataclass(frozen=True)
class Boxes:
    """As ``predict.boxes.GivenBoxes``."""

    boxes: np.ndarray
    labels: tuple[str, ...] | None


def pictures(data: Path) -> list[Path]:
    """The test pictures in the order of a host's test set."""
    with h5py.File(data / "VG-SGG-with-attri.h5", "r") as file:
        shown = (file["split"][:] == 2) & (file["img_to_first_rel"][:] >= 0) & (file["img_to_first_box"][:] >= 0)
    listed = json.loads((data / "image_data.json").read_text())
    found = {path.stem: path for path in (data / "VG_100K").iterdir()}
    return [found[str(listed[row]["image_id"])] for row in np.flatnonzero(shown)]


def stored(run: Path) -> tuple[list[StoredBoxes], list[StoredBoxes]]:
    """The test's annotations and predictions."""
    (path,) = run.glob("inference*/**/eval_results.pytorch")
    content = load_stored(path)
    return content["groundtruths"], content["predictions"]


def triplets(boxes: StoredBoxes, model: TrainedModel) -> list[tuple]:
    """(score, subject, predicate, object, subject's box, object's box) of the stored best, without background."""
    labels, scores = boxes.field("pred_labels"), boxes.field("pred_scores")
    pairs, probabilities = boxes.field("rel_pair_idxs"), boxes.field("pred_rel_scores")
    best, predicate = probabilities[:, 1:].max(1)
    result = []
    for (s, o), p, value in zip(pairs.tolist(), predicate.tolist(), best.tolist()):
        if s != o and labels[s] > 0 and labels[o] > 0:
            names = model.object_names[labels[s]], model.predicate_names[p + 1], model.object_names[labels[o]]
            score = value * float(scores[s]) * float(scores[o])
            result.append((score, *names, boxes.bbox[s].tolist(), boxes.bbox[o].tolist()))
    return result[:TOP]


def drawn(graph: SceneGraph) -> list[tuple]:
    """The same of a graph."""
    ends = [(graph.objects[r.subject], r.predicate, graph.objects[r.object], r.score) for r in graph.relations]
    return [(score, s.name, predicate, o.name, s.box, o.box) for s, predicate, o, score in ends]


def difference(expected: list[tuple], got: list[tuple]) -> tuple[int, float, float]:
    """Triplets that differ, largest difference of a score, and of a corner in pixels."""
    wrong = abs(len(expected) - len(got)) + sum(a[1:4] != b[1:4] for a, b in zip(expected, got))
    scores = [abs(a[0] - b[0]) for a, b in zip(expected, got)]
    corners = [float(np.abs(np.array(a[4:]) - np.array(b[4:])).max()) for a, b in zip(expected, got)]
    return wrong, max(scores, default=0.0), max(corners, default=0.0)


def predicted(model: TrainedModel, data: Path, run: Path, batch: int) -> Iterator[tuple[SceneGraph, StoredBoxes]]:
    """Graph and stored prediction of each test picture; annotated boxes are given where the task wants some."""
    annotated, predictions = stored(run)
    files = pictures(data)
    assert len(files) == len(predictions) > 1
    for start in range(0, len(files), batch):
        items = []
        for path, boxes in list(zip(files, annotated))[start : start + batch]:
            names = tuple(model.object_names[k] for k in boxes.field("labels").tolist())
            given = Boxes(boxes.bbox.numpy(), names if model.needs_labels else None) if model.needs_boxes else None
            with Image.open(path) as picture:
                items.append((picture.convert("RGB"), given))
        yield from zip(model.predict(items, TOP), predictions[start : start + batch])


def compare(model: TrainedModel, data: Path, run: Path, batch: int = 1) -> dict[str, float]:
    """The differences over all test pictures that have a detection."""
    wrong, score, corner, count, empty = 0, 0.0, 0.0, 0, 0
    for graph, boxes in predicted(model, data, run, batch):
        expected = triplets(boxes, model)
        if not graph.objects and len(boxes.field("pred_labels")) == 1:
            empty += 1
            continue
        part = difference(expected, drawn(graph))
        wrong, score, corner = wrong + part[0], max(score, part[1]), max(corner, part[2])
        count += len(expected)
    return {"triplets": count, "wrong": wrong, "score": score, "pixels": corner, "empty": empty}


if __name__ == "__main__":
    of, where, checkout, *rest = sys.argv[1:]
    opened = open_run(of, checkout)
    print(json.dumps(compare(opened, Path(where), Path(of), *map(int, rest))))
