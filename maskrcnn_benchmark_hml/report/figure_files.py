"""A figure as files: PNG for looking, SVG for printing; the same figure gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..files import written_aside
from .drawing import Figure, rc_context

FORMATS = ("png", "svg")


def save_figure(figure: Figure, path: str | Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write ``path`` with the suffix of each of the formats and return the paths.

    Raises:
        HMLError: the folder cannot be written.
    """
    paths = [Path(path).with_name(f"{Path(path).name}.{kind}") for kind in formats]
    for kind, target in zip(formats, paths):
        write_figure(figure, target, kind)
    return paths


def write_figure(figure: Figure, path: str | Path, kind: str) -> None:
    """Write one file of one of FORMATS, aside and then into place.

    Raises:
        HMLError: the folder cannot be written.
    """
    # Without date and random identifiers.
    metadata = {"Date": None} if kind == "svg" else None
    with written_aside(path, "picture") as aside, rc_context({"svg.hashsalt": "hml"}):
        figure.savefig(aside, format=kind, metadata=metadata)
