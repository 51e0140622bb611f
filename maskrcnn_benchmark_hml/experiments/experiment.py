"""``hml experiment``: a named grid of runs, its tables and its pictures."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..config import profile_names
from ..datasets.layout import check_folder
from ..errors import HMLError
from ..machine import usable_cores
from ..method.aside import written_aside
from ..method.tree import PredicateTree
from ..report.overview import TASK_NAMES
from ..report.sweep_figure import draw_sweep
from ..report.tables import format_table
from ..report.tradeoff_figure import Curve, Mark, draw_tradeoff
from .budget import BUDGETS, budget_help, describe_budget
from .cell import CellFailed, CellResult, data_digest
from .demo import prepare_data, prepare_detector
from .grid import Grid
from .grid_file import grid_names, load_grid
from .grid_runs import GridRun, Options, check_trees, run_lengths, test_runs, training_runs
from .results import Row, by_label, grouped, merged_table, read_rows, recall_table, tasks_table, write_results
from .series import run_cells
from .tree_choice import HELP, HELP_VECTORS, TreeChoice

DESCRIPTION = """\
Trains and tests a named grid of runs and writes its tables and figures. Each run is an ordinary `hml run` in its own
folder below DIR/runs (DIR is --out); grids that contain the same run share it.
To continue an interrupted grid, give the same command again; finished runs are kept.

written into DIR/NAME-DATA-SPLIT/ (with --budget paper: DIR/NAME-DATA-SPLIT-paper_budget/):
  results.csv   one row per run (and tau): settings and recall as fractions; the same seeds give the same file
  results.md    the tables, in percent, mean and standard deviation over seeds
  times.csv     wall time of every run
  merged.csv    recall when fine predictions count as their group's coarse predicate (sec. 4.4)
  tradeoff*.png, .svg   R@50 against mR@50
  sweep*.png, .svg      recall over one setting, for grids with a `sweep`
"""
EPILOG = """\
examples:
  hml experiment list
  hml experiment table2 --data VRD --seeds 1 --quick
  hml experiment table1 --tasks predcls               only the part that needs no detector
  hml experiment policies --data VRD --split val      choose settings without the test images
  hml experiment my_grid.yaml                         a grid of your own; configs/experiments/ has examples
