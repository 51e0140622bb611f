"""``hml demo``: a one-stage baseline, a class-balanced control and HML, trained and tested side by side."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..config import profile_names
from ..datasets.layout import check_folder
from ..errors import HMLError
from ..machine import usable_cores
from ..resources import config_file
from .budget import BUDGETS, budget_help, describe_budget, equal_lengths, stage_lengths, stage_shares
from .cell import Cell, CellFailed, write_json
from .cells_catalog import (
    DETECTOR_CONFIG,
    DETECTOR_ITERATIONS,
    DETECTOR_SCRIPT,
    NO_VALIDATION,
    PREDICTORS,
    SMALL_HEAD,
    TASKS,
    class_counts,
    run_overrides,
)
from .demo_report import LABELS, describe, read_layers, summarise
from .grid import override_text
from .series import run_cells
from .tree_choice import HELP, HELP_VECTORS, DataTrees, TreeChoice

ITERATIONS = 280
MOST_LAYERS = 4
RUNS = ("baseline", "class_balanced", "hml")
TITLES = {"motifs": "MOTIFS", "vctree": "VCTree", "transformer": "Transformer"}
DESCRIPTION = """\
Trains and tests three models and prints one table:
  baseline        one stage, plain cross entropy
  class-balanced  one stage, HML's class-balanced loss alone: the control
  HML             two stages, coarse predicates before fine ones, with CR and MR
PredCls, the default, needs no detector. For SGCls and SGDet a small detector is trained first, once for each --out.
Without --data it makes mini-VG, synthetic scenes with Visual Genome's vocabulary and long tail (docs/mini-vg.md).
To continue an interrupted demo, give the same command again; finished runs are kept.
"""

EPILOG = """\
PredCls with one seed takes about 3 minutes on two free cores. SGCls and SGDet take longer.
"""


def add_demo_parser(subparsers: Any) -> None:
    """Add ``hml demo`` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="train, test and compare a baseline, a control and HML",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="a dataset folder in the VG format (default: a mini-VG)")
    add(
        "--out", type=Path, default=Path("outputs/demo"), metavar="DIR", help="output folder (default: %(default)s)"
    )
    add("--predictor", choices=tuple(PREDICTORS), help="the relation model (default: motifs)")
    add("--task", choices=tuple(TASKS), help="what is given: boxes and labels, boxes, or nothing (default: predcls)")
    add("--layers", type=int, metavar="K", help="number of layers and stages (default: the tree file's, else 2)")
    add("--tree", default="", metavar="WHICH", help=HELP)
    add("--vectors", type=Path, metavar="FILE", help=HELP_VECTORS)
    add(
        "--detector",
        type=Path,
        metavar="FILE",
        help="weights made by tools/detector_pretrain_net.py with configs/demo/detector.yaml (default: trained here)",
    )
    add("--seeds", type=int, default=1, metavar="N", help="number of seeds, 0..N-1 (default: 1)")
    add("--profile", choices=profile_names(), default="paper", help="HML's numeric profile (default: %(default)s)")
    add("--budget", choices=tuple(BUDGETS), default="paper", help=budget_help("paper"))
    add(
        "--iterations",
        type=int,
        default=ITERATIONS,
        metavar="N",
        help="iterations of a one-stage run; --budget gives those of HML's stages (default: %(default)s)",
    )
    jobs = min(usable_cores(), len(RUNS))
    add("--jobs", type=int, default=jobs, metavar="N", help="number of parallel runs (default here: %(default)s)")
    add("--config", type=Path, metavar="FILE", help="the benchmark's YAML config (default: the demo's own)")
    parser.set_defaults(handler=run_demo)


