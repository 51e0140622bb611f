"""Scene graphs of the pictures of a test: from stored predictions, ours or SGB's, or from what hml predict wrote.

A test stores boxes in the size that the data set gives for a picture, not in the size that the network saw: both
benchmarks resize them before they evaluate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Union

import numpy as np

from ...errors import HMLError
from ...files import read_json
from ...metrics.choices import TASKS
from ...metrics.matching import constrained
from ...run_folder import METRICS, PICTURES, PREDICTIONS
from ...scene_graph import Relation, SceneGraph, SceneObject
from ..runs import object_names, predicate_names, results_folder, run_tree, stored_task
from ..stored import StoredBoxes, load_predictions

DEPTH = 1000
"""So many of the strongest relations of a picture are read; SGDet has up to 6,320."""
GRAPHS = "scene_graphs.json"
"""What hml predict calls the file with the graphs of all pictures."""


@dataclass(frozen=True)
class StoredTest:
    """Predictions and annotations of a test, read from disk as they are asked for; ``at`` counts its pictures from 0.

    Attributes:
        path: as the user named it.
        ids: of each picture: its file's name without the ending; its number in the test if names are unknown or repeat.
        files: of each picture; None where unknown.
        sizes: (width, height) of each picture in pixels.
        objects: object classes in index order, background first. predicates: likewise.
    """

    path: str
    task: str
    ids: list[str]
    files: list[Path | None]
    sizes: list[tuple[int, int]]
    objects: tuple[str, ...]
    predicates: tuple[str, ...]
    truths: Sequence[StoredBoxes]
    predictions: Sequence[StoredBoxes]
    turned = False  # benchmarks read pictures as they are stored, without their EXIF rotation

    def predicted(self, at: int) -> SceneGraph:
        """The predicted graph: each pair with its best predicate, in the order in which the metrics count them."""
        truth, prediction = self.truths[at], self.predictions[at]
        objects = self._annotated_objects(at) if self.task == "predcls" else self._predicted_objects(at)
        weights = np.ones(len(truth.bbox)) if self.task == "predcls" else prediction.numbers("pred_scores")
        pairs = prediction.numbers("rel_pair_idxs")[:DEPTH].reshape(-1, 2)
        scores = prediction.numbers("pred_rel_scores")[:DEPTH]
        if not len(pairs):
            return self._graph(at, self.task, objects, [])
        if scores.shape[1] != len(self.predicates):
            raise HMLError(
                f"{self.path} has scores of {scores.shape[1]} classes, but the names found near it are "
                f"{len(self.predicates)}; put the *_statistics.cache of that training into its OUTPUT_DIR"
            )
        triplets, values = constrained(pairs, scores)
        products = values * weights[pairs[:, 0]] * weights[pairs[:, 1]]
        relations = [
            Relation(subject, object_, self.predicates[predicate], score)
            for (subject, object_, predicate), score in zip(triplets.tolist(), products.tolist())
        ]
        return self._graph(at, self.task, objects, relations)

    def annotated(self, at: int) -> SceneGraph:
        """The annotated graph; every predicate of a pair."""
        rows = self.truths[at].numbers("relation_tuple").reshape(-1, 3).tolist()
        distinct = dict.fromkeys(map(tuple, rows))
        relations = [Relation(one, two, self.predicates[predicate]) for one, two, predicate in distinct]
        return self._graph(at, "annotation", self._annotated_objects(at), relations)

    def _annotated_objects(self, at: int) -> list[SceneObject]:
        truth = self.truths[at]
        return self._objects(truth, truth.numbers("labels"), [None] * len(truth.bbox))

    def _predicted_objects(self, at: int) -> list[SceneObject]:
        prediction = self.predictions[at]
        scores = prediction.numbers("pred_scores").tolist()
        return self._objects(prediction, prediction.numbers("pred_labels"), scores)

    def _objects(self, boxes: StoredBoxes, labels: np.ndarray, scores: Sequence[float | None]) -> list[SceneObject]:
        corners = [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes.corners().tolist()]
        if len(labels) and int(labels.max()) >= len(self.objects):
            raise HMLError(
                f"{self.path} has objects of class {int(labels.max())}, but the names found near it are "
                f"{len(self.objects)}; put the *_statistics.cache of that training into its OUTPUT_DIR"
            )
        names = [self.objects[label] for label in labels.tolist()]
        return [SceneObject(name, box, score) for name, box, score in zip(names, corners, scores)]

    def _graph(
        self, at: int, task: str, objects: Sequence[SceneObject], relations: Sequence[Relation]
    ) -> SceneGraph:  # fmt: skip
        file = self.files[at]
        name = file.name if file is not None else ""
        return SceneGraph(name, *self.sizes[at], task, tuple(objects), tuple(relations), self.ids[at])


@dataclass(frozen=True)
class PredictedGraphs:
    """The graphs that hml predict wrote; there is no annotation. Attributes as in :class:`StoredTest`."""

    path: str
    ids: list[str]
    files: list[Path | None]
    sizes: list[tuple[int, int]]
    graphs: Sequence[SceneGraph]
    turned = True  # hml predict displays pictures as their EXIF rotation says
    objects: tuple[str, ...] = ()
    predicates: tuple[str, ...] = ()

    def predicted(self, at: int) -> SceneGraph:
        """The predicted graph."""
        return replace(self.graphs[at], relations=self.graphs[at].relations[:DEPTH])

    def annotated(self, at: int) -> None:
        """None: there is none."""
        return None


Results = Union[StoredTest, PredictedGraphs]


def load_results(path: str) -> Results:
    """What a run predicted.

    Args:
        path: an OUTPUT_DIR, a folder of test results, or the output of hml predict (its folder or a JSON file in it).

    Raises:
        HMLError: no such place, no predictions there, or unreadable ones.
    """
    place = Path(path)
    if place.is_dir() and (place / GRAPHS).is_file():
        place = place / GRAPHS
    if place.suffix == ".json" and place.name != METRICS and place.is_file():
        return _of_predict(path, place)
    folder = results_folder(path)
    if not (folder / PREDICTIONS).is_file():
        raise HMLError(
            f"{folder} has no {PREDICTIONS}, because the test ran with TEST.SAVE_PREDICTIONS False; test the run again "
            "with TEST.SAVE_PREDICTIONS True (hml run tools/relation_test_net.py with the options of its training)"
        )
    return _of_test(path, folder)


def _of_test(path: str, folder: Path) -> StoredTest:
    task = _task(folder)
    predicates = predicate_names(folder, run_tree(folder))
    objects = object_names(folder)
    if objects is None:
        raise HMLError(
            f"no file near {folder} contains the names of the object classes (neither *_statistics.cache nor "
            "labels.json in OUTPUT_DIR); copy labels.json from the training's OUTPUT_DIR"
        )
    truths, predictions = load_predictions(folder / PREDICTIONS)
    files = _picture_files(folder / PICTURES, len(truths))
    ids = [str(at) if file is None else file.stem for at, file in enumerate(files)]
    if len(set(ids)) < len(ids):
        ids = [str(at) for at in range(len(files))]
    sizes = [(int(truth.size[0]), int(truth.size[1])) for truth in truths]
    return StoredTest(path, task, ids, files, sizes, objects, predicates, truths, predictions)


def _task(folder: Path) -> str:
    if (folder / METRICS).is_file():
        content = read_json(folder / METRICS)
        task = content.get("mode") if isinstance(content, dict) else None
        if task not in TASKS:
            raise HMLError(f"{folder} has results of {task}, not of a test with relations; give such a run")
        return task
    return stored_task(folder)[0]


def _picture_files(path: Path, count: int) -> list[Path | None]:
    """The test's pictures in order; all None without the file that lists them."""
    if not path.is_file():
        return [None] * count
    content = read_json(path)
    rows = content if isinstance(content, list) else []
    names = [row["img_file"] for row in rows if isinstance(row, dict) and isinstance(row.get("img_file"), str)]
    if len(names) != count:
        raise HMLError(f"{path} does not name the {count} pictures of {path.with_name(PREDICTIONS)}; test again")
    return [Path(name) for name in names]


def _of_predict(path: str, file: Path) -> PredictedGraphs:
    content: Any = read_json(file)
    rows = content.get("graphs", [content]) if isinstance(content, dict) else content
    try:
        graphs = [SceneGraph.from_json(row) for row in rows]
    except (HMLError, TypeError) as error:
        raise HMLError(f"{file} cannot be drawn: {error}") from error
    stems = [graph.image_id or Path(graph.picture).stem for graph in graphs]
    often = Counter(stems)
    ids = [stem if often[stem] == 1 else graph.picture for stem, graph in zip(stems, graphs)]
    return PredictedGraphs(
        path, ids, [Path(graph.picture) for graph in graphs], [(g.width, g.height) for g in graphs], graphs
    )
