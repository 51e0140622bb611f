"""``hml demo``: a one-stage baseline, a class-balanced control and HML, trained and tested side by side."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import HMLError
from ..machine import usable_cores
from ..report.tables import RECALL_KEYS, changes_table, layer_recall, layers_table, mean_or_none, runs_table
from ..resources import config_file
from .cell import Cell, CellFailed, CellResult, write_json
from .cells_catalog import (
    DETECTOR_CONFIG,
    DETECTOR_ITERATIONS,
    DETECTOR_SCRIPT,
    PREDICTORS,
    TASKS,
    class_counts,
    run_overrides,
    stage_overrides,
)
from .progress import clock
from .series import run_cells

ITERATIONS = 900
MOST_LAYERS = 4
RUNS = ("baseline", "class_balanced", "hml")
LABELS = {"baseline": "baseline", "class_balanced": "class-balanced", "hml": "HML"}

TITLES = {"motifs": "MOTIFS", "vctree": "VCTree", "transformer": "Transformer"}
GIVEN = {
    "predcls": "PredCls (boxes and object labels given)",
    "sgcls": "SGCls (boxes given)",
    "sgdet": "SGDet (nothing given)",
}

DESCRIPTION = """\
Trains and tests three models with the same total number of iterations and prints one table:
  baseline        one stage, plain cross entropy
  class-balanced  one stage, HML's class-balanced loss alone: the control
  HML             two stages, coarse predicates before fine ones, with CR and MR
PredCls, the default, needs no detector. For SGCls and SGDet a small one is trained first, once for the folder --out.
Without --data it makes a mini-VG: small drawn scenes with Visual Genome's vocabulary and long tail
(see docs/mini-vg.md).
Finished runs are kept and interrupted ones continued when the same command is given again.
"""

EPILOG = """\
One seed on two quiet cores takes 3 to 6 minutes for PredCls, about 8 for SGCls and 15 for SGDet; the detector takes 8
more, once.
"""


def add_demo_parser(subparsers: Any) -> None:
    """Add ``hml demo`` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="train and test a baseline, a control and HML, side by side",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="a dataset folder in the VG format (default: a mini-VG)")
    add(
        "--out", type=Path, default=Path("outputs/demo"), metavar="DIR", help="where all goes (default: %(default)s)"
    )
    add("--predictor", choices=tuple(PREDICTORS), help="the relation model (default: motifs)")
    add("--task", choices=tuple(TASKS), help="what is given: boxes and labels, boxes, or nothing (default: predcls)")
    add("--layers", type=int, default=2, metavar="K", help="layers of the tree, stages of HML (default: %(default)s)")
    add(
        "--detector",
        type=Path,
        metavar="FILE",
        help="weights made by tools/detector_pretrain_net.py with configs/demo/detector.yaml (default: trained here)",
    )
    add("--seeds", type=int, default=1, metavar="N", help="runs of each kind, seeds 0..N-1 (default: 1)")
    add(
        "--profile", choices=("paper", "released"), default="paper", help="HML's numeric profile (default: %(default)s)"
    )
    add(
        "--iterations",
        type=int,
        default=ITERATIONS,
        metavar="N",
        help="iterations of each run; HML's stages share them, the last one takes two shares (default: %(default)s)",
    )
    jobs = min(usable_cores(), len(RUNS))
    add("--jobs", type=int, default=jobs, metavar="N", help="runs at a time (default here: %(default)s)")
    add("--config", type=Path, metavar="FILE", help="the benchmark's YAML config (default: the demo's own)")
    parser.set_defaults(handler=run_demo)


def demo_cells(
    config: Path,
    common: tuple[str, ...],
    data: Path,
    out: Path,
    *,
    seeds: Sequence[int],
    profile: str = "paper",
    total: int = ITERATIONS,
    layers: int = 2,
) -> list[Cell]:
    """The cells of a demo, seed by seed: three runs with ``total`` iterations each, all with ``common`` overrides."""
    enabled = ("HML.ENABLED", "True", "HML.PROFILE", profile)
    # The control learns from all predicates at once, so the number of layers is no matter to it.
    control = (*enabled, *stage_overrides(total, 2, data, out / "trees"), "HML.CONTROL", "class_balanced")
    overrides = {
        "baseline": ("HML.ENABLED", "False"),
        "class_balanced": control,
        "hml": (*enabled, *stage_overrides(total, layers, data, out / "trees")),
    }
    # Three validations a run, however long it is: they would take a third of the time of a short one.
    common = (*common, "SOLVER.MAX_ITER", str(total), "SOLVER.VAL_PERIOD", str(max(total // 3, 1)))
    cells = []
    for seed in seeds:
        for run in RUNS:
            parts = [run] if run == "baseline" else [run, profile]
            if run == "hml" and layers != 2:
                parts.append(f"layers{layers}")
            name = LABELS[run] + (f" seed {seed}" if len(seeds) > 1 else "")
            folder = out / "-".join([*parts, f"seed{seed}"])
            cells.append(Cell(name, config, (*common, *overrides[run]), seed, data, folder))
    return cells


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
    if not 1 <= args.layers <= MOST_LAYERS:
        raise HMLError(f"--layers is {args.layers}; give a whole number from 1 to {MOST_LAYERS}")
    if args.iterations < max(args.layers, 2):
        raise HMLError(f"--iterations is {args.iterations}; give at least {max(args.layers, 2)}, one for each stage")
    if args.config is not None:
        for name in ("predictor", "task", "detector"):
            if getattr(args, name) is not None:
                raise HMLError(f"--config says all about the model; leave out --{name} or --config")
        if not args.config.is_file():
            raise HMLError(f"there is no config file {args.config}; give an existing file to --config")
    if args.detector is not None and not args.detector.is_file():
        raise HMLError(f"there is no detector {args.detector}; give the model_final.pth of a trained one to --detector")
    if args.data is not None and not args.data.is_dir():
        raise HMLError(f"there is no dataset folder {args.data}; hml data --help says how to make one")


def run_demo(args: argparse.Namespace) -> int:
    """Handler of ``hml demo``; 0 if all runs finished, 1 if one failed."""
    check_arguments(args)
    from ..datasets.check import check_vg

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    start = time.monotonic()
    data = args.data or prepare_data(args.out)
    check_vg(data)
    predictor, task = args.predictor or "motifs", args.task or "predcls"
    # Other models than the default one have a folder of their own beside it.
    out = args.out if (predictor, task) == ("motifs", "predcls") else args.out / f"{predictor}-{task}"
    seeds = list(range(args.seeds))
    try:
        if args.config is not None:
            config, common, model = args.config, class_counts(data), args.config.name
        else:
            detector = args.detector
            if detector is None and task != "predcls":
                detector = prepare_detector(data, args.out)
            config, common = run_overrides(predictor, task, data, detector=detector)
            model = TITLES[predictor]
        cells = demo_cells(
            config, common, data, out, seeds=seeds, profile=args.profile, total=args.iterations, layers=args.layers
        )
        results = run_cells(cells, args.iterations, args.jobs)
    except CellFailed as failure:
        print(f"hml: error: {failure}", file=sys.stderr)
        return 1
    runs = {run: results[i :: len(RUNS)] for i, run in enumerate(RUNS)}
    layers = read_layers(runs["hml"][0].cell.output)
    summary = summarise(
        {run: [r.metrics for r in found] for run, found in runs.items()},
        layers,
        seeds=seeds,
        seconds=round(time.monotonic() - start + sum(r.seconds for r in results if r.skipped), 1),
        model=model,
        task=results[0].metrics["mode"],
        profile=args.profile,
        data="mini-vg" if args.data is None else str(args.data),
        iterations=args.iterations,
    )
    write_json(out / "summary.json", summary)
    print(describe(runs, layers, summary))
    print(f"\nWritten: {out / 'summary.json'} (in it fractions, not percent). Each run's folder is beside it.")
    return 0


def read_layers(hml_output: Path) -> dict[str, int]:
    """predicate -> layer of the tree that an HML run used."""
    from ..method.tree import PredicateTree

    return PredicateTree.load(hml_output / "hml" / "tree.json").layers


def summarise(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], layers: Mapping[str, int], **facts: Any
) -> dict[str, Any]:
    """The content of summary.json: means over seeds as fractions, single seeds, layers, and the ``facts`` given."""
    means, single, by_layer = {}, {}, {}
    for run, seeds in runs.items():
        means[run] = {key: mean_or_none([m[key] for m in seeds]) for key in RECALL_KEYS}
        single[run] = [{key: m[key] for key in RECALL_KEYS} for m in seeds]
        recalls = [layer_recall(m, layers, 50) for m in seeds]
        by_layer[run] = {str(n): mean_or_none([one[n] for one in recalls]) for n in recalls[0]}
    return {"runs": means, **facts, "unit": "fraction", "per_seed": single, "layers_R@50": by_layer}


def describe(runs: Mapping[str, Sequence[CellResult]], layers: Mapping[str, int], summary: Mapping[str, Any]) -> str:
    """What the user reads at the end: what was measured, the tables, and what mR@50 costs in R@50."""
    metrics = {LABELS[run]: [r.metrics for r in found] for run, found in runs.items()}
    seeds, baseline = summary["seeds"], metrics[LABELS["baseline"]]
    images = baseline[0]["images"]
    spread = f"mean +- standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else "one seed, so no spread"
    before, after = summary["runs"]["baseline"], summary["runs"]["hml"]
    per_layer = {n: sum(layer == n for layer in layers.values()) for n in sorted(set(layers.values()))}
    sizes = ", ".join(f"layer {n}: {count}" for n, count in per_layer.items())
    return "\n".join(
        [
            "",
            f"{summary['model']}, {GIVEN[summary['task']]}, {images} test images of {summary['data']}; profile "
            f"{summary['profile']}; {summary['iterations']} iterations a run; {spread}.",
            f"Everything in percent. Running time {clock(summary['seconds'])} min.",
            "",
            runs_table(metrics),
            "",
            f"Mean recall by layer of the predicate tree ({sizes} predicates), of those in the test images:",
            layers_table(metrics, layers),
            "",
            "The ten predicates whose R@50 changed most, baseline to HML:",
            changes_table(baseline, metrics[LABELS["hml"]], layers),
            "",
            f"HML against the baseline: mR@50 {_ratio(before['mR@50'], after['mR@50'])}; "
            f"the price in R@50: {_ratio(before['R@50'], after['R@50'])}.",
        ]
    )


def _ratio(before: float, after: float) -> str:
    times = f", x{after / before:.2f}" if before > 0 else ""
    return f"{100 * before:.1f} -> {100 * after:.1f}{times}"


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt
