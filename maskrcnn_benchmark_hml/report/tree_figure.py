"""A drawing of a predicate tree: one row block per group, one column per layer."""

from __future__ import annotations

from pathlib import Path

from ..method.tree import PredicateTree
from .drawing import Axes, Rectangle, colormaps, new_figure
from .figure_files import write_figure
from .fonts import readable

# Layer 1 to 10, from coarse to fine; text on them is black.
_COLOURS = [colour for name in ("Pastel1", "Pastel2") for colour in colormaps[name].colors]  # type: ignore[attr-defined]
_LINE = 0.235  # inches per row
_COLUMN = 3.0  # inches per layer
_MARGIN = 0.25


def draw_tree(tree: PredicateTree, path: str | Path) -> Path:
    """Draw a tree into a PNG file (written aside, then moved into place) and return its path.

    Groups stand below each other, the most frequent first; from left to right the layers. A line leads from a group's
    most frequent predicate to its other members. The number behind a predicate is its count in the training split.

    Raises:
        HMLError: the folder cannot be written.
    """
    with readable([*tree.predicates, tree.builder, tree.vectors or ""]):
        return _draw(tree, Path(path))


def _draw(tree: PredicateTree, path: Path) -> Path:
    heights = [_group_height(tree, group) for group in tree.groups]
    rows = sum(heights) + 0.35 * len(heights)
    width = 2 * _MARGIN + _COLUMN * tree.num_layers
    height = 2 * _MARGIN + 0.75 + rows * _LINE
    figure = new_figure(width, height)
    axes = figure.add_axes((_MARGIN / width, _MARGIN / height, 1 - 2 * _MARGIN / width, 1 - 2 * _MARGIN / height))
    axes.set_xlim(0, tree.num_layers)
    axes.set_ylim(rows + 0.75 / _LINE, 0)
    axes.axis("off")
    _title(axes, tree)
    top = 0.75 / _LINE
    for group, lines in zip(tree.groups, heights):
        _draw_group(axes, tree, group, top)
        top += lines + 0.35
    write_figure(figure, path, "png")
    return path


def _columns(tree: PredicateTree, group: tuple[str, ...]) -> list[list[str]]:
    return [[name for name in group if tree.layers[name] == k] for k in range(1, tree.num_layers + 1)]


def _group_height(tree: PredicateTree, group: tuple[str, ...]) -> int:
    return max(len(column) for column in _columns(tree, group))


def _title(axes: Axes, tree: PredicateTree) -> None:
    made = f"{tree.builder} predicate tree: {len(tree.predicates)} predicates, {len(tree.groups)} groups"
    if tree.vectors is not None:
        made += f"\n{tree.vectors}, threshold {tree.threshold:g}"
    axes.text(0.02, 0.1, made, va="top", ha="left", fontsize=9)
    total = max(1, sum(tree.counts.values()))
    for k in range(1, tree.num_layers + 1):
        names = tree.layer(k)
        share = sum(tree.counts[name] for name in names) / total
        head = f"layer {k}: {len(names)} predicates, {share:.0%} of relations"
        axes.text(k - 0.98, 0.58 / _LINE, head, va="center", ha="left", fontsize=8.5, weight="bold")


def _draw_group(axes: Axes, tree: PredicateTree, group: tuple[str, ...], top: float) -> None:
    position = {
        name: (column, top + row)
        for column, names in enumerate(_columns(tree, group))
        for row, name in enumerate(names)
    }
    head_column, head_row = position[group[0]]
    for name in group:
        column, row = position[name]
        if column > head_column:
            start, bend = head_column + 0.82, head_column + 0.91
            axes.plot([start, bend, bend, column + 0.02], [head_row + 0.5, head_row + 0.5, row + 0.5, row + 0.5],
                      color="0.6", linewidth=0.8, solid_joinstyle="round")  # fmt: skip
        colour = _COLOURS[(tree.layers[name] - 1) % len(_COLOURS)]
        box = Rectangle((column + 0.02, row + 0.06), 0.80, 0.88, facecolor=colour, edgecolor="0.7", lw=0.5)
        axes.add_patch(box)
        axes.text(column + 0.04, row + 0.52, name, va="center", ha="left", fontsize=8.5)
        count = f"{tree.counts[name]:,}"
        axes.text(column + 0.805, row + 0.52, count, va="center", ha="right", fontsize=7.5, color="0.25")
