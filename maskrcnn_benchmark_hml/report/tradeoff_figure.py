"""The trade-off picture: R@50 against mR@50, one mark per method, logit adjustment as the curve that costs nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HMLError
from .drawing import Axes, Bbox, Figure, Text, new_figure
from .figure_files import FORMATS, save_figure
from .fonts import readable

#: Colour (Okabe-Ito, told apart by the colour-blind too) and marker per family; shape alone is enough.
STYLES = {
    "baseline": ("#000000", "X"),
    "control": ("#0072B2", "s"),
    "ablation": ("#E69F00", "^"),
    "HML": ("#D55E00", "o"),
}
#: Colour and line of the curves, in their order.
CURVES = (("#009E73", "-"), ("#CC79A7", "--"), ("#56B4E9", "-."), ("0.45", ":"))
_TEXT = "0.15"
#: Up to this many marks carry their names; more are numbered, with a list beside the picture.
NAMED = 12
#: Where a label can stand, in points from its mark, the best first.
_PLACES = (
    (8, 5), (8, -12), (-8, 5), (-8, -12), (0, 10), (0, -17), (16, 14), (-16, 14), (16, -22), (-16, -22), (26, 0),
    (-26, 0), (30, 26), (-30, 26), (30, -34), (-30, -34), (48, 40), (-48, 40), (48, -48), (-48, -48), (60, 10),
    (60, -24),
)
#: From this distance on a thin line leads from a label to its mark.
_FAR = 28


@dataclass(frozen=True)
class Mark:
    """A method's results, one entry per seed, as fractions.

    Attributes:
        family: a key of STYLES.
        recall, mean_recall: R@K and mR@K per seed, in the same order.
    """

    name: str
    family: str
    recall: tuple[float, ...]
    mean_recall: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """A family of results over tau: ``marks[i]`` is what ``taus[i]`` gives."""

    name: str
    taus: tuple[float, ...]
    marks: tuple[Mark, ...]


def draw_tradeoff(
    marks: Sequence[Mark], curves: Sequence[Curve], path: str | Path, *, title: str, k: int = 50,
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Draw the picture in each of the formats, PNG and SVG beside each other unless others are given.

    A big mark is the mean over seeds, the small ones are the seeds, the bars reach from the lowest to the highest seed.
    The dotted lines through the baseline show its R@K and mR@K.

    Args:
        path: without suffix.

    Raises:
        HMLError: nothing to draw, or the folder cannot be written.
    """
    if not marks:
        raise HMLError("there is no result to draw; run the experiment first")
    with readable([title, *(mark.name for mark in marks), *(curve.name for curve in curves)]):
        return save_figure(_draw(marks, curves, title, k), path, formats)


