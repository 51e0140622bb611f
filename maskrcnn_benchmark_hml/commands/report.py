"""``hml report``: tables, CSV, JSON and a page for the browser, of finished runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import HMLError
from ..metrics.choices import KS, TASKS
from .help import texts

DESCRIPTION = """\
Prints the test results of runs in percent, one column per run. RUN is the OUTPUT_DIR of a run, either of this package
or of SGB itself (or the folder inside it that holds the results, or a metrics.json).

  hml report RUN...                  every metric at 20, 50 and 100; by layer if a predicate tree is known; the
                                     distribution of Omega and MR's mean gradient, if a run stored them
  hml report mean-at-k RUN RUN RUN   Mean@K: the mean of R@K and mR@K over PredCls, SGCls and SGDet
  hml report merged RUN...           how much the recall of coarse predicates ("on", "has", ...) rises when fine
                                     predictions ("parked on") count as their group's coarse predicate
"""

MERGED = """\
Prints the recall of coarse predicates ("on", "has", ...) in percent, before and after fine predictions ("parked on")
count as their group's coarse predicate. Reads the results of this package and of SGB itself.
"""

MEAN_AT_K = """\
Prints Mean@K in percent: the mean of R@K and mR@K over three runs of one model, one of each task (PredCls, SGCls and
SGDet).
"""

EXAMPLES = """\
hml report out/baseline out/hml --per-predicate
hml report out/hml --csv hml.csv --json hml.json
hml report out/baseline out/hml --html report.html
hml report mean-at-k out/hml-predcls out/hml-sgcls out/hml-sgdet
hml report merged out/sgb-motifs --tree configs/trees/vg150_clustered.json
"""

KINDS = {"merged": (MERGED, "RUN [RUN ...]"), "mean-at-k": (MEAN_AT_K, "RUN RUN RUN")}


def add_report_parser(subparsers: Any) -> None:
    """Describe ``hml report`` and its kinds of tables; the parsed arguments carry the handler."""
    parser = subparsers.add_parser(
        "report",
        usage="hml report [merged | mean-at-k] RUN [RUN ...] [options]",
        **texts("report", DESCRIPTION, EXAMPLES),
    )
    parser.add_argument("words", nargs="+", metavar="RUN", help="the OUTPUT_DIR of a run; see also "
                        "hml report merged --help and hml report mean-at-k --help")
    _add_options(parser, "")
    for kind, (description, runs) in KINDS.items():
        example = next(line for line in EXAMPLES.splitlines() if f" {kind} " in line)
        about = texts("report", description, example)
        parser = subparsers.add_parser(f"report {kind}", usage=f"hml report {kind} {runs} [options]", **about)
        # No run at all gets a sentence of ours.
        parser.add_argument("words", nargs="*", metavar="RUN", help="a run")
        _add_options(parser, kind)


def _add_options(parser: argparse.ArgumentParser, kind: str) -> None:
    """The options of all kinds. Those of another kind are refused by ``run_report`` with a sentence, or do nothing."""
    add, hidden = parser.add_argument, argparse.SUPPRESS
    add("--tree", metavar="FILE", help=hidden if kind == "mean-at-k" else "predicate tree for all runs (default: "
        "OUTPUT_DIR/hml/tree.json of an HML run; a run without a tree uses that of the other runs)")
    add("--per-predicate", action="store_true", help=hidden if kind else "also print the recall of every predicate")
    add("--k", type=int, choices=KS, default=50,
        help=hidden if kind else "K of --per-predicate, in predictions per image (default: %(default)s)")
    add("--task", choices=TASKS,
        help="the task of a run whose files do not contain it" if kind == "merged" else hidden)
    add("--csv", metavar="FILE", help="write the figures as rows of fractions: run,task,metric,k,layer,predicate,value")
    add("--json", metavar="FILE", help="write all figures as JSON, as fractions" + ("" if kind == "mean-at-k" else
        ", one entry per run"))
    add("--html", metavar="FILE", help=hidden if kind else "write one HTML page that opens without a network: settings "
        "that differ, sortable tables, training curves, scene graphs, merged recall, the tree (docs/report.md)")
    parser.set_defaults(handler=run_report, kind=kind)


def with_kind(words: Sequence[str]) -> list[str]:
    """The words of a command line, ``report`` and a kind joined to one, also when options stand between them."""
    takes_value = False
    for at, word in enumerate(words[1:], 1):
        if not takes_value and not word.startswith("-"):
            return [f"report {word}", *words[1:at], *words[at + 1 :]] if word in KINDS else list(words)
        takes_value = not takes_value and "=" not in word and not word.startswith(("-h", "--he", "--p"))
    return list(words)


def run_report(args: argparse.Namespace) -> int:
    """``hml report``; returns the exit code. Files are written only when all runs could be read."""
    kind, paths = args.kind, args.words
    if not paths:
        raise HMLError(f"hml report {kind} needs the OUTPUT_DIR of a run, for instance: hml report {kind} out/motifs")
    if args.per_predicate and kind:
        raise HMLError(f"--per-predicate belongs to hml report RUN..., not to {kind}; leave it out")
    if args.html and kind:
        raise HMLError(f"--html belongs to hml report RUN..., not to {kind}; leave it out")
    if args.html and Path(args.html).is_dir():
        raise HMLError(f"--html is {args.html}, which is a folder; name a file, for instance report.html")
    if args.task and kind != "merged":
        raise HMLError("--task belongs to hml report merged; leave it out")
    handlers: dict[str, Callable[..., tuple[str, list, Any]]] = {"": _all, "merged": _merged, "mean-at-k": _mean_at_k}
    text, rows, content = handlers[kind](paths, args)
    _write(args, rows, content)
    print(text)
    for path in (args.csv, args.json, args.html):
        if path:
            print(f"wrote {path}")
    return 0


def _write(args: argparse.Namespace, rows: list, content: Any) -> None:
    from ..files import write_json, write_text
    from ..metrics.summary import csv_text
    from ..report.overview import CSV_COLUMNS

    if args.csv:
        write_text(args.csv, csv_text(CSV_COLUMNS, rows), "table")
    if args.json:
        write_json(args.json, content, "table", indent=1, allow_nan=False)


def _all(paths: Sequence[str], args: argparse.Namespace) -> tuple[str, list, Any]:
    from ..report.importance import importance_table
    from ..report.overview import csv_rows, json_entry, metrics_table, notes, predicates_table
    from ..report.runs import load_runs, short_names

    runs = load_runs(paths, args.tree)
    names = short_names(runs)
    text = metrics_table(names, runs)
    if args.per_predicate:
        text += f"\n\nR@{args.k} of every predicate, the most frequent first if a tree is known:\n"
        text += predicates_table(names, runs, args.k)
    importance = importance_table(names, runs)
    if importance:
        text += f"\n\nImportance Omega and MR, by stage (docs/metrics.md):\n{importance}"
    if args.html:
        from ..report.page.page import write_page

        write_page(args.html, runs, k=args.k)
    rows = [row for run in runs for row in csv_rows(run)]
    return text + notes(runs), rows, [json_entry(run) for run in runs]


def _mean_at_k(paths: Sequence[str], args: argparse.Namespace) -> tuple[str, list, Any]:
    from ..report.overview import mean_at_k, mean_at_k_table
    from ..report.runs import load_runs

    runs = load_runs(paths, args.tree)
    figures = mean_at_k(runs)
    rows = [("", "mean", *key.split("@"), "", "", repr(value)) for key, value in figures.items()]
    return mean_at_k_table(runs, figures), rows, {"runs": [run.path for run in runs], **figures}


def _merged(paths: Sequence[str], args: argparse.Namespace) -> tuple[str, list, Any]:
    from ..report.merging import merge_run, merged_rows, merged_table

    texts, rows, content = [], [], []
    for path, folder, tree in _with_trees(paths, args.tree):
        merged = merge_run(folder, tree, args.task)
        texts.append(f"{path} ({merged.task}), recall of coarse predicates in percent:\n{merged_table(merged)}")
        figures: dict[str, Any] = {"run": path, "mode": merged.task, "per_predicate": {}}
        for metric, name, k, value in merged_rows(merged):
            layer = tree.layers[name] if name else ""
            rows.append((path, merged.task, metric, str(k), layer, name, "" if value is None else repr(value)))
            into = figures["per_predicate"].setdefault(f"{metric}@{k}", {}) if name else figures
            into[name or f"{metric}@{k}"] = value
        content.append(figures)
    return "\n\n".join(texts), rows, content


def _with_trees(paths: Sequence[str], tree_file: str | None) -> list[tuple[str, Path, Any]]:
    """(path, results folder, tree) of each run; one tree found serves the runs without."""
    from ..method.tree import PredicateTree
    from ..report.runs import results_folder, run_tree

    folders = [results_folder(path) for path in paths]
    if tree_file:
        trees: list[PredicateTree | None] = [PredicateTree.load(tree_file)] * len(paths)
    else:
        trees = [run_tree(folder) for folder in folders]
    found = {tree.digest: tree for tree in trees if tree is not None}
    for at, tree in enumerate(trees):
        if tree is None:
            if len(found) != 1:
                raise HMLError(f"no predicate tree is known for {paths[at]}; give one with --tree FILE")
            trees[at] = next(iter(found.values()))
    return list(zip(paths, folders, trees))
