"""Scene graphs of pictures by a finished run; the Python function behind ``hml predict``.

    from maskrcnn_benchmark_hml.predict.prediction import predict
    for graph in predict("out/motifs-hml", ["photos"]):
        print(graph.picture, graph.relations[:5])
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from tqdm import tqdm

from ..errors import HMLError
from ..files import content_digest
from ..machine import usable_cores
from ..scene_graph import TASK_TITLES, SceneGraph
from .batches import Job, Model, Outcome, in_order, outcomes
from .box_files import read_boxes
from .boxes import GivenBoxes, check_places, class_names, given_boxes, match
from .folder import ResultFolder
from .pictures import Picture, displayed_size, find_pictures, open_photo, stored_size

if TYPE_CHECKING:
    from ..host.finished_run import FinishedRun

TOP, BATCH, MOST_THREADS = 100, 4, 4
"""Relations of a picture and pictures of a batch, unless others are given; most threads that open pictures."""

LOG = "maskrcnn_benchmark.hml.pictures"
_log = logging.getLogger(LOG)


@dataclass(frozen=True)
class Drawer:
    """How drawings are made: ``write(graph, photo, file)`` makes a file with this ``ending`` (``.svg``)."""

    ending: str
    write: Callable[[SceneGraph, Image.Image, Path], None]


@dataclass
class Work:
    """What there is to do for a call of :func:`predict`.

    Attributes:
        pictures: in order.
        notes: what was left out or read in a way that the user should know, in words.
        boxes: number of the picture -> its boxes, if the task needs some.
        refused: number of the picture -> why nothing is predicted for it.
    """

    pictures: list[Picture]
    notes: list[str]
    boxes: dict[int, GivenBoxes]
    refused: dict[int, str]


class Predictions:
    """The scene graphs of pictures, computed while they are iterated over. Iterate once.

    Attributes:
        pictures: all pictures in order; ``len`` is their number.
        notes: what was left out or read in a way that the user should know, in words; grows during the iteration.
        failed: name of the picture -> why it has no graph; grows during the iteration.
        reused: number of graphs that were stored already (with ``out``).
        all_file: with ``out``, the JSON of all graphs, once the iteration has ended.
    """

    def __init__(
        self, work: Work, open_model: Callable[[], Model], top: int, batch: int, folder: ResultFolder | None = None,
        drawer: Drawer | None = None,
    ) -> None:  # fmt: skip
        self.pictures, self.notes, self.reused = work.pictures, work.notes, 0
        self.failed: dict[str, str] = {}
        self.all_file: Path | None = None
        self._work, self._open_model, self._top, self._batch = work, open_model, top, batch
        self._folder, self._drawer = folder, drawer

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[SceneGraph]:
        """The graphs in the order of the pictures, without those of ``failed``.

        Raises:
            HMLError: the model cannot be made, or a file not be written.
        """
        todo = [Job(number, picture, self._work.boxes.get(number)) for number, picture in enumerate(self.pictures)
                if number not in self._work.refused and not self._is_finished(number)]  # fmt: skip
        self.reused = len(self.pictures) - len(todo) - len(self._work.refused)
        model = self._open_model() if todo else None
        threads = max(1, min(MOST_THREADS, usable_cores()))
        with ThreadPoolExecutor(threads) as pool, self._folder.begin() if self._folder else nullcontext():
            found: Iterator[Outcome] = iter(())
            if model is not None:
                made = outcomes(model, todo, self._top, self._batch, pool)
                found = in_order(made, [job.number for job in todo], self._keep)
            yield from self._graphs({job.number for job in todo}, found)
            if self._folder:
                self.all_file = self._folder.finish(self.pictures, self.failed)

    def _is_finished(self, number: int) -> bool:
        if self._folder is None:
            return False
        return self._folder.is_finished(self.pictures[number], self._work.boxes.get(number))

    def _graphs(self, todo: set[int], found: Iterator[Outcome]) -> Iterator[SceneGraph]:
        for number, picture in enumerate(self.pictures):
            if number in self._work.refused:
                self._fail(picture, self._work.refused[number])
            elif number in todo:
                outcome = next(found)
                if outcome.graph is not None:
                    yield outcome.graph
            elif self._folder is not None:
                graph = self._folder.read(picture)
                self._draw(picture, graph, None)
                yield graph

    def _keep(self, outcome: Outcome) -> None:
        """Store a new graph and draw it; say what is to be said."""
        picture = self.pictures[outcome.number]
        if outcome.note:
            self.notes.append(outcome.note)
        if outcome.graph is None:
            self._fail(picture, outcome.failure)
        elif self._folder is not None:
            self._draw(picture, outcome.graph, outcome.photo)
            self._folder.store(picture, self._work.boxes.get(outcome.number), outcome.graph)

    def _fail(self, picture: Picture, why: str) -> None:
        self.failed[picture.name] = why
        _log.warning("HML: no scene graph of %s: %s", picture.name, why)

    def _draw(self, picture: Picture, graph: SceneGraph, photo: Image.Image | None) -> None:
        """Draw a new graph, or a stored one that has no drawing of this kind yet."""
        if self._drawer is None or self._folder is None:
            return
        file = self._folder.drawing_file(picture, self._drawer.ending)
        if photo is not None or not file.is_file():
            self._drawer.write(graph, photo or open_photo(picture.path).image, file)


def predict(
    run: str | Path,
    pictures: str | Path | Iterable[str | Path],
    *,
    boxes: str | Path | Mapping[str, Any] | None = None,
    sgb: str | None = None,
    device: str | None = None,
    top: int = TOP,
    batch: int = BATCH,
    out: str | Path | None = None,
    drawer: Drawer | None = None,
) -> Predictions:
    """Scene graphs of pictures by a finished run. Everything that can be checked without the model is checked now.

    Args:
        run: the OUTPUT_DIR of a run, of the bundled benchmark, SGB or a fork.
        pictures: files and folders; of a folder all pictures, those of its folders too.
        boxes: for PredCls and SGCls: a JSON file (docs/predict.md), or what ``json.load`` gives of one.
        sgb: folder of the checkout that trained the run; None: see ``hml predict --help``.
        device: ``cpu`` or ``cuda``; None: that of the run, the CPU if there is no GPU.
        top: most relations of a picture, 1 or more.
        batch: most pictures that the model is given at once, 1 or more.
        out: folder for results; pictures that are finished there are not predicted again. None: nothing is written.
        drawer: with ``out``, makes a drawing of each picture.

    Returns:
        The graphs, predicted while they are iterated over. A picture that cannot be read is in ``failed`` and in the
        log, and the others go on.

    Raises:
        HMLError: the run, the boxes or an option is wrong; there is no picture; ``out`` is of another run.
    """
    from ..host.finished_run import read_run
    from ..host.inference import open_model

    if top < 1 or batch < 1:
        given = f"(--top {top}, --batch {batch})"
        raise HMLError(f"the numbers of relations and of pictures at once are at least 1 {given}; choose larger ones")
    found = find_pictures([pictures] if isinstance(pictures, (str, Path)) else pictures)
    stated = None if boxes is None else read_boxes(boxes)
    trained = read_run(run, sgb, device)
    work = Work(found.pictures, [f"left out: {one}" for one in found.left_out], {}, {})
    _check_boxes_wanted(trained, stated is not None)
    if stated is not None:
        work.notes += stated.notes
        _take_boxes(work, stated.pictures, stated.said, trained)
    folder = None if out is None else ResultFolder(out, trained.folder, _bound(trained, top))
    return Predictions(work, lambda: open_model(trained), top, batch, folder, drawer)


def _bound(trained: FinishedRun, top: int) -> dict[str, Any]:
    """What results depend on besides the pictures and their boxes."""
    return {"checkpoint": content_digest(trained.checkpoint), "top": top}


def _check_boxes_wanted(trained: FinishedRun, given: bool) -> None:
    title = TASK_TITLES[trained.task]
    if given and trained.task == "sgdet":
        raise HMLError(f"the run {trained.folder} is {title}, which finds the boxes itself; leave --boxes out")
    if not given and trained.task != "sgdet":
        raise HMLError(f"the run {trained.folder} is {title}, which predicts on given boxes; add --boxes FILE "
                       "(docs/predict.md), or name a run of SGDet")  # fmt: skip


def _take_boxes(work: Work, stated: Mapping[str, Any], said: str, trained: FinishedRun) -> None:
    """Match the boxes with the pictures, and check each."""
    matched = match(stated, work.pictures, said)
    if matched.unused:
        work.notes.append(f"{said}: {len(matched.unused)} entries belong to none of these pictures (first: "
                          f"{matched.unused[0]})")  # fmt: skip
    named = trained.task == "predcls"
    bar = tqdm(work.pictures, "checking boxes", unit="picture", leave=False, disable=None)
    for number, picture in enumerate(bar):
        if number not in matched.boxes:
            work.refused[number] = f"{said} has no boxes of it; an empty list says that it shows no object"
            continue
        rows = matched.boxes[number]
        labels = class_names(rows, trained.object_names, str(trained.folder)) if named else None
        try:
            (width, height), before = displayed_size(picture.path), stored_size(picture.path)
        except HMLError as error:
            work.refused[number] = str(error)
            continue
        check_places(rows, width, height, before if before != (width, height) else None)
        work.boxes[number] = given_boxes(rows, labels, width, height)
