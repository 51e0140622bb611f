"""What a grid's runs found: one row per run and tau, as CSV for machines and Markdown for readers.

results.csv depends on settings and seeds alone: the same ones give the same bytes. Wall times stand in times.csv.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HMLError
from ..files import write_text
from ..method.tree import PredicateTree
from ..metrics.matching import KS
from ..metrics.summary import csv_text
from ..report.merging import merge_run, merged_rows
from ..report.overview import TASK_NAMES
from ..report.tables import RECALL_KEYS, mean_or_none, percent
from ..run_folder import METRICS
from .grid_runs import GridRun
from .run import RunResult

MEAN_KEYS = tuple(f"Mean@{k}" for k in KS)
_FURTHER = ("ng-R", "ng-mR", "zR", "A", "merged-R", "merged-mR")
_METRICS = (*RECALL_KEYS, *MEAN_KEYS, *(f"{metric}@{k}" for metric in _FURTHER for k in KS))
COLUMNS = ("cell", "family", "tau", "predictor", "task", "split", "seed", "iterations", "x", "images", *_METRICS)
TIME_COLUMNS = ("cell", "predictor", "task", "seed", "seconds", "folder")
MERGED_COLUMNS = ("cell", "tau", "predictor", "task", "seed", "metric", "predicate", "k", "value")


@dataclass(frozen=True)
class Row:
    """One row of results.csv: a run's metrics (fractions; None where the split has no example), for one tau.

    Attributes:
        iterations: that the run trained, its stages together.
        merged: (metric, predicate, K, value) of the merged recall; empty if the dataset has no tree of groups.
    """

    run: GridRun
    tau: float | None
    iterations: int | None
    metrics: Mapping[str, Any]
    merged: tuple[tuple[str, str, int, float | None], ...]

    @property
    def label(self) -> str:
        """Name of the table's line that the row belongs to; all of its seeds share it."""
        name = self.run.variant.name
        return name if self.tau is None else f"{name}, tau {self.tau:g}"

    def value(self, key: str) -> float | None:
        """A column of ``_METRICS``. Mean@K is the mean of R@K and mR@K."""
        if key in MEAN_KEYS:
            k = key.partition("@")[2]
            return mean_or_none([self.metrics[f"R@{k}"], self.metrics[f"mR@{k}"]])
        if key.startswith("merged-"):
            metric, _, k = key.partition("@")
            return next((v for m, name, at, v in self.merged if (m, name, at) == (metric, "", int(k))), None)
        return self.metrics.get(key)

    def columns(self) -> tuple[Any, ...]:
        run = self.run
        variant = run.variant
        return (
            variant.name, variant.family, _digits(self.tau), run.predictor, run.task, run.run.split, run.seed,
            self.iterations, _digits(variant.x), self.metrics["images"],
            *(_digits(self.value(key)) for key in _METRICS),
        )


def _digits(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def read_rows(run: GridRun, tree: PredicateTree | None) -> list[Row]:
    """The rows of a finished run.

    Args:
        tree: folds fine predicates for merged recall; the same one for every run. None: no merged recall.

    Raises:
        HMLError: a result is missing.
    """
    rows = []
    for tau, folder in run.results():
        path = folder / METRICS
        if not path.is_file():
            raise HMLError(f"{path} is missing; remove the folder {run.output} to run it anew")
        merged = () if tree is None else tuple(merged_rows(merge_run(folder, tree)))
        rows.append(Row(run, tau, run.run.iterations, json.loads(path.read_text("utf-8")), merged))
    return rows


def write_results(folder: Path, rows: Sequence[Row], results: Iterable[tuple[GridRun, RunResult]]) -> None:
    """results.csv and times.csv; merged.csv too if there are merged recalls."""
    _write(folder / "results.csv", csv_text(COLUMNS, (row.columns() for row in rows)))
    times = [(run.variant.name, run.predictor, run.task, run.seed, f"{done.seconds:.2f}", run.output)
             for run, done in results]
    _write(folder / "times.csv", csv_text(TIME_COLUMNS, times))
    merged = [(row.run.variant.name, _digits(row.tau), row.run.predictor, row.run.task, row.run.seed, metric, name,
               k, _digits(value)) for row in rows for metric, name, k, value in row.merged]
    if merged:
        _write(folder / "merged.csv", csv_text(MERGED_COLUMNS, merged))


def _write(path: Path, text: str) -> None:
    write_text(path, text, "results")


def grouped(rows: Sequence[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """Rows by ``key``, in the order in which its values first come."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def by_label(rows: Sequence[Row], order: Sequence[str]) -> dict[str, list[Row]]:
    """A table's lines, each with its seeds, in the order of the grid's variants and then of tau."""
    lines = grouped(rows, lambda row: row.label)
    place = {name: at for at, name in enumerate(order)}
    return dict(sorted(lines.items(), key=lambda kv: (place[kv[1][0].run.variant.name], kv[1][0].tau or 0.0)))


def recall_table(rows: Sequence[Row], order: Sequence[str], minutes: Mapping[str, Sequence[float]]) -> str:
    """Markdown: one line per variant (and tau), percent, mean and standard deviation over seeds."""
    lines = []
    for label, seeds in by_label(rows, order).items():
        took = mean_or_none(list(minutes.get(label, ())))
        keys = (*RECALL_KEYS, "Mean@50")
        numbers = [percent([row.value(key) for row in seeds]) for key in keys]
        lines.append([label, *numbers, "-" if took is None else f"{took:.1f}"])
    return markdown(["", *RECALL_KEYS, "Mean@50", "minutes"], lines)


def tasks_table(rows: Sequence[Row], order: Sequence[str]) -> str:
    """Markdown: Mean@K over the tasks, each task's Mean@K averaged over seeds first, per predictor and variant."""
    lines = []
    for predictor, of_predictor in grouped(rows, lambda row: row.run.predictor).items():
        for label, seeds in by_label(of_predictor, order).items():
            tasks = grouped(seeds, lambda row: row.run.task)
            means = [[mean_or_none([row.value(key) for row in part]) for part in tasks.values()] for key in MEAN_KEYS]
            names = " + ".join(TASK_NAMES[task] for task in tasks)
            lines.append([label, predictor, names, *(percent([mean_or_none(part)]) for part in means)])
    return markdown(["", "predictor", "tasks", *MEAN_KEYS], lines)


def merged_table(rows: Sequence[Row], order: Sequence[str], k: int = 50) -> str:
    """Markdown: recall@k of the coarse predicates, as predicted and with fine predictions folded into them."""
    lines = []
    for label, seeds in by_label(rows, order).items():
        values = [{(metric, name): value for metric, name, at, value in row.merged if at == k} for row in seeds]
        for metric, name in values[0] if values else ():
            if metric == "R":
                pair = [percent([one[kind, name] for one in values]) for kind in ("R", "merged-R")]
                lines.append([label, name, *pair])
        if values and values[0]:
            pair = [percent([one[kind, ""] for one in values]) for kind in ("coarse-mR", "merged-mR")]
            lines.append([label, "*mean of these*", *pair])
    return markdown(["", "coarse predicate", f"R@{k}", f"merged R@{k}"], lines)


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others numbers."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *lines))
