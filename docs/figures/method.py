"""Draws docs/figures/method.svg, the figure of the method in README.md: python docs/figures/method.py [FILE]."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams.update({"svg.hashsalt": "method", "font.family": "DejaVu Sans"})

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.patches import FancyBboxPatch  # noqa: E402

GREY, BLUE, ORANGE, GREEN = "#eceff1", "#d6e6f5", "#fde5cc", "#dcefdc"
INK = "#263238"


def box(axes: Axes, x: float, y: float, width: float, height: float, colour: str, title: str, lines: str) -> None:
    """A rounded box with a bold title and lines of text below it."""
    patch = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.12", fc=colour, ec=INK, lw=1)
    axes.add_patch(patch)
    axes.text(x + width / 2, y + height - 0.17, title, ha="center", va="top", weight="bold", size=10.5, color=INK)
    axes.text(x + width / 2, y + height - 0.56, lines, ha="center", va="top", size=9, color=INK, linespacing=1.45)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """An arrow between two points."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "lw": 1.4, "color": INK, "shrinkA": 0, "shrinkB": 0})


def label(axes: Axes, x: float, y: float, text: str) -> None:
    """A short text beside an arrow."""
    axes.text(x, y, text, ha="center", va="bottom", size=8.5, style="italic", color=INK, linespacing=1.3)


def draw(axes: Axes) -> None:
    """Tree, stage 1, memory, stage 2, checkpoint; and the two loss terms that use the memory."""
    box(axes, 0, 0.2, 2.5, 2.6, GREY, "Predicate tree", "eq. 1-2, from word vectors\nand label counts\n\n"
        "layer 1, coarse:\non, has, near, ...\nlayer 2, fine:\nparked on, riding, ...")
    box(axes, 3.5, 0.2, 2.4, 2.6, BLUE, "Stage 1", "images with a relation\nof layer 1,\nonly the labels of layer 1\n\n"
        "loss: class-balanced\n(eq. 4)")
    box(axes, 6.75, 0.2, 2.35, 2.6, ORANGE, "Memory", "relation head of stage 1\n\nF: Fisher information\n(eq. 8)\n\n"
        "Ω: importance of each\nparameter (eq. 9-11)")
    box(axes, 11.1, 0.2, 2.5, 2.6, BLUE, "Stage 2", "images with a relation\nof layer 2, all labels\n\nloss (eq. 3):\n"
        "class-balanced\n+ CR + λ MR")
    box(axes, 14.5, 0.75, 1.75, 1.5, GREEN, "Result", "an ordinary\nSGB checkpoint")
    arrow(axes, (2.5, 2.0), (3.5, 2.0))
    label(axes, 3.0, 2.06, "layer 1")
    arrow(axes, (5.9, 1.5), (6.75, 1.5))
    arrow(axes, (9.1, 2.05), (11.1, 2.05))
    label(axes, 10.05, 2.11, "CR (eq. 5): similar\npredictions")
    arrow(axes, (9.1, 0.9), (11.1, 0.9))
    label(axes, 10.05, 0.96, "MR (eq. 12): important\nparameters stay close")
    arrow(axes, (13.6, 1.5), (14.5, 1.5))
    axes.plot([1.25, 1.25, 12.35], [2.8, 3.2, 3.2], color=INK, lw=1.4, solid_joinstyle="miter")
    arrow(axes, (12.35, 3.2), (12.35, 2.8))
    label(axes, 6.8, 3.26, "layer 2")


def main(path: Path) -> None:
    """Write the figure; the same matplotlib gives the same bytes."""
    figure, axes = plt.subplots(figsize=(13, 3))
    draw(axes)
    axes.set(xlim=(-0.1, 16.4), ylim=(0.05, 3.75))
    axes.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110, facecolor="white")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".svg"))
