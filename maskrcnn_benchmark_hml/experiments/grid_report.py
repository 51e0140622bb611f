"""The files of a grid: results.csv, results.md, times.csv, report.html and the figures."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import __version__
from ..files import write_text
from ..method.tree import PredicateTree
from ..report.overview import TASK_NAMES
from ..report.page.page import write_page
from ..report.runs import load_runs
from ..report.sweep_figure import draw_sweep
from ..report.tradeoff_figure import Curve, Mark, draw_tradeoff
from .budget import describe_budget
from .grid import Grid
from .grid_runs import GridRun, Options, run_lengths
from .results import Row, by_label, grouped, merged_table, read_rows, recall_table, tasks_table, write_results
from .run import RunFailed, RunResult


def report(
    grid: Grid, options: Options, done: Sequence[tuple[GridRun, RunResult]], failures: Sequence[RunFailed],
    folder: Path, command: str,
) -> str:
    """Write all files of a grid; returns what the user reads at the end."""
    tree = _folding_tree(options)
    rows = [row for run, _ in done for row in read_rows(run, tree)]
    write_results(folder, rows, done)
    text = _page(grid, options, rows, done, failures, command)
    write_text(folder / "results.md", text, "results")
    pictures = [path.name for path in _draw(grid, rows, folder)]
    trained = load_runs([str(run.output) for run, _ in done if not run.variant.after])
    if trained:
        write_page(folder / "report.html", trained, title=grid.title)
    pages = "results.md, report.html" if trained else "results.md"
    return f"{text}\nWritten into {folder}: results.csv, {pages}, times.csv, {', '.join(pictures)}"


def _folding_tree(options: Options) -> PredicateTree | None:
    """The tree whose groups fold fine predictions; None if it has no groups, being layered by frequency alone."""
    tree = options.trees.tree(2) if options.trees.kind != "file" else PredicateTree.load(options.tree.which)
    if any(len(group) > 1 for group in tree.groups):
        return tree
    print("hml: the predicate tree has no groups of similar predicates, so merged recall is left out", file=sys.stderr)
    return None


def described_budget(grid: Grid, options: Options) -> str:
    """Which budget it is and the iterations of every variant that trains."""
    return describe_budget(
        options.budget, {variant.name: run_lengths(variant, options) for variant in grid.variants if not variant.after}
    )


def described_tree(options: Options) -> str:
    """The tree of the HML runs of which neither the variant nor its profile has another."""
    return f"{options.trees.describe(2)[:-1]}; used where neither the grid nor the profile has another tree."


def _page(
    grid: Grid, options: Options, rows: Sequence[Row], done: Sequence[tuple[GridRun, RunResult]],
    failures: Sequence[RunFailed], command: str,
) -> str:
    order = [variant.name for variant in grid.variants]
    seeds = sorted({row.run.seed for row in rows})
    images = ", ".join(sorted({str(row.metrics["images"]) for row in rows}))
    part = "test" if options.split == "test" else "validation"
    parts = [
        f"# {grid.title}",
        f"`{command}`",
        f"{images} {part} images; seeds {', '.join(map(str, seeds))}; "
        f"profile {options.profile} where the grid names none; version {__version__}. Recall in percent"
        + (", mean +- standard deviation over seeds" if len(seeds) > 1 else "") + "; Mean@50 is the mean of R@50 and "
        "mR@50. Minutes are wall time of training and test, with other runs in parallel.",
        described_budget(grid, options),
        described_tree(options),
    ]
    for (predictor, task), some in _tables(rows).items():
        minutes: dict[str, list[float]] = {}
        for run, result in done:
            if (run.predictor, run.task) == (predictor, task) and not run.variant.after:
                minutes.setdefault(run.variant.name, []).append(result.seconds / 60)
        parts += [f"## {predictor}, {TASK_NAMES[task]}", recall_table(some, order, minutes)]
        if grid.merged:
            parts += [f"### Merged recall (sec. 4.4): {predictor}, {TASK_NAMES[task]}", merged_table(some, order)]
    if len({row.run.task for row in rows}) > 1:
        parts += ["## Mean@K over tasks", tasks_table(rows, order)]
    if failures:
        parts += ["## Runs that failed", "\n".join(f"- {failure}" for failure in failures)]
    return "\n\n".join(parts) + "\n"


def _tables(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    return grouped(rows, lambda row: (row.run.predictor, row.run.task))


def _draw(grid: Grid, rows: Sequence[Row], folder: Path) -> list[Path]:
    """One trade-off picture per predictor and task, and the sweep's if the grid is one."""
    order = [variant.name for variant in grid.variants]
    tables = _tables(rows)
    paths: list[Path] = []
    for (predictor, task), some in tables.items():
        ending = f"-{predictor}-{task}" if len(tables) > 1 else ""
        what = f"{grid.title}\n{predictor}, {TASK_NAMES[task]}"
        lines = by_label(some, order)
        paths += draw_tradeoff(_marks(lines), _curves(grid, lines), folder / f"tradeoff{ending}", title=what)
        if grid.sweep is not None:
            series = {key: _over_x(some, key) for key in ("R@50", "mR@50", "Mean@50")}
            paths += draw_sweep(series, folder / f"sweep{ending}", title=what, axis=grid.sweep.axis, log=grid.sweep.log)
    return paths


def _drawn(row: Row, key: str) -> float:
    """A value to draw; an undefined one is NaN, which matplotlib leaves out."""
    value = row.value(key)
    return math.nan if value is None else value


def _mark(name: str, seeds: Sequence[Row]) -> Mark:
    recall, mean_recall = (tuple(_drawn(row, key) for row in seeds) for key in ("R@50", "mR@50"))
    return Mark(name, seeds[0].run.variant.family, recall, mean_recall)


def _marks(lines: Mapping[str, Sequence[Row]]) -> list[Mark]:
    return [_mark(label, seeds) for label, seeds in lines.items() if seeds[0].tau is None]


def _curves(grid: Grid, lines: Mapping[str, Sequence[Row]]) -> list[Curve]:
    """Each variant with taus as a curve that begins at its parent, where tau is 0."""
    curves = []
    for variant in grid.variants:
        points = [(seeds[0].tau, _mark(label, seeds)) for label, seeds in lines.items()
                  if seeds[0].run.variant.name == variant.name and seeds[0].tau is not None]
        if points:
            parent = lines.get(variant.after) if points[0][0] > 0 else None
            start = [(0.0, _mark(variant.after, parent))] if parent else []
            taus, marks = zip(*start, *points)
            curves.append(Curve(variant.name, taus, marks))
    return curves


def _over_x(rows: Sequence[Row], key: str) -> dict[float, list[float]]:
    values: dict[float, list[float]] = {}
    for row in rows:
        if row.run.variant.x is not None and row.tau is None:
            values.setdefault(row.run.variant.x, []).append(_drawn(row, key))
    return values
