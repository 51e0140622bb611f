"""The signals that ask a program to save and leave, and when a second one means: at once."""

from __future__ import annotations

import signal
import time

STOP = (signal.SIGTERM, signal.SIGINT)
#: What batch systems send before they end a job, and what a terminal sends that is closed.
WARNINGS = tuple(n for name in ("USR1", "USR2", "HUP", "XCPU") if (n := getattr(signal, f"SIG{name}", None)))
#: Seconds. srun sends SIGTERM twice within 40 ms, a process group and its launcher once each: that is one request.
ONE_REQUEST = 2.0


def asking_to_stop() -> tuple[int, ...]:
    """The signals above, without warnings that this process was started to ignore, as nohup does."""
    return (*STOP, *(number for number in WARNINGS if signal.getsignal(number) != signal.SIG_IGN))


class SecondRequest:
    """Called with each signal: whether it asks a second time. A warning never does; it may come every second."""

    def __init__(self) -> None:
        self._since: float | None = None

    def __call__(self, number: int) -> bool:
        if number not in STOP:
            return False
        now = time.monotonic()
        if self._since is None:
            self._since = now
            return False
        return now - self._since >= ONE_REQUEST