def _draw(marks: Sequence[Mark], curves: Sequence[Curve], title: str, k: int) -> Figure:
    numbered = len(marks) > NAMED
    figure = new_figure(11.5, 7.0) if numbered else new_figure(8.6, 6.2)
    axes = figure.add_axes((0.06, 0.17, 0.58, 0.75) if numbered else (0.08, 0.20, 0.90, 0.71))
    taken: list[Bbox] = []
    for curve, style in zip(curves, CURVES):
        _draw_curve(axes, curve, *style)
    for mark in marks:
        _draw_mark(axes, mark)
    for mark in [mark for mark in marks if mark.family == "baseline"][:1]:
        for line, value in zip((axes.axvline, axes.axhline), _mean(mark)):
            line(value, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    axes.set_xlabel(f"R@{k} (percent)")
    axes.set_ylabel(f"mR@{k} (percent)")
    axes.set_title(title, fontsize=10)
    axes.margins(0.08)
    axes.grid(color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
    seeds = max(len(mark.recall) for mark in marks)
    _legend(axes, marks, curves, seeds)
    figure.canvas.draw()
    places = [axes.transData.transform(_mean(mark)) for mark in marks]
    taken += [Bbox.from_bounds(x - 11, y - 11, 22, 22) for x, y in places]  # a label stands nearest to its own mark
    for number, mark in enumerate(marks, 1):
        _label(axes, mark, str(number) if numbered else mark.name, taken)
    for curve, (colour, _) in zip(curves, CURVES):
        for tau, mark in zip(curve.taus, curve.marks):
            if tau > 0:
                _label(axes, mark, f"{tau:g}", taken, colour=colour, size=7)
    if numbered:
        _list(figure, marks)
    return figure


def _mean(mark: Mark) -> tuple[float, float]:
    return 100 * statistics.fmean(mark.recall), 100 * statistics.fmean(mark.mean_recall)


def _draw_mark(axes: Axes, mark: Mark) -> None:
    colour, shape = STYLES[mark.family]
    x, y = _mean(mark)
    xs, ys = [100 * v for v in mark.recall], [100 * v for v in mark.mean_recall]
    if len(xs) > 1:
        axes.errorbar(x, y, xerr=[[x - min(xs)], [max(xs) - x]], yerr=[[y - min(ys)], [max(ys) - y]],
                      color=colour, linewidth=0.9, alpha=0.6, zorder=2)
        axes.plot(xs, ys, linestyle="", marker=shape, markersize=3, color=colour, alpha=0.45, zorder=2)
    axes.plot([x], [y], linestyle="", marker=shape, markersize=8, color=colour, markeredgecolor="white",
              markeredgewidth=0.8, zorder=4)


def _draw_curve(axes: Axes, curve: Curve, colour: str, line: str) -> None:
    points = [_mean(mark) for mark in curve.marks]
    axes.plot(*zip(*points), color=colour, linestyle=line, linewidth=1.8, marker=".", markersize=5, zorder=3)
    seeds = min(len(mark.recall) for mark in curve.marks)
    for seed in range(seeds if seeds > 1 else 0):
        xs = [100 * mark.recall[seed] for mark in curve.marks]
        ys = [100 * mark.mean_recall[seed] for mark in curve.marks]
        axes.plot(xs, ys, color=colour, linewidth=0.7, alpha=0.35, zorder=1)


def _legend(axes: Axes, marks: Sequence[Mark], curves: Sequence[Curve], seeds: int) -> None:
    present = {mark.family for mark in marks}
    for family, (colour, shape) in STYLES.items():
        if family in present:
            axes.plot([], [], linestyle="", marker=shape, color=colour, label=family)
    for curve, (colour, line) in zip(curves, CURVES):
        axes.plot([], [], color=colour, linestyle=line, marker=".", label=f"{curve.name} (numbers: tau)")
    note = f"mean and range of {seeds} seeds" if seeds > 1 else "one seed"
    # Below the picture, where it hides nothing.
    axes.legend(fontsize=8, title=note, title_fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.10), ncol=3,
                frameon=False)


def _label(axes: Axes, mark: Mark, text: str, taken: list[Bbox], *, colour: str | None = None, size: int = 8) -> None:
    """Write beside a mark, at the first place that hides nothing; where all do, at the place that hides least."""
    renderer: Any = axes.figure.canvas.get_renderer()  # type: ignore[attr-defined]
    best: tuple[float, Any, Bbox] | None = None
    for dx, dy in _PLACES:
        side = "left" if dx > 0 else "right" if dx < 0 else "center"
        line = {"arrowstyle": "-", "color": "0.5", "linewidth": 0.5, "shrinkB": 4} if abs(dx) + abs(dy) > _FAR else None
        note = axes.annotate(text, _mean(mark), xytext=(dx, dy), textcoords="offset points", ha=side, fontsize=size,
                             color=colour or _TEXT, zorder=5, arrowprops=line)
        note.update_positions(renderer)
        box = Text.get_window_extent(note, renderer)  # of the words, without the line that leads to the mark
        hidden = sum(_overlap(box, other) for other in taken)
        inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1 and axes.bbox.y0 <= box.y0 <= box.y1 <= axes.bbox.y1
        cost = hidden + (0 if inside else 1e6)
        if best is None or cost < best[0]:
            if best is not None:
                best[1].remove()
            best = (cost, note, box)
        else:
            note.remove()
        if cost == 0:
            break
    if best is not None:
        taken.append(best[2])


def _overlap(one: Bbox, two: Bbox) -> float:
    width = min(one.x1, two.x1) - max(one.x0, two.x0)
    height = min(one.y1, two.y1) - max(one.y0, two.y0)
    return max(width, 0.0) * max(height, 0.0)


def _list(figure: Figure, marks: Sequence[Mark]) -> None:
    """The numbers' names, right of the picture; smaller the more there are."""
    step = min(0.028, 0.86 / len(marks))
    size = max(4.5, min(8.0, 380 * step))
    for number, mark in enumerate(marks, 1):
        x, y = _mean(mark)
        figure.text(0.66, 0.92 - number * step, f"{number}  {mark.name}  ({x:.1f} / {y:.1f})", fontsize=size,
                    color=_TEXT, va="center")
