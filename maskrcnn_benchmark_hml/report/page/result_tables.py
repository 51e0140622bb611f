"""The page's tables of test results: all metrics, by layer, by predicate, merged recall."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...errors import HMLError
from ...metrics.choices import KS
from ...metrics.summary import METRICS
from ..merging import Merged, merge_run, merged_rows
from ..overview import TASK_NAMES, layer_means
from ..tables import mean_or_none
from .runs import PageRun
from .table import CHANGE, NUMBER, SHARE, TEXT, Column, Table
from .words import listed

_BOXES = ("mAP@0.5", "mAP")
_BOTH = "mean of R and mR"
#: What to report first, then the rest.
_ORDER = dict.fromkeys(["R", "mR", _BOTH, *METRICS])
#: With more runs than this, a predicate's row ends with the range of its recalls, not with last minus first.
FEW = 4


def metrics_table(runs: Sequence[PageRun]) -> Table:
    """One row per run, one column per metric and K that any of them has."""
    rows = {run.name: _metrics(run) for run in runs}
    keys = [f"{metric}@{k}" for metric in _ORDER for k in KS] + list(_BOXES)
    keys = [key for key in keys if any(found.get(key) is not None for found in rows.values())]
    columns = [Column("run"), Column("task"), Column("test images", NUMBER),
               *(Column(key, SHARE, key.partition("@")[0]) for key in keys)]  # fmt: skip
    cells = [[run.name, TASK_NAMES.get(run.run.task, run.run.task), run.run.metrics.get("images"),
              *(rows[run.name].get(key) for key in keys)] for run in runs]  # fmt: skip
    return Table("metrics", "All metrics, in percent", columns, cells)


def _metrics(run: PageRun) -> Mapping[str, float | None]:
    found = {key: value for key, value in run.run.metrics.items() if "@" in key or key == "mAP"}
    if run.run.task == "predcls":  # given, not measured
        found = {key: value for key, value in found.items() if key not in _BOXES}
    pairs = {k: [found.get(f"R@{k}"), found.get(f"mR@{k}")] for k in KS}
    return {**found, **{f"{_BOTH}@{k}": mean_or_none(pair) for k, pair in pairs.items() if None not in pair}}


def layers_table(runs: Sequence[PageRun]) -> Table | None:
    """One row per run with a tree, one column per layer and K; None if no run has a tree."""
    found = {run.name: layer_means(run.run) for run in runs}
    keys = sorted({key for layers in found.values() for key in layers})
    if not keys:
        return None
    columns = [Column("run"), *(Column(f"layer {n} mR@{k}", SHARE, "mR") for n, k in keys)]
    rows = [[name, *(layers.get(key) for key in keys)] for name, layers in found.items() if layers]
    caption = "Mean recall over the predicates of each layer that occur in the test images, in percent"
    return Table("layers", caption, columns, rows)


def predicates_tables(runs: Sequence[PageRun], k: int) -> Iterator[Table]:
    """A table for each vocabulary: one row per predicate, the most frequent first if a tree is known."""
    vocabularies: dict[frozenset[str], list[PageRun]] = {}
    for run in runs:
        if run.run.predicates:
            vocabularies.setdefault(frozenset(run.run.predicates), []).append(run)
    for number, some in enumerate(vocabularies.values(), 1):
        yield _predicates_table(some, k, number if len(vocabularies) > 1 else 0)


def _predicates_table(runs: Sequence[PageRun], k: int, number: int) -> Table:
    tree = next((run.run.tree for run in runs if run.run.tree is not None), None)
    names = list(runs[0].run.predicates)
    columns = [Column("predicate")]
    if tree is not None:
        names.sort(key=lambda name: -tree.counts[name])
        columns += [Column("layer", NUMBER), Column("training relations", NUMBER)]
    columns += [Column(run.name, SHARE, "R") for run in runs]
    if len(runs) > 1:
        columns.append(Column("range" if len(runs) > FEW else f"{runs[-1].name} minus {runs[0].name}", CHANGE))
    found = [run.run.per_predicate(f"R@{k}") for run in runs]
    rows: list[list[Any]] = []
    for name in names:
        values = [recalls.get(name) for recalls in found]
        facts = [] if tree is None else [tree.layers[name], tree.counts[name]]
        rows.append([name, *facts, *values, *([_change(values)] if len(runs) > 1 else [])])
    ending, which = (f"-{number}", f", vocabulary {number}") if number else ("", "")
    return Table(f"predicates{ending}", f"R@{k} of every predicate{which}, in percent", columns, rows)


def _change(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return max(known) - min(known) if len(values) > FEW else known[-1] - known[0]


def merged_tables(runs: Sequence[PageRun], k: int) -> tuple[list[Table], list[str]]:
    """Merged recall of the runs, and of each coarse predicate; and sentences on runs that have none."""
    merged: dict[str, Merged] = {}
    absent: dict[str, list[str]] = {}
    for run in runs:
        if run.run.task == "detection":
            continue
        if run.run.tree is None:
            absent.setdefault("no predicate tree is known", []).append(run.name)
            continue
        try:
            merged[run.name] = merge_run(run.run.folder, run.run.tree, run.run.task)
        except HMLError as error:
            absent.setdefault(str(error), []).append(run.name)
    values = {name: {(m, p, at): value for m, p, at, value in merged_rows(one)} for name, one in merged.items()}
    said = [f"No merged recall of {listed(names)}: {reason}." for reason, names in absent.items()]
    return ([_merged_means(values), _merged_predicates(merged, values, k)] if merged else []), said


_Values = Mapping[str, Mapping[tuple[str, str, int], "float | None"]]


def _merged_means(values: _Values) -> Table:
    metrics = [(metric, at) for metric in ("coarse-mR", "merged-mR", "merged-R") for at in KS]
    columns = [Column("run"), *(Column(f"{metric}@{at}", SHARE, "R") for metric, at in metrics)]
    rows = [[name, *(one[metric, "", at] for metric, at in metrics)] for name, one in values.items()]
    caption = ("Recall of coarse predicates before (coarse-mR) and after (merged-mR) fine predictions count as their "
               "group's coarse predicate; merged-R: with the annotations replaced too; in percent")  # fmt: skip
    return Table("merged", caption, columns, rows)


def _merged_predicates(merged: Mapping[str, Merged], values: _Values, k: int) -> Table:
    coarse = list(dict.fromkeys(name for one in merged.values() for name in one.groups))
    folded = {name: one.groups[name] for one in merged.values() for name in one.groups}
    columns = [Column("coarse predicate"), Column("fine predicates", TEXT)]
    for name in merged:
        columns += [Column(f"{name} R@{k}", SHARE, "R"), Column(f"{name} merged-R@{k}", SHARE, "R")]
    rows = []
    for head in coarse:
        pairs = (one.get((metric, head, k)) for one in values.values() for metric in ("R", "merged-R"))
        rows.append([head, ", ".join(folded[head]), *pairs])
    return Table("merged-predicates", f"Recall and merged recall of each coarse predicate at {k}, in percent", columns,
                 rows)
