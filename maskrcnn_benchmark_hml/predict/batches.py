"""Pictures through the model: opened by threads ahead of it, in batches of one shape, with bounded memory."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from PIL import Image

from ..errors import HMLError
from ..scene_graph import SceneGraph
from .boxes import GivenBoxes
from .pictures import Photo, Picture, displayed_size, open_photo

WINDOW = 8
"""Batches that are planned together: shapes are compared, and results wait for their turn, within these alone."""
PIXELS_OF_A_BATCH, PIXELS_AHEAD = 64 * 10**6, 128 * 10**6
"""A batch ends at so many pixels, and so many are opened ahead: 3 bytes each. A single picture may have more."""
BATCHES_AHEAD = 3
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class Model(Protocol):
    """What predicts: ``host.inference.TrainedModel``."""

    task: str

    def predict(self, batch: Sequence[tuple[Image.Image, GivenBoxes | None]], top: int) -> list[SceneGraph]:
        """The scene graphs of a batch, in its order."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A picture to predict: its number among the user's pictures, and its boxes if the task needs some."""

    number: int
    picture: Picture
    boxes: GivenBoxes | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a picture: a graph and the photo that it belongs to, or a sentence that says why not."""

    number: int
    graph: SceneGraph | None = None
    photo: Image.Image | None = None
    note: str = ""
    failure: str = ""


def outcomes(
    model: Model, jobs: Sequence[Job], top: int, batch: int, pool: ThreadPoolExecutor
) -> Iterator[Outcome]:
    """Predict all jobs, each outcome as soon as it is known, almost in order.

    A batch has pictures of one shape (width over height) alone: they are padded alike, so the result of a picture does
    not depend on the others.

    Args:
        top: most relations of a picture. batch: most pictures of a batch. pool: opens the pictures.
    """
    plan = _plan(jobs, batch, pool)
    ahead: deque[tuple[int, list[tuple[Job, Future[Photo]]]]] = deque()

    def refill() -> Iterator[Outcome]:
        while len(ahead) < BATCHES_AHEAD and (not ahead or sum(pixels for pixels, _ in ahead) < PIXELS_AHEAD):
            planned = next(plan, None)
            if planned is None:
                return
            if isinstance(planned, Outcome):
                yield planned
            else:
                pixels, members = planned
                ahead.append((pixels, [(job, pool.submit(open_photo, job.picture.path)) for job in members]))

    try:
        while True:
            yield from refill()
            if not ahead:
                return
            yield from _predicted(model, ahead.popleft()[1], top)
    finally:
        for _, members in ahead:
            for _, opening in members:
                opening.cancel()


def _plan(jobs: Sequence[Job], batch: int, pool: ThreadPoolExecutor) -> Iterator[tuple[int, list[Job]] | Outcome]:
    """Batches as (pixels, jobs), in the order of their first pictures; a picture that cannot be read is an outcome."""
    for start in range(0, len(jobs), WINDOW * batch):
        window = jobs[start : start + WINDOW * batch]
        open_batches: dict[tuple[int, int], tuple[int, list[Job]]] = {}
        full: list[tuple[int, list[Job]]] = []
        for job, size in zip(window, pool.map(_size_or_failure, [job.picture for job in window])):
            if isinstance(size, str):
                yield Outcome(job.number, failure=size)
                continue
            pixels, divisor = size[0] * size[1], math.gcd(*size)
            shape = (size[0] // divisor, size[1] // divisor)
            so_far, members = open_batches.get(shape, (0, []))
            if members and (len(members) == batch or so_far + pixels > PIXELS_OF_A_BATCH):
                full.append(open_batches.pop(shape))
                so_far, members = 0, []
            open_batches[shape] = (so_far + pixels, [*members, job])
        yield from sorted([*full, *open_batches.values()], key=lambda planned: planned[1][0].number)


def _size_or_failure(picture: Picture) -> tuple[int, int] | str:
    try:
        return displayed_size(picture.path)
    except HMLError as error:
        return str(error)


def _predicted(model: Model, members: Sequence[tuple[Job, Future[Photo]]], top: int) -> Iterator[Outcome]:
    """The outcomes of one batch."""
    opened: list[tuple[Job, Photo]] = []
    for job, opening in members:
        try:
            photo = opening.result()
        except HMLError as error:
            yield Outcome(job.number, failure=str(error))
            continue
        except MemoryError:
            yield Outcome(job.number, failure=f"{job.picture.path} does not fit into memory; make it smaller")
            continue
        if job.boxes is not None and not len(job.boxes.boxes):
            yield _outcome(job, photo, SceneGraph("", *photo.image.size, model.task))
        else:
            opened.append((job, photo))
    yield from _run(model, opened, top)


def _run(model: Model, opened: Sequence[tuple[Job, Photo]], top: int) -> Iterator[Outcome]:
    """The model on opened pictures; if it refuses them, on each alone."""
    if not opened:
        return
    try:
        graphs = model.predict([(photo.image, job.boxes) for job, photo in opened], top)
    except (HMLError, RuntimeError, MemoryError) as error:
        if not isinstance(error, HMLError) and not _no_memory(error):
            raise
        if len(opened) > 1:
            for one in opened:
                yield from _run(model, [one], top)
            return
        why = str(error) if isinstance(error, HMLError) else "it does not fit into memory; make it smaller"
        yield Outcome(opened[0][0].number, failure=why)
        return
    for (job, photo), graph in zip(opened, graphs):
        yield _outcome(job, photo, graph)


def _outcome(job: Job, photo: Photo, graph: SceneGraph) -> Outcome:
    return Outcome(job.number, dataclasses.replace(graph, picture=job.picture.name), photo.image, photo.note)


def _no_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)


def in_order(found: Iterator[Outcome], numbers: Sequence[int], use: Callable[[Outcome], None]) -> Iterator[Outcome]:
    """Outcomes in the order of ``numbers``; ``use`` is called for each as soon as it is known. Photos are let go."""
    waiting: dict[int, Outcome] = {}
    for number in numbers:
        while number not in waiting:
            outcome = next(found)
            use(outcome)
            waiting[outcome.number] = dataclasses.replace(outcome, photo=None)
        yield waiting.pop(number)