@dataclass(frozen=True)
class Demo:
    """What the command line decides for all runs of a demo.

    Attributes:
        config: the benchmark's YAML config. common: overrides of all runs.
        data: dataset folder. out: holds a folder for each run.
        iterations: of a one-stage run; ``budget`` says what HML's stages get.
        layers: of the predicate tree, HML's stages. tree: which one.
        validated: runs validate three times, for a schedule that depends on it.
    """

    config: Path
    common: tuple[str, ...]
    data: Path
    out: Path
    seeds: tuple[int, ...] = (0,)
    profile: str = "paper"
    iterations: int = ITERATIONS
    budget: str = "paper"
    layers: int = 2
    tree: TreeChoice = TreeChoice()
    validated: bool = True

    @cached_property
    def trees(self) -> DataTrees:
        return DataTrees(self.tree, self.data, self.out / "trees")

    def lengths(self) -> dict[str, tuple[int, ...]]:
        """Iterations of the stages of each run."""
        staged = stage_lengths(self.budget, self.iterations, stage_shares(self.layers, self.profile))
        return {"baseline": (self.iterations,), "class_balanced": (self.iterations,), "hml": staged}

    def cells(self) -> list[Cell]:
        """The runs, seed by seed, in the order of RUNS."""
        enabled = ("HML.ENABLED", "True", "HML.PROFILE", self.profile)
        lengths = self.lengths()
        # A control trains for the sum of the stages, in one stage: the number of layers is no matter to it.
        control = equal_lengths(self.iterations, stage_shares(2, self.profile))
        tree = [word for pair in self.trees.overrides(self.layers, self.profile).items() for word in pair]
        overrides = {
            "baseline": ("HML.ENABLED", "False"),
            "class_balanced": (*enabled, *_stages(control), "HML.CONTROL", "class_balanced"),
            "hml": (*enabled, *_stages(lengths["hml"]), *tree),
        }
        return [self._cell(run, seed, overrides[run], sum(lengths[run])) for seed in self.seeds for run in RUNS]

    def _cell(self, run: str, seed: int, overrides: tuple[str, ...], total: int) -> Cell:
        parts = [run] if run == "baseline" else [run, self.profile]
        if run == "hml":
            parts += [f"layers{self.layers}"] if self.layers != 2 else []
            parts += [f"{self.budget}-budget"] if self.budget != "paper" else []
        name = LABELS[run] + (f" seed {seed}" if len(self.seeds) > 1 else "")
        words = (*self.common, *overrides, "SOLVER.MAX_ITER", str(total), *self._schedule(total))
        return Cell(name, self.config, words, seed, self.data, self.out / "-".join([*parts, f"seed{seed}"]))

    def _schedule(self, total: int) -> tuple[str, ...]:
        if self.validated:
            return ("SOLVER.VAL_PERIOD", str(max(total // 3, 1)))
        return (*NO_VALIDATION, "SOLVER.STEPS", override_text((total * 7 // 10, total * 9 // 10)))


def _stages(lengths: Sequence[int]) -> tuple[str, str]:
    return "HML.STAGES.ITERATIONS", override_text(lengths)


def prepare_data(out: Path) -> Path:
    """The demo's own mini-VG in ``out/data``, made if it is not there."""
    from ..datasets.mini_vg import make_mini_vg

    folder = out / "data"
    return folder if folder.is_dir() else make_mini_vg(folder, seed=0)


def prepare_detector(data: Path, out: Path) -> Path:
    """Weights of the demo's own detector of this dataset, trained in ``out/detector`` if it is not there.

    Raises:
        HMLError: the folder holds another detector.
        CellFailed: the training failed.
    """
    cell = Cell(
        "detector", config_file(DETECTOR_CONFIG), class_counts(data), 0, data, out / "detector", DETECTOR_SCRIPT
    )
    run_cells([cell], DETECTOR_ITERATIONS, jobs=1)
    return cell.output / "model_final.pth"


def check_arguments(args: argparse.Namespace) -> None:
    """All that can be wrong with the command line alone.

    Raises:
        HMLError: the first thing that is.
    """
    if args.seeds < 1:
        raise HMLError(f"--seeds is {args.seeds}; give a whole number of at least 1")
    if args.layers is not None and not 1 <= args.layers <= MOST_LAYERS:
        raise HMLError(f"--layers is {args.layers}; give a whole number from 1 to {MOST_LAYERS}")
    fewest = max(args.layers or 2, 2)
    if args.iterations < fewest:
        raise HMLError(f"--iterations is {args.iterations}; give at least {fewest}, one for each stage")
    TreeChoice(args.tree, args.vectors).check()
    if args.config is not None:
        for name in ("predictor", "task", "detector"):
            if getattr(args, name) is not None:
                raise HMLError(f"--config says all about the model; leave out --{name} or --config")
        if not args.config.is_file():
            raise HMLError(f"there is no config file {args.config}; give an existing file to --config")
    if args.detector is not None and not args.detector.is_file():
        raise HMLError(f"there is no detector {args.detector}; give the model_final.pth of a trained one to --detector")
    if args.data is not None:
        check_folder(args.data)


def run_demo(args: argparse.Namespace) -> int:
    """Handler of ``hml demo``; 0 if all runs finished, 1 if one failed."""
    check_arguments(args)
    from ..datasets.check import check_vg

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    start = time.monotonic()
    data = args.data or prepare_data(args.out)
    check_vg(data)
    try:
        demo, model = _demo(args, data)
        lengths = {LABELS[run]: n for run, n in demo.lengths().items()}
        facts = [describe_budget(demo.budget, lengths), demo.trees.describe(demo.layers, demo.profile)]
        cells = demo.cells()
        for line in facts:
            print(line, file=sys.stderr)
        # The longest run first, so that no core waits for it at the end.
        by_length = sorted(cells, key=lambda cell: -cell.iterations)
        found = {result.cell.output: result for result in run_cells(by_length, args.iterations, args.jobs)}
    except CellFailed as failure:
        print(f"hml: error: {failure}", file=sys.stderr)
        return 1
    results = [found[cell.output] for cell in cells]
    runs = {run: results[i :: len(RUNS)] for i, run in enumerate(RUNS)}
    layers = read_layers(runs["hml"][0].cell.output)
    summary = summarise(
        {run: [r.metrics for r in found] for run, found in runs.items()},
        layers,
        seeds=list(demo.seeds),
        seconds=round(time.monotonic() - start + sum(r.seconds for r in results if r.skipped), 1),
        model=model,
        task=results[0].metrics["mode"],
        profile=args.profile,
        data="mini-vg" if args.data is None else str(args.data),
        budget=args.budget,
        iterations={run: sum(n) for run, n in demo.lengths().items()},
    )
    write_json(demo.out / "summary.json", summary)
    print(describe(runs, layers, summary, facts))
    print(f"\nWritten: {demo.out / 'summary.json'} (fractions, not percent). The runs' folders are beside it.")
    return 0


def _demo(args: argparse.Namespace, data: Path) -> tuple[Demo, str]:
    """The demo that the command line asks for, and the model's name; trains the detector if one is needed."""
    tree = TreeChoice(args.tree, args.vectors)
    common = {
        "data": data, "seeds": tuple(range(args.seeds)), "profile": args.profile, "iterations": args.iterations,
        "budget": args.budget, "layers": args.layers or tree.layers or 2, "tree": tree,
    }  # fmt: skip
    if args.config is not None:
        return Demo(args.config, class_counts(data), out=args.out, **common), args.config.name
    predictor, task = args.predictor or "motifs", args.task or "predcls"
    # Other models than the default one have a folder of their own beside it.
    out = args.out if (predictor, task) == ("motifs", "predcls") else args.out / f"{predictor}-{task}"
    detector = args.detector
    if detector is None and task != "predcls":
        DataTrees(tree, data, out).describe(common["layers"], args.profile)  # what is wrong with the tree shows first
        detector = prepare_detector(data, args.out)
    config, words = run_overrides(predictor, task, data, detector=detector)
    words = words if detector is not None else (*words, *SMALL_HEAD)
    return Demo(config, words, out=out, validated=False, **common), TITLES[predictor]


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt
