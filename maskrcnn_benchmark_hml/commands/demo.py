"""``hml demo``: trains and tests a baseline, a class-balanced model and HML, and prints one table."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config_keys import profile_names
from ..datasets.layout import check_folder
from ..errors import HMLError
from ..experiments.budget import BUDGETS, budget_help, describe_budget
from ..experiments.demo import ITERATIONS, MOST_LAYERS, RUNS, Demo, prepare_data, prepare_detector
from ..experiments.demo_report import LABELS, describe, read_layers, summarise
from ..experiments.pool import run_all
from ..experiments.presets import PREDICTORS, SMALL_HEAD, TASKS, TITLES, class_counts, run_overrides
from ..experiments.process import interrupt_on_signals
from ..experiments.run import RunFailed, RunResult
from ..experiments.tree_choice import HELP, HELP_VECTORS, DataTrees, TreeChoice
from ..files import check_place, write_json
from ..machine import usable_cores
from ..yaml_file import read_settings
from .help import texts

DESCRIPTION = """\
Trains and tests three models and prints one table:
  baseline        one stage, plain cross entropy
  class-balanced  one stage, HML's class-balanced loss alone: the ablation baseline
  HML             two stages, coarse predicates before fine ones, with CR and MR
PredCls, the default, needs no detector. For SGCls and SGDet a small detector is trained first, once for each --out.
Without --data it makes mini-VG, synthetic scenes with Visual Genome's vocabulary and long tail (docs/mini-vg.md).
PredCls with one seed takes about 3 minutes on two free cores. SGCls and SGDet take longer.
The page report.html in the output folder shows the results, the curves and three pictures with their scene graphs.
To continue an interrupted demo, give the same command again; finished runs are kept.
"""

EXAMPLES = """\
hml demo --seeds 3 --out outputs/demo3
"""


def add_demo_parser(subparsers: Any) -> None:
    """Add ``hml demo`` to the command line."""
    parser = subparsers.add_parser("demo", **texts("demo", DESCRIPTION, EXAMPLES))
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="a dataset folder in the VG format (default: a mini-VG)")
    add("--out", type=Path, default=Path("outputs/demo"), metavar="DIR", help="output folder (default: %(default)s)")
    add("--predictor", choices=tuple(PREDICTORS), help="the relation model (default: motifs)")
    add("--task", choices=tuple(TASKS), help="what is given: boxes and labels, boxes, or nothing (default: predcls)")
    add("--layers", type=int, metavar="K",
        help="number of layers and stages, 1 to 4 (default: the tree file's, else 2)")
    add("--tree", default="", metavar="WHICH", help=HELP)
    add("--vectors", type=Path, metavar="FILE", help=HELP_VECTORS)
    add("--detector", type=Path, metavar="FILE",
        help="weights made by tools/detector_pretrain_net.py with configs/demo/detector.yaml (default: trained here)")
    add("--seeds", type=int, default=1, metavar="N", help="number of seeds, 0..N-1 (default: 1)")
    add("--profile", choices=profile_names(), default="paper", help="HML's numeric profile (default: %(default)s)")
    add("--budget", choices=tuple(BUDGETS), default="paper", help=budget_help("paper"))
    add("--iterations", type=int, default=ITERATIONS, metavar="N",
        help="iterations of a one-stage run; --budget gives those of HML's stages (default: %(default)s)")
    jobs = min(usable_cores(), len(RUNS))
    add("--jobs", type=int, default=jobs, metavar="N", help="number of parallel runs (default here: %(default)s)")
    add("--config", type=Path, metavar="FILE", help="the benchmark's YAML config (default: the demo's own)")
    parser.set_defaults(handler=run_demo)


def check_arguments(args: argparse.Namespace) -> None:
    """All that can be wrong with the command line alone.

    Raises:
        HMLError: the first thing that is.
    """
    for option in ("seeds", "jobs"):
        if getattr(args, option) < 1:
            raise HMLError(f"--{option} is {getattr(args, option)}; give a whole number of at least 1")
    check_place(args.out, "--out")
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
        read_settings(args.config)
    if args.detector is not None and not args.detector.is_file():
        raise HMLError(f"there is no detector {args.detector}; give the model_final.pth of a trained one to --detector")
    if args.data is not None:
        check_folder(args.data)
    if args.detector is not None:
        from ..compat.checkpoint_file import weight_names

        weight_names(args.detector)  # reads the names alone, and says what is wrong with the file


def run_demo(args: argparse.Namespace) -> int:
    """Handler of ``hml demo``; 0 if all runs finished, 1 if one failed."""
    check_arguments(args)
    from ..datasets.check import check_vg

    interrupt_on_signals()
    start = time.monotonic()
    data = args.data or prepare_data(args.out)
    for line in check_vg(data).warnings:
        print(f"hml: warning: {data}: {line}", file=sys.stderr)
    try:
        demo, model = _demo(args, data)
        lengths = {LABELS[run]: n for run, n in demo.lengths().items()}
        facts = [describe_budget(demo.budget, lengths), demo.trees.describe(demo.layers, demo.profile)]
        planned = demo.runs()
        print(*facts, sep="\n", file=sys.stderr)
        # The longest run first, so that no core waits for it at the end.
        by_length = sorted(planned, key=lambda run: -(run.iterations or 0))
        found = {result.run.output: result for result in run_all(by_length, args.iterations, args.jobs)}
    except RunFailed as failure:
        print(f"hml: error: {failure}", file=sys.stderr)
        return 1
    results = [found[run.output] for run in planned]
    seconds = time.monotonic() - start + sum(result.seconds for result in results if result.skipped)
    _conclude(args, demo, model, results, seconds, facts)
    return 0


def _conclude(
    args: argparse.Namespace, demo: Demo, model: str, results: Sequence[RunResult], seconds: float, facts: Sequence[str]
) -> None:
    """Write summary.json and the report page, and print the tables."""
    from ..report.page.page import write_page
    from ..report.runs import load_runs

    runs = {run: results[i :: len(RUNS)] for i, run in enumerate(RUNS)}
    layers = read_layers(runs["hml"][0].run.output)
    summary = summarise(
        {run: [r.metrics for r in found] for run, found in runs.items()},
        layers,
        seeds=list(demo.seeds),
        seconds=round(seconds, 1),
        model=model,
        task=results[0].metrics["mode"],
        profile=args.profile,
        data="mini-vg" if args.data is None else str(args.data),
        budget=args.budget,
        iterations={run: sum(n) for run, n in demo.lengths().items()},
    )
    write_json(demo.out / "summary.json", summary, indent=1)
    print(describe(runs, layers, summary, facts))
    page = demo.out / "report.html"
    write_page(page, load_runs([str(result.run.output) for result in results]), title=f"hml demo: {model}")
    print(f"\nWritten: {demo.out / 'summary.json'} (fractions, not percent). The runs' folders are beside it.")
    print(f"Open in a browser: {page} (these tables, curves, and three pictures with their scene graphs).")


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
