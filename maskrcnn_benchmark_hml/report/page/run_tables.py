"""The page's tables about the runs themselves: what they are, their settings, their training, their trees."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ...method.tree import PredicateTree
from ..importance import importance_rows
from ..overview import TASK_NAMES
from .runs import PageRun
from .table import NUMBER, SHARE, Column, Table
from .training_log import LOSS, MEMORY, RATE, SECONDS, TrainingLog, is_share


def runs_table(runs: Sequence[PageRun]) -> Table:
    """One row per run: what it is and where it lies."""
    columns = [Column("run"), Column("kind"), Column("task"), Column("stages", NUMBER), Column("iterations", NUMBER),
               Column("data"), Column("folder")]  # fmt: skip
    rows = []
    for run in runs:
        length = sum(run.log.iterations.values()) if run.log else None
        kind = {"control": "ablation baseline"}.get(run.family, run.family) if run.settings else None
        rows.append([run.name, kind, TASK_NAMES.get(run.run.task, run.run.task), run.log.stages if run.log else None,
                     length, run.run.folder.name, run.run.path])  # fmt: skip
    return Table("runs", "The runs of this page", columns, rows)


def settings_tables(runs: Sequence[PageRun]) -> tuple[Table | None, Table | None]:
    """The settings that differ between the runs, and those that do not; None for a table without rows.

    A setting that only some of the runs have, because their benchmarks differ, counts as different if these differ.
    """
    keys = sorted({key for run in runs for key in run.settings})
    values = {key: [run.settings.get(key) for run in runs] for key in keys}
    differ = [key for key in keys if len({value for value in values[key] if value is not None}) > 1]
    same = [key for key in keys if key not in set(differ)]
    columns = [Column("setting"), *(Column(run.name) for run in runs)]
    table = Table("settings", "Settings that differ", columns, [[key, *map(_shown, values[key])] for key in differ])
    only = [[key, _shown(next(value for value in values[key] if value is not None))] for key in same]
    rest = Table("same-settings", "Settings that do not differ", [Column("setting"), Column("value")], only)
    return (table if differ else None), (rest if only else None)


def _shown(value: str | None) -> str | None:
    return "(empty)" if value == "" else value


def training_table(runs: Sequence[PageRun]) -> Table | None:
    """One row per stage of each run: how the training ended; None if no run has a log."""
    logs = [(run.name, run.log) for run in runs if run.log is not None]
    if not logs:
        return None
    terms = list(dict.fromkeys(term for _, log in logs for term in log.terms))
    metrics = list(dict.fromkeys(metric for _, log in logs for metric in log.validation))
    last = [LOSS, *terms, RATE]
    columns = [Column("run"), Column("stage", NUMBER), Column("iterations", NUMBER),
               *(Column("learning rate" if name == RATE else name, NUMBER) for name in last),
               Column("seconds per iteration", NUMBER), Column("peak memory, MiB", NUMBER),
               *(Column(f"best validation {m}", SHARE if is_share(m) else NUMBER, m) for m in metrics)]  # fmt: skip
    rows = [[name, stage, iterations, *_ends(log, stage, last, metrics)]
            for name, log in logs for stage, iterations in log.iterations.items()]  # fmt: skip
    caption = ("Losses and learning rate at the end of each stage; median seconds per iteration; peak memory; best "
               "validation in percent")  # fmt: skip
    return Table("training", caption, columns, rows)


def _ends(log: TrainingLog, stage: int, last: Sequence[str], metrics: Sequence[str]) -> list[float | None]:
    def values(curves: Mapping[str, Any], name: str) -> list[float]:
        return [value for _, value in curves.get(name, {}).get(stage, ())]

    ends: list[float | None] = [found[-1] if (found := values(log.training, name)) else None for name in last]
    seconds, memory = values(log.training, SECONDS), values(log.training, MEMORY)
    ends += [statistics.median(seconds) if seconds else None, max(memory, default=None)]
    return [*ends, *(max(values(log.validation, metric), default=None) for metric in metrics)]


def tree_tables(runs: Sequence[PageRun]) -> list[Table]:
    """A table for each different predicate tree: a row for each group, a column for each layer."""
    trees: dict[str, PredicateTree] = {}
    users: dict[str, list[str]] = {}
    for run in runs:
        if run.run.tree is not None:
            trees[run.run.tree.digest] = run.run.tree
            users.setdefault(run.run.tree.digest, []).append(run.name)
    return [_tree_table(tree, users[digest], number if len(trees) > 1 else 0)
            for number, (digest, tree) in enumerate(trees.items(), 1)]  # fmt: skip


def _tree_table(tree: PredicateTree, users: Sequence[str], number: int) -> Table:
    total = max(1, sum(tree.counts.values()))
    columns = [Column("group")]
    for k in range(1, tree.num_layers + 1):
        names = tree.layer(k)
        share = sum(tree.counts[name] for name in names) / total
        columns.append(Column(f"layer {k}: {len(names)} predicates, {share:.0%} of relations"))
    rows = [[group[0], *(_members(tree, group, k) for k in range(1, tree.num_layers + 1))] for group in tree.groups]
    made = f"{tree.builder} tree" + (f" of {tree.vectors}, threshold {tree.threshold:g}" if tree.vectors else "")
    caption = (f"Predicates by group and layer, with their numbers in the training split ({made}; used for "
               f"{', '.join(users)})")  # fmt: skip
    return Table(f"tree-{number}" if number else "tree-groups", caption, columns, rows, sortable=False)


def _members(tree: PredicateTree, group: Sequence[str], layer: int) -> str:
    return ", ".join(f"{name} ({tree.counts[name]:,})" for name in group if tree.layers[name] == layer)


def importance_table(runs: Sequence[PageRun]) -> Table | None:
    """Figures of Omega and MR by stage; None if no run stored any."""
    rows = importance_rows([run.run for run in runs])
    columns = [Column("figure"), *(Column(run.name) for run in runs)]
    return Table("importance", "Importance Omega and MR, by stage", columns, rows, sortable=False) if rows else None
