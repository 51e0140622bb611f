"""Text tables of recall: per run, per layer of the predicate tree, per predicate, with mean and spread over seeds.

Metrics come in as the evaluator writes them (metrics.json): fractions in 0..1. Tables show percent.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.choices import KS

RECALL_KEYS = tuple(f"R@{k}" for k in KS) + tuple(f"mR@{k}" for k in KS)

Metrics = Mapping[str, Any]


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Columns padded to their widest entry, the first ``left`` of them flush left, the rest flush right.

    Raises:
        ValueError: a row has another number of columns than the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row has {len(row)} columns, the header {len(header)}: {list(row)}")
    widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]

    def one(line: Sequence[str]) -> str:
        cells = (c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths)))
        return "  ".join(cells).rstrip()

    return "\n".join([one(header), "  ".join("-" * w for w in widths), *map(one, rows)])


def percent(values: Sequence[float | None]) -> str:
    """Mean of fractions in percent, with ``+-`` the sample standard deviation if there are several; ``-`` for none.

    >>> percent([0.301, 0.311]), percent([0.25]), percent([None])
    ('30.6 +-0.7', '25.0', '-')
    """
    known = [100.0 * v for v in values if v is not None]
    if not known:
        return "-"
    mean = f"{statistics.fmean(known):.1f}"
    return f"{mean} +-{statistics.stdev(known):.1f}" if len(known) > 1 else mean


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """Mean of those values that are not None (a predicate without test examples has none); None if all are."""
    known = [v for v in values if v is not None]
    return math.fsum(known) / len(known) if known else None


def layer_recall(metrics: Metrics, layers: Mapping[str, int], k: int) -> dict[int, float | None]:
    """Mean recall@k per layer over the predicates of that layer that occur in the test part.

    Args:
        layers: predicate -> layer (1 = coarsest).
        k: 20, 50 or 100.
    """
    recall = metrics["per_predicate"][f"R@{k}"]
    numbers = sorted(set(layers.values()))
    return {n: mean_or_none([recall.get(p) for p, layer in layers.items() if layer == n]) for n in numbers}


def runs_table(runs: Mapping[str, Sequence[Metrics]]) -> str:
    """One row per run (several seeds each): R@20/50/100 and mR@20/50/100."""
    rows = [[name, *(percent([m[key] for m in seeds]) for key in RECALL_KEYS)] for name, seeds in runs.items()]
    return format_table(["", *RECALL_KEYS], rows)


def layers_table(runs: Mapping[str, Sequence[Metrics]], layers: Mapping[str, int]) -> str:
    """One row per run: mean recall@20/50/100 of every layer, over its predicates that occur in the test part."""
    numbers = sorted(set(layers.values()))
    header = ["", *(f"layer {n} @{k}" for n in numbers for k in KS)]
    rows = []
    for name, seeds in runs.items():
        columns = {k: [layer_recall(m, layers, k) for m in seeds] for k in KS}
        rows.append([name, *(percent([one[n] for one in columns[k]]) for n in numbers for k in KS)])
    return format_table(header, rows)


def predicate_means(seeds: Sequence[Metrics], k: int) -> dict[str, float | None]:
    """Recall@k of every predicate, averaged over the seeds; None for one that does not occur in the test part."""
    per_seed = [m["per_predicate"][f"R@{k}"] for m in seeds]
    return {name: mean_or_none([one.get(name) for one in per_seed]) for name in per_seed[0]}


def changes_table(
    base: Sequence[Metrics], other: Sequence[Metrics], layers: Mapping[str, int], *, k: int = 50, rows: int = 10
) -> str:
    """The predicates whose recall@k differs most between two runs, largest change first (ties by name)."""
    before, after = predicate_means(base, k), predicate_means(other, k)
    change = {name: there - here for name, here in before.items()
              if here is not None and (there := after.get(name)) is not None}
    both = sorted(change, key=lambda name: (-abs(change[name]), name))
    lines = [
        [
            name,
            str(layers.get(name, "-")),
            percent([before[name]]),
            percent([after[name]]),
            f"{100 * change[name]:+.1f}",
        ]
        for name in both[:rows]
    ]
    return format_table(["predicate", "layer", "before", "after", "change"], lines)