"""


def add_experiment_parser(subparsers: Any) -> None:
    """Add ``hml experiment`` to the command line."""
    parser = subparsers.add_parser(
        "experiment",
        help="train and test a named grid of runs",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", nargs="?", default="list", metavar="NAME", help="a grid's name or YAML file, or `list` (the default)")
    add("--data", type=Path, metavar="DIR", help="a dataset folder in the VG format (default: a mini-VG)")
    add("--out", type=Path, default=Path("outputs/experiments"), metavar="DIR",
        help="output folder (default: %(default)s)")
    add("--seeds", type=int, metavar="N", help="number of seeds, 0..N-1 (default: the grid's)")
    add("--iterations", type=int, metavar="N", help="iterations of a one-stage run (default: the grid's)")
    add("--budget", choices=tuple(BUDGETS), default="equal", help=budget_help("equal"))
    add("--tree", default="", metavar="WHICH", help=HELP)
    add("--vectors", type=Path, metavar="FILE", help=HELP_VECTORS)
    add("--predictors", type=_list, default=(), metavar="A,B", help="only these predictors of the grid")
    add("--tasks", type=_list, default=(), metavar="A,B", help="only these tasks of the grid")
    add("--split", choices=("val", "test"), default="test",
        help="images to evaluate on; val is a part of the training split (default: %(default)s)")
    add("--profile", choices=profile_names(), default="paper",
        help="HML's numeric profile where the grid names none (default: %(default)s)")
    add("--quick", action="store_true", help="the grid's shorter version, with one seed")
    add("--jobs", type=int, default=usable_cores(), metavar="N",
        help="number of parallel runs; each uses one thread, or OMP_NUM_THREADS (default here: %(default)s)")
    add("--resume", action="store_true", help="no effect: a repeated command always continues")
    parser.set_defaults(handler=run_experiment)


def _list(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def run_experiment(args: argparse.Namespace) -> int:
    """Handler of ``hml experiment``; 0 if all runs finished, 1 if one failed."""
    if args.name == "list":
        print(describe_grids())
        return 0
    for option in ("seeds", "iterations", "jobs"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise HMLError(f"--{option} is {value}; give a whole number of at least 1")
    tree = TreeChoice(args.tree, args.vectors)
    tree.check()
    grid = load_grid(args.name, quick=args.quick).narrowed(args.predictors, args.tasks)
    if args.data is not None:
        check_folder(args.data)
    from ..datasets.check import check_vg

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    data = args.data or prepare_data(args.out)
    check_vg(data)
    options = Options(
        data, args.out, args.profile, args.split, args.iterations or grid.iterations,
        tuple(range(args.seeds or grid.seeds)), args.budget, tree,
    )
    check_trees(grid, options)
    print(described_budget(grid, options), described_tree(options), sep="\n", file=sys.stderr)
    done, failures = run_grid(grid, options, args.jobs)
    name = "mini-vg" if args.data is None else args.data.resolve().name
    parts = [grid.name, name, args.split, *args.predictors, *args.tasks, *(["quick"] if args.quick else []),
             *(["paper_budget"] if args.budget == "paper" else [])]
    folder = args.out / "-".join(parts)
    if done:
        print(report(grid, options, done, failures, folder, shlex.join(["hml", *_words(args)])))
    for failure in failures:
        print(f"hml: error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _words(args: argparse.Namespace) -> list[str]:
    """The command that makes the same results, without what has no influence on them."""
    words = ["experiment", args.name]
    for option in ("data", "seeds", "iterations", "out"):
        value = getattr(args, option)
        if value is not None and not (option == "out" and value == Path("outputs/experiments")):
            words += [f"--{option}", str(value)]
    for option in ("predictors", "tasks"):
        words += [f"--{option}", ",".join(getattr(args, option))] if getattr(args, option) else []
    words += ["--split", args.split] if args.split != "test" else []
    words += ["--profile", args.profile] if args.profile != "paper" else []
    words += ["--budget", args.budget] if args.budget != "equal" else []
    words += ["--tree", args.tree] if args.tree else []
    words += ["--vectors", str(args.vectors)] if args.vectors else []
    return [*words, "--quick"] if args.quick else words


def describe_grids() -> str:
    """All shipped grids with their titles and numbers of runs."""
    grids = [load_grid(name) for name in grid_names()]
    rows = [[g.name, g.title, str(g.runs()), str(g.seeds), str(g.iterations)] for g in grids]
    return format_table(["experiment", "", "runs", "seeds", "iterations"], rows, left=2)


def run_grid(
    grid: Grid, options: Options, jobs: int
) -> tuple[list[tuple[GridRun, CellResult]], list[CellFailed]]:
    """Run what is not finished: the detector if one is needed, then all trainings, then the further tests.

    One run has one thread, whatever the number of jobs: sums in another order would give other digits.

    Returns:
        Finished runs in the grid's order, and failures; a failed run does not stop the others.
    """
    detector = None
    if any(task != "predcls" for cell in grid.cells for task in cell.tasks):
        try:
            detector = prepare_detector(options.data, options.out / "detectors" / data_digest(options.data))
        except CellFailed as failure:
            return [], [failure]
    trainings = training_runs(grid, options, detector)
    done, failures = _run(trainings, options.iterations, jobs)
    further, more_failures = _run(test_runs(grid, options, [run for run, _ in done]), 1, jobs)
    return [*done, *further], [*failures, *more_failures]


def _run(
    runs: Sequence[GridRun], iterations: int, jobs: int
) -> tuple[list[tuple[GridRun, CellResult]], list[CellFailed]]:
    # Two cells of a grid may be one run, such as HML under its own defaults and under the same numbers written out.
    cells = list({run.cell.output: run.cell for run in runs}.values())
    results = run_cells(cells, iterations, jobs, threads=1, keep_going=True) if cells else []
    found = {cell.output: result for cell, result in zip(cells, results)}
    failures = [result for result in results if isinstance(result, CellFailed)]
    done = [(run, found[run.cell.output]) for run in runs if not isinstance(found[run.cell.output], CellFailed)]
    return done, failures


def report(
    grid: Grid, options: Options, done: Sequence[tuple[GridRun, CellResult]], failures: Sequence[CellFailed],
    folder: Path, command: str,
) -> str:
    """Write all files of a grid; returns what the user reads at the end."""
    tree = _folding_tree(options)
    rows = [row for run, _ in done for row in read_rows(run, tree)]
    write_results(folder, rows, done)
    text = _page(grid, options, rows, done, failures, command)
    with written_aside(folder / "results.md", "results") as aside:
        aside.write_text(text, "utf-8")
    pictures = [path.name for path in _draw(grid, rows, folder)]
    return f"{text}\nWritten into {folder}: results.csv, results.md, times.csv, {', '.join(pictures)}"


def _folding_tree(options: Options) -> PredicateTree | None:
    """The tree whose groups fold fine predictions; None if it has no groups, being layered by frequency alone."""
    tree = options.trees.tree(2) if options.trees.kind != "file" else PredicateTree.load(options.tree.which)
    if any(len(group) > 1 for group in tree.groups):
        return tree
    print("hml: the predicate tree has no groups of similar predicates, so merged recall is left out", file=sys.stderr)
    return None


def described_budget(grid: Grid, options: Options) -> str:
    """Which budget it is and the iterations of every cell that trains."""
    return describe_budget(
        options.budget, {cell.name: run_lengths(cell, options) for cell in grid.cells if not cell.after}
    )


def described_tree(options: Options) -> str:
    """The tree of the HML runs of which neither the cell nor its profile has another."""
    return f"{options.trees.describe(2)[:-1]}; used where neither the grid nor the profile has another tree."


def _page(
    grid: Grid, options: Options, rows: Sequence[Row], done: Sequence[tuple[GridRun, CellResult]],
    failures: Sequence[CellFailed], command: str,
) -> str:
    order = [cell.name for cell in grid.cells]
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
            if (run.predictor, run.task) == (predictor, task) and not run.grid_cell.after:
                minutes.setdefault(run.grid_cell.name, []).append(result.seconds / 60)
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
    order = [cell.name for cell in grid.cells]
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


def _mark(name: str, seeds: Sequence[Row]) -> Mark:
    recall, mean_recall = (tuple(row.value(key) for row in seeds) for key in ("R@50", "mR@50"))
    return Mark(name, seeds[0].run.grid_cell.family, recall, mean_recall)


def _marks(lines: Mapping[str, Sequence[Row]]) -> list[Mark]:
    return [_mark(label, seeds) for label, seeds in lines.items() if seeds[0].tau is None]


def _curves(grid: Grid, lines: Mapping[str, Sequence[Row]]) -> list[Curve]:
    """Each cell with taus as a curve that begins at its parent, where tau is 0."""
    curves = []
    for cell in grid.cells:
        points = [(seeds[0].tau, _mark(label, seeds)) for label, seeds in lines.items()
                  if seeds[0].run.grid_cell.name == cell.name and seeds[0].tau is not None]
        if points:
            start = [(0.0, _mark(cell.after, lines[cell.after]))] if cell.after in lines and points[0][0] > 0 else []
            taus, marks = zip(*start, *points)
            curves.append(Curve(cell.name, taus, marks))
    return curves


def _over_x(rows: Sequence[Row], key: str) -> dict[float, list[float]]:
    values: dict[float, list[float]] = {}
    for row in rows:
        if row.run.grid_cell.x is not None and row.tau is None:
            values.setdefault(row.run.grid_cell.x, []).append(row.value(key))
    return values


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt
