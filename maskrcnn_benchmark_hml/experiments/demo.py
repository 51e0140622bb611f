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
from ..report.tables import RECALL_KEYS, changes_table, layer_recall, layers_table, mean_or_none, runs_table
from ..resources import config_file
from .cell import Cell, CellFailed, CellResult, write_json
from .cells_catalog import RELATION_CONFIG, class_counts, stage_iterations
from .progress import clock
from .series import cores, run_cells

ITERATIONS = 900
RUNS = ("baseline", "class_balanced", "hml")
LABELS = {"baseline": "baseline", "class_balanced": "class-balanced", "hml": "HML"}

DESCRIPTION = """\
Trains and tests three models with the same total number of iterations and prints one table:
  baseline        one stage, plain cross entropy
  class-balanced  one stage, HML's class-balanced loss alone: the control
  HML             two stages, coarse predicates before fine ones, with CR and MR
Without --data it makes a mini-VG: small drawn scenes with Visual Genome's vocabulary and long tail
(see docs/mini-vg.md).
Finished runs are kept and interrupted ones continued when the same command is given again.
"""


def add_demo_parser(subparsers: Any) -> None:
    """Add ``hml demo`` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="train and test a baseline, a control and HML, side by side",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="a dataset folder in the VG format (default: a mini-VG)")
    add(
        "--out", type=Path, default=Path("outputs/demo"), metavar="DIR", help="where all goes (default: %(default)s)"
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
        help="iterations of each run; HML spends a third on its first stage (default: %(default)s)",
    )
    jobs = min(cores(), len(RUNS))
    add("--jobs", type=int, default=jobs, metavar="N", help="runs at a time (default here: %(default)s)")
    add("--config", type=Path, metavar="FILE", help="the benchmark's YAML config (default: the demo's own)")
    parser.set_defaults(handler=run_demo)


def demo_cells(config: Path, data: Path, out: Path, seeds: Sequence[int], profile: str, total: int) -> list[Cell]:
    """The cells of a demo, seed by seed: three runs with ``total`` iterations each."""
    staged = (
        *("HML.ENABLED", "True", "HML.PROFILE", profile),
        *("HML.STAGES.ITERATIONS", "({},{})".format(*stage_iterations(total))),
    )
    overrides = {
        "baseline": ("HML.ENABLED", "False"),
        "class_balanced": (*staged, "HML.CONTROL", "class_balanced"),
        "hml": staged,
    }
    # Three validations a run, however long it is: they would take a third of the time of a short one.
    common = ("SOLVER.MAX_ITER", str(total), "SOLVER.VAL_PERIOD", str(max(total // 3, 1)), *class_counts(data))
    cells = []
    for seed in seeds:
        for run in RUNS:
            folder = f"{run}-seed{seed}" if run == "baseline" else f"{run}-{profile}-seed{seed}"
            name = LABELS[run] + (f" seed {seed}" if len(seeds) > 1 else "")
            cells.append(Cell(name, config, (*common, *overrides[run]), seed, data, out / folder))
    return cells


def prepare_data(out: Path) -> Path:
    """The demo's own mini-VG in ``out/data``, made if it is not there."""
    from ..datasets.mini_vg import make_mini_vg

    folder = out / "data"
    return folder if folder.is_dir() else make_mini_vg(folder, seed=0)


def run_demo(args: argparse.Namespace) -> int:
    """Handler of ``hml demo``; 0 if all runs finished, 1 if one failed."""
    if args.seeds < 1:
        raise HMLError(f"--seeds is {args.seeds}; give a whole number of at least 1")
    if args.iterations < 2:
        raise HMLError(f"--iterations is {args.iterations}; give at least 2, one for each stage")
    config = args.config or config_file(RELATION_CONFIG)
    if not config.is_file():
        raise HMLError(f"there is no config file {config}; give an existing file to --config")
    if args.data is not None and not args.data.is_dir():
        raise HMLError(f"there is no dataset folder {args.data}; hml data --help says how to make one")
    from ..datasets.check import check_vg

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    start = time.monotonic()
    data = args.data or prepare_data(args.out)
    check_vg(data)
    seeds = list(range(args.seeds))
    cells = demo_cells(config, data, args.out, seeds, args.profile, args.iterations)
    try:
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
        profile=args.profile,
        data="mini-vg" if args.data is None else str(args.data),
        iterations=args.iterations,
    )
    write_json(args.out / "summary.json", summary)
    print(describe(runs, layers, summary))
    print(f"\nWritten: {args.out / 'summary.json'} (in it fractions, not percent). Each run's folder is beside it.")
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
            f"MOTIFS, PredCls (boxes and object labels given), {images} test images of {summary['data']}; profile "
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
