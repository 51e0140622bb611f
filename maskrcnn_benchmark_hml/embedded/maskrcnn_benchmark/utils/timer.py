"""A stop-watch."""

from __future__ import annotations

import datetime
import time


def get_time_str(seconds: float) -> str:
    """``H:MM:SS``, or seconds with two decimals below one minute."""
    return str(datetime.timedelta(seconds=round(seconds))) if seconds >= 60 else f"{seconds:.2f} s"


class Timer:
    """Adds up the time between ``tic()`` and ``toc()``, in seconds."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.total_time = 0.0
        self.calls = 0
        self.diff = 0.0
        self._start = time.perf_counter()

    def tic(self) -> None:
        self._start = time.perf_counter()

    def toc(self, average: bool = True) -> float:
        """Mean duration so far, or with ``average=False`` the last one."""
        self.diff = time.perf_counter() - self._start
        self.total_time += self.diff
        self.calls += 1
        return self.average_time if average else self.diff

    @property
    def average_time(self) -> float:
        return self.total_time / self.calls if self.calls else 0.0
