"""A table of the page as data: the template writes it, the page's script sorts it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: Kinds of columns. A share is a fraction that is shown in percent with a bar; a change is a difference of two shares.
TEXT, NUMBER, SHARE, CHANGE = "text", "number", "share", "change"
_NONE = "-"
#: Characters from which on a text may be broken into lines.
_LONG, _LONG_HEADING, _LONG_NAME = 28, 20, 18


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        label: its heading.
        kind: one of the kinds above.
        scale: columns of one scale share the length of their bars: the highest value of all has the full length.
    """

    label: str
    kind: str = TEXT
    scale: str = ""

    @property
    def long(self) -> bool:
        """Whether the heading may take several lines."""
        return len(self.label) > _LONG_HEADING


@dataclass(frozen=True)
class Cell:
    """What a reader sees, and the length of the bar in percent of the longest; None without a bar."""

    text: str
    bar: int | None = None

    @property
    def long(self) -> bool:
        """Whether the text may be broken anywhere, like a path."""
        return len(self.text) > _LONG

    @property
    def long_name(self) -> bool:
        """Whether the heading of a row needs room."""
        return len(self.text) > _LONG_NAME


@dataclass(frozen=True)
class Table:
    """A table; the first column heads its row.

    Attributes:
        name: its id in the page.
        caption: says what the numbers are and in which unit.
        rows: values that fit the columns' kinds; None where there is none.
        sortable: whether the script may sort the rows.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]] = field(default=())
    sortable: bool = True

    @property
    def cells(self) -> list[list[Cell]]:
        """The rows as text."""
        longest: dict[str, float] = {}
        for row in self.rows:
            for column, value in zip(self.columns, row):
                if column.kind == SHARE and _known(value):
                    longest[column.scale] = max(longest.get(column.scale, 0.0), value)
        return [[_cell(c, value, longest) for c, value in zip(self.columns, row)] for row in self.rows]


def _known(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _cell(column: Column, value: Any, longest: dict[str, float]) -> Cell:
    if column.kind == TEXT:
        return Cell(_NONE if value is None or value == "" else str(value))
    if not _known(value):
        return Cell(_NONE)
    if column.kind == CHANGE:
        points = round(100 * value, 1)
        return Cell(f"{points:+.1f}" if points else "0.0")
    if column.kind == SHARE:
        highest = longest[column.scale]
        return Cell(f"{100 * value:.1f}", round(100 * value / highest) if highest > 0 else 0)
    return Cell(f"{value:,}" if isinstance(value, int) else f"{value:.4g}")
