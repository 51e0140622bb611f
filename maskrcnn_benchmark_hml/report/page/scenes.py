"""Drawings of scene graphs for the page: the pictures in which the runs differ most, for each task."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import HMLError
from ...metrics.choices import TASKS
from ...run_folder import PREDICTIONS
from ...scene_graph import SceneGraph
from ..overview import TASK_NAMES
from ..scene.choose import check_same_test, evenly_spaced, most_changed
from ..scene.compare import found_in, strongest
from ..scene.results import Results, load_results
from ..scene.runs import DrawnPicture, draw_runs
from .runs import PageRun
from .table import NUMBER, Column, Table
from .words import listed

#: Runs that are drawn side by side, and relations of each of them.
MOST_RUNS, TOP = 3, 10
_DIFFERENT = (
    "Of the pictures with stored predictions, those with the most relations whose pair has another predicate in "
    "another run. They show where the runs differ, not how often."
)
_SPACED = "Pictures at equal distances in the order of the test."


@dataclass(frozen=True)
class Scene:
    """A picture with the scene graphs of several runs as a ``data:`` address, and what it shows as a table."""

    title: str
    image: str
    width: int
    alternative: str
    table: Table


@dataclass(frozen=True)
class Scenes:
    """The drawings, how the pictures were chosen, and sentences on what is missing."""

    drawn: Sequence[Scene] = field(default=())
    chosen: str = ""
    notes: Sequence[str] = field(default=())


def scenes(runs: Sequence[PageRun], pictures: int) -> Scenes:
    """At most so many pictures for each task, of the first runs whose tests stored predictions."""
    relations = [run for run in runs if run.run.task in TASKS]
    stored = [run for run in relations if (run.run.folder / PREDICTIONS).is_file()]
    without = [run.name for run in relations if run not in stored]
    notes = []
    if without:
        notes.append(
            f"Not drawn: {listed(without)}. The test stored no predictions (TEST.SAVE_PREDICTIONS False); test "
            "again with TEST.SAVE_PREDICTIONS True to see scene graphs."
        )
    tasks = [task for task in TASKS if any(run.run.task == task for run in stored)] if pictures else []
    drawn: list[Scene] = []
    for task in tasks:
        made, said = _of_task([run for run in stored if run.run.task == task], pictures)
        label = f"{TASK_NAMES[task]}, " if len(tasks) > 1 else ""
        drawn += [_scene(f"scene-{number}", label, *one) for number, one in enumerate(made, len(drawn) + 1)]
        notes += [f"{label}{sentence}" for sentence in said]
    several = any(len({row[0] for row in scene.table.rows}) > 1 for scene in drawn)
    chosen = (_DIFFERENT if several else _SPACED) if drawn else ""
    return Scenes(drawn, chosen, [note[0].upper() + note[1:] for note in notes])


def _of_task(
    runs: Sequence[PageRun], pictures: int
) -> tuple[list[tuple[DrawnPicture, Sequence[Results], Sequence[str]]], list[str]]:
    """The drawn pictures with the results and the names of the runs in them, and sentences on what is missing."""
    results, names, notes = _comparable(runs)
    if len(runs) > MOST_RUNS:
        notes.append(f"the first {MOST_RUNS} of {len(runs)} runs in the order of the command are drawn.")
    if len(results) < 2:
        ids = evenly_spaced(results[0], pictures) if results else []
    else:
        ids = most_changed(results, pictures, TOP)
        if not ids:
            notes.append("the runs have the same predicates in all pictures with stored predictions.")
    return [(picture, results, names) for picture in draw_runs(results, ids, top=TOP)] if ids else [], notes


def _comparable(runs: Sequence[PageRun]) -> tuple[list[Results], list[str], list[str]]:
    """The results of the first runs, their names, and sentences on those that cannot be read or compared."""
    results: list[Results] = []
    names, notes = [], []
    for run in runs[:MOST_RUNS]:
        try:
            found = load_results(run.run.path)
            check_same_test([*results[:1], found])
        except HMLError as error:
            notes.append(f"Not drawn: {run.name}. {error}.")
            continue
        results.append(found)
        names.append(run.name)
    return results, names, notes


def _scene(name: str, label: str, picture: DrawnPicture, results: Sequence[Results], names: Sequence[str]) -> Scene:
    drawing = picture.drawing
    image = "data:image/svg+xml;base64," + base64.b64encode(drawing.svg().encode()).decode()
    title = f"{label}picture {picture.id}"
    said = f"{drawing.title}; the {TOP} strongest relations of each run, which the table below has as text"
    columns = [Column("run"), Column("rank", NUMBER), Column("subject"), Column("predicate"), Column("object"),
               Column("score", NUMBER), Column("annotated")]  # fmt: skip
    rows = [row for result, run, graph in zip(results, names, picture.graphs)
            for row in _rows(result, run, strongest(graph, TOP))]  # fmt: skip
    return Scene(title, image, round(drawing.width), said, Table(name, f"Relations of {title}", columns, rows))


def _rows(result: Results, run: str, graph: SceneGraph) -> Iterator[list[Any]]:
    annotated = result.annotated(result.ids.index(graph.image_id))
    found = found_in(graph, annotated) if annotated is not None else [None] * len(graph.relations)
    named = [object_.name for object_ in graph.objects]
    for rank, (relation, there) in enumerate(zip(graph.relations, found), 1):
        said = None if there is None else "yes" if there else "no"
        yield [run, rank, named[relation.subject], relation.predicate, named[relation.object], relation.score, said]
