"""A figure as files: PNG for looking, SVG for printing; the same figure gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from ..method.aside import written_aside

FORMATS = ("png", "svg")


def save_figure(figure: Figure, path: str | Path) -> list[Path]:
    """Write ``path`` with the suffix of each of FORMATS and return the paths.

    Raises:
        HMLError: the folder cannot be written.
    """
    paths = [Path(path).with_name(f"{Path(path).name}.{kind}") for kind in FORMATS]
    for kind, target in zip(FORMATS, paths):
        # Without date and random identifiers.
        metadata = {"Date": None} if kind == "svg" else None
        with written_aside(target, "picture") as aside, matplotlib.rc_context({"svg.hashsalt": "hml"}):
            figure.savefig(aside, format=kind, metadata=metadata)
    return paths
