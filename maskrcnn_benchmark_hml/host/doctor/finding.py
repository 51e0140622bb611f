"""One line of ``hml doctor``: the result of one check."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

OK = "ok"
HANDLED = "handled"  # differs from SGB, and HML handles it
PARTLY = "partly"  # HML runs, but a part of HML or of the fork does not
BREAKS = "breaks"  # HML does not run

#: State and text, from a check; the text says what differs and what to do.
Result = tuple[str, str]
FINE: Result = (OK, "")


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    subject: str
    state: str
    text: str = ""


def further(owner: str, names: list[str], usual: Collection[str], then: str) -> Result:
    """``handled`` if there are names beside the usual ones, else fine."""
    other = [name for name in names if name not in usual]
    return (HANDLED, f"{owner} also takes {', '.join(other)}; {then}") if other else FINE


def some(names: list[str], limit: int = 4) -> str:
    """The first names of a list, and how many more there are."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")
