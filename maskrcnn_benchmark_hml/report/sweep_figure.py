"""Recall over one setting: R@50, mR@50 and their mean, with the spread of the seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import HMLError
from .drawing import new_figure
from .figure_files import save_figure
from .fonts import readable

#: Colour (Okabe-Ito), marker and line of each series.
_STYLES = (("#0072B2", "s", "-"), ("#D55E00", "o", "-"), ("#000000", "^", "--"), ("#009E73", "D", ":"))


def draw_sweep(
    series: Mapping[str, Mapping[float, Sequence[float]]], path: str | Path, *, title: str, axis: str, log: bool = False
) -> list[Path]:
    """Draw lines over a setting as PNG and SVG.

    Args:
        series: name -> {x: one fraction per seed}; at most four.
        path: without suffix.
        axis: the setting's name.
        log: logarithmic axis, linear between 0 and the smallest x above 0.

    Raises:
        HMLError: no point, or the folder cannot be written.
    """
    points = sorted({x for values in series.values() for x in values})
    if not points:
        raise HMLError("no cell of the sweep has a result; run the experiment first")
    with readable([*series, title, axis]):
        return _draw(series, points, Path(path), title=title, axis=axis, log=log)


def _draw(
    series: Mapping[str, Mapping[float, Sequence[float]]], points: list[float], path: Path, *, title: str, axis: str,
    log: bool,
) -> list[Path]:
    figure = new_figure(7.4, 4.8)
    axes = figure.add_axes((0.10, 0.12, 0.87, 0.79))
    for (name, values), (colour, marker, line) in zip(series.items(), _STYLES):
        xs = sorted(values)
        means = [100 * statistics.fmean(values[x]) for x in xs]
        below = [mean - 100 * min(values[x]) for x, mean in zip(xs, means)]
        above = [100 * max(values[x]) - mean for x, mean in zip(xs, means)]
        axes.errorbar(xs, means, yerr=[below, above], color=colour, marker=marker, linestyle=line, markersize=5,
                      linewidth=1.4, elinewidth=0.8, capsize=2, label=name)
    positive = [x for x in points if x > 0]
    if log and positive:
        axes.set_xscale("symlog", linthresh=positive[0]) if points[0] <= 0 else axes.set_xscale("log")
    elif len(points) <= 12:
        axes.set_xticks(points)
    axes.set_xlabel(axis)
    axes.set_ylabel("percent")
    axes.set_ylim(bottom=0)
    axes.set_title(title, fontsize=10)
    axes.grid(color="0.92", linewidth=0.6)
    axes.legend(fontsize=8)
    return save_figure(figure, path)
