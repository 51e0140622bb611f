"""R@50 against mR@50 of the page's runs, with a curve for each run that was tested with logit adjustment."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..overview import TASK_NAMES
from .runs import PageRun
from .table import NUMBER, SHARE, Column, Table

#: Curves that the picture can tell apart.
MOST_CURVES = 4
_KEYS = ("R@50", "mR@50")


@dataclass(frozen=True)
class Tradeoff:
    """The picture of one task as a ``data:`` address, the numbers in it as a table, and a note ('' without)."""

    task: str
    image: str
    alternative: str
    table: Table
    note: str


def tradeoffs(runs: Sequence[PageRun]) -> list[Tradeoff]:
    """One for each task with at least two points."""
    by_task: dict[str, list[PageRun]] = {}
    for run in runs:
        if all(run.run.metrics.get(key) is not None for key in _KEYS):
            by_task.setdefault(run.run.task, []).append(run)
    return [_tradeoff(task, some) for task, some in by_task.items()
            if len(some) > 1 or any(_points(run) for run in some)]  # fmt: skip


def _points(run: PageRun) -> list[tuple[float, float, float]]:
    """(tau, R@50, mR@50) of the tests with logit adjustment."""
    return [(tau, found[_KEYS[0]], found[_KEYS[1]]) for tau, found in run.adjusted
            if all(found.get(key) is not None for key in _KEYS)]  # fmt: skip


def _tradeoff(task: str, runs: Sequence[PageRun]) -> Tradeoff:
    name = TASK_NAMES.get(task, task)
    curved = [run for run in runs if _points(run)]
    rows = [[run.name, tau, *values] for run in runs
            for tau, *values in [(None, *(run.run.metrics[key] for key in _KEYS)), *_points(run)]]  # fmt: skip
    columns = [Column("run"), Column("tau of logit adjustment", NUMBER), *(Column(key, SHARE, key) for key in _KEYS)]
    table = Table(f"tradeoff-{task}", f"R@50 and mR@50, {name}, in percent", columns, rows)
    note = ""
    if len(curved) > MOST_CURVES:
        note = (f"The picture shows the curves of the first {MOST_CURVES} of {len(curved)} runs with logit adjustment; "
                "the table has all.")  # fmt: skip
    said = (f"R@50 across and mR@50 up for {len(runs)} run{'s' if len(runs) > 1 else ''} of {name}"
            f"{', with a curve over tau' if curved else ''}; the table below has the numbers")  # fmt: skip
    return Tradeoff(name, _image(name, runs, curved[:MOST_CURVES]), said, table, note)


def _image(task: str, runs: Sequence[PageRun], curved: Sequence[PageRun]) -> str:
    from ..tradeoff_figure import Curve, Mark, draw_tradeoff

    def mark(run: PageRun, values: tuple[float, float]) -> Mark:
        return Mark(run.name, run.family, (values[0],), (values[1],))

    marks = [mark(run, (run.run.metrics[_KEYS[0]], run.run.metrics[_KEYS[1]])) for run in runs]
    curves = []
    for run in curved:
        start = next(one for one in marks if one.name == run.name)
        points = [point for point in _points(run) if point[0] != 0]
        curves.append(Curve(f"{run.name}, logit adjustment", (0.0, *(tau for tau, *_ in points)),
                            (start, *(mark(run, (x, y)) for _, x, y in points))))  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        (path,) = draw_tradeoff(marks, curves, Path(folder) / "tradeoff", title=f"R@50 and mR@50, {task}",
                                formats=("svg",))  # fmt: skip
        svg = path.read_bytes()
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
