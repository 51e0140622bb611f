"""Places for the nodes of a graph, by Graphviz's ``dot``: the program, else the package pygraphviz."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

SECONDS = 20.0
"""Longest time for one graph."""
_BY_PYGRAPHVIZ = (
    "import sys, pygraphviz; text = sys.stdin.buffer.read().decode('utf-8'); "
    "sys.stdout.buffer.write(pygraphviz.AGraph(string=text).draw(prog='dot', format='plain'))"
)


@dataclass(frozen=True)
class Layout:
    """Places in units.

    Attributes:
        centres: of each node. lines: the Bézier curve (3k + 1 points) of each edge.
    """

    width: float
    height: float
    centres: list[tuple[float, float]]
    lines: list[tuple[tuple[float, float], ...]]


@functools.cache
def layout_command() -> tuple[str, ...]:
    """The command that reads DOT and writes a layout; empty if this machine has none."""
    if program := shutil.which("dot"):
        return program, "-Tplain"
    if importlib.util.find_spec("pygraphviz") is not None:
        return sys.executable, "-c", _BY_PYGRAPHVIZ
    return ()


def lay_out(
    sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]], direction: str = "LR"
) -> Layout | None:
    """A layout; None without Graphviz, or if it fails or takes longer than SECONDS.

    Args:
        sizes: (width, height) of each node. edges: (node, node) each, no edge twice.
        direction: of most edges: LR from left to right, TB from top to bottom.
    """
    command = layout_command()
    if not command or not sizes:
        return None
    lines = [f'n{i} [width="{w / 72:.4f}" height="{h / 72:.4f}"]' for i, (w, h) in enumerate(sizes)]
    lines += [f"n{one} -> n{two}" for one, two in edges]
    near = 0.1 if direction == "LR" else 0.15
    source = (
        f'digraph {{ rankdir={direction} nodesep={near} ranksep=0.3 node [shape=box fixedsize=true label=""] '
        "edge [arrowhead=none]\n" + "\n".join(lines) + "\n}\n"
    )
    try:
        done = subprocess.run(command, input=source.encode(), capture_output=True, timeout=SECONDS, check=True)
        return _read(done.stdout.decode(), len(sizes), edges)
    except (OSError, subprocess.SubprocessError, ValueError, LookupError):
        return None


def _read(plain: str, nodes: int, edges: Sequence[tuple[int, int]]) -> Layout:
    """Of Graphviz's format ``plain``: inches, from the lower left corner."""
    rows = [line.split() for line in plain.splitlines()]
    width, height = (72 * float(value) for value in rows[0][2:4])
    centres = [(0.0, 0.0)] * nodes
    lines: dict[tuple[int, int], tuple[tuple[float, float], ...]] = {}
    for row in rows:
        if row[0] == "node":
            centres[int(row[1][1:])] = (72 * float(row[2]), height - 72 * float(row[3]))
        elif row[0] == "edge":
            numbers = [float(value) for value in row[4 : 4 + 2 * int(row[3])]]
            points = tuple((72 * x, height - 72 * y) for x, y in zip(numbers[::2], numbers[1::2]))
            lines[int(row[1][1:]), int(row[2][1:])] = points
    return Layout(width, height, centres, [lines[edge] for edge in edges])
