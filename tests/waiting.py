"""How tests wait: for an event, and never for less time than a busy machine may need."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds after which a process counts as hung, so that the tests end at all. No test measures with it: what takes
#: seconds on a quiet machine may take minutes on a busy one and is right all the same.
HUNG = 1800


def until(condition: Callable[[], object], possible: Callable[[], bool] = lambda: True) -> None:
    """Return once ``condition()`` is true.

    Args:
        possible: False once it can no longer become true, for instance because the process has ended.
    """
    deadline = time.monotonic() + HUNG
    while not condition():
        assert possible() and time.monotonic() < deadline
        time.sleep(0.05)
