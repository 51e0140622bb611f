"""Drawings of scene graphs for the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .runs import PageRun
from .table import Table


@dataclass(frozen=True)
class Scene:
    """One picture with the scene graphs of several runs, and what it shows as a table."""

    title: str
    image: str
    alternative: str
    table: Table


@dataclass(frozen=True)
class Scenes:
    """The drawings, and sentences on what is missing."""

    drawn: Sequence[Scene] = field(default=())
    notes: Sequence[str] = field(default=())


def scenes(runs: Sequence[PageRun], pictures: int) -> Scenes:
    """Drawings of the pictures in which the runs differ most."""
    return Scenes()
