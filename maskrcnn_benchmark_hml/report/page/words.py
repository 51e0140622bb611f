"""Names in sentences."""

from __future__ import annotations

from collections.abc import Sequence

_MOST = 4


def listed(names: Sequence[str]) -> str:
    """The names with commas; of many the first ones and how many more there are."""
    if len(names) <= _MOST:
        return ", ".join(names)
    return f"{', '.join(names[: _MOST - 1])} and {len(names) - _MOST + 1} more"
