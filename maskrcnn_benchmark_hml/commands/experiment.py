"""``hml experiment``: a named grid of runs, its tables and its figures."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from ..config_keys import profile_names
from ..datasets.layout import check_folder
from ..errors import HMLError
from ..experiments.budget import BUDGETS, budget_help
from ..experiments.cost import grid_cost
from ..experiments.demo import prepare_data
from ..experiments.grid import Grid
from ..experiments.grid_file import grid_names, load_grid
from ..experiments.grid_report import described_budget, described_tree, report
from ..experiments.grid_runner import run_grid
from ..experiments.grid_runs import SPLITS, Options, check_trees
from ..experiments.process import interrupt_on_signals
from ..experiments.tree_choice import HELP, HELP_VECTORS, TreeChoice
from ..files import check_place
from ..machine import usable_cores
from ..report.tables import format_table
from .help import texts

DESCRIPTION = """\
Trains and tests a named grid of runs and writes its tables and figures. Each run is an ordinary `hml run` in its own
folder below DIR/runs (DIR is --out); grids that contain the same run share it.
Before it starts, it prints the number of runs, the iterations left and, once a run has finished, the estimated time.
To continue an interrupted grid, give the same command again; finished runs are kept.

written into DIR/NAME-DATA-SPLIT/ (with --budget paper: DIR/NAME-DATA-SPLIT-paper_budget/):
  results.csv   one row per run (and tau): settings and recall as fractions; the same seeds give the same file
  results.md    the tables, in percent, mean and standard deviation over seeds
  report.html   a page for the browser with every training run: hml report RUN... --html
  times.csv     wall time of every run
  merged.csv    recall when fine predictions count as their group's coarse predicate (sec. 4.4)
  tradeoff*.png, .svg   R@50 against mR@50
  sweep*.png, .svg      recall over one setting, for grids with a `sweep`
"""
EXAMPLES = """\
hml experiment list
hml experiment table2 --data VRD --seeds 1 --quick
hml experiment table1 --tasks predcls               only the part that needs no detector
hml experiment policies --data VRD --split val      choose settings without the test images
hml experiment my_grid.yaml                         a grid of your own; configs/experiments/ has examples
"""


def add_experiment_parser(subparsers: Any) -> None:
    """Add ``hml experiment`` to the command line."""
    parser = subparsers.add_parser("experiment", **texts("experiment", DESCRIPTION, EXAMPLES))
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
    add("--split", choices=tuple(SPLITS), default="test",
        help="images to evaluate on; val is a part of the training split (default: %(default)s)")
    add("--profile", choices=profile_names(), default="paper",
        help="HML's numeric profile where the grid names none (default: %(default)s)")
    add("--quick", action="store_true", help="the grid's shorter version, with one seed")
    add("--jobs", type=int, default=usable_cores(), metavar="N",
        help="number of parallel runs; each uses one thread, or OMP_NUM_THREADS (default here: %(default)s)")
    add("--resume", action="store_true", help=argparse.SUPPRESS)  # of earlier versions; a repeated command continues
    parser.set_defaults(handler=run_experiment)


def _list(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def run_experiment(args: argparse.Namespace) -> int:
    """Handler of ``hml experiment``; 0 if all runs finished, 1 if one failed."""
    if args.name == "list":
        print(describe_grids())
        return 0
    grid, options = _planned(args)
    print(described_budget(grid, options), described_tree(options), grid_cost(grid, options).describe(args.jobs),
          sep="\n", file=sys.stderr)
    done, failures = run_grid(grid, options, args.jobs)
    if done:
        print(report(grid, options, done, failures, _results_folder(args, grid), shlex.join(["hml", *_words(args)])))
    for failure in failures:
        print(f"hml: error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _planned(args: argparse.Namespace) -> tuple[Grid, Options]:
    """What the command line asks for, checked; makes the mini-VG if no dataset is given.

    Raises:
        HMLError: the first thing that is wrong.
    """
    for option in ("seeds", "iterations", "jobs"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise HMLError(f"--{option} is {value}; give a whole number of at least 1")
    check_place(args.out, "--out")
    tree = TreeChoice(args.tree, args.vectors)
    tree.check()
    grid = load_grid(args.name, quick=args.quick).narrowed(args.predictors, args.tasks)
    if args.data is not None:
        check_folder(args.data)
    from ..datasets.check import check_vg

    interrupt_on_signals()
    data = args.data or prepare_data(args.out)
    for line in check_vg(data).warnings:
        print(f"hml: warning: {data}: {line}", file=sys.stderr)
    options = Options(
        data, args.out, args.profile, args.split, args.iterations or grid.iterations,
        tuple(range(args.seeds or grid.seeds)), args.budget, tree,
    )
    check_trees(grid, options)
    return grid, options


def _results_folder(args: argparse.Namespace, grid: Grid) -> Path:
    name = "mini-vg" if args.data is None else args.data.resolve().name
    parts = [grid.name, name, args.split, *args.predictors, *args.tasks, *(["quick"] if args.quick else []),
             *(["paper_budget"] if args.budget == "paper" else [])]
    return args.out / "-".join(parts)


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
    """All shipped grids with their titles, numbers of runs and iterations."""
    grids = [load_grid(name) for name in grid_names()]
    rows = [[g.name, g.title, str(g.runs()), str(g.seeds), str(g.iterations), f"{g.runs() * g.iterations:,}"]
            for g in grids]
    return format_table(["experiment", "", "runs", "seeds", "iterations", "in total"], rows, left=2)
