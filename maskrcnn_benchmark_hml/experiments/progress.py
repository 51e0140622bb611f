"""The progress of one run, from the bars of its process, and of a pool of runs."""

from __future__ import annotations

import heapq
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

LIVE_INTERVAL = 0.2  # seconds between two drawings on a terminal
PLAIN_INTERVAL = 20.0  # seconds between two reports where there is none


def clock(seconds: float) -> str:
    """``75 -> 1:15``, ``3700 -> 1:01:40``."""
    minutes, seconds = divmod(int(round(max(seconds, 0.0))), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


@dataclass
class Position:
    """How far a run is, from the bars that its process reports. Times are those of time.monotonic.

    Attributes:
        iterations: training iterations of the whole run; the bars of several stages add up to it.
        start: when the run's process started.
    """

    name: str
    iterations: int
    start: float
    what: str = ""
    done: int = 0
    total: int = 0
    terms: str = ""
    _before: int = 0
    _train_done: int = 0
    _train_total: int = 0
    _bar_start: float = 0.0
    _first: tuple[float, float] | None = None

    def update(self, state: Mapping[str, Any], now: float) -> None:
        """Take one state of a bar: what it counts, done, total, terms."""
        # A test's bar is named after its dataset; what counts here is the split at the end of that name.
        what, done, total = state["what"].rsplit("_", 1)[-1], state["done"], state["total"]
        if (what, total) != (self.what, self.total) or done < self.done:
            self.what, self.total, self._bar_start = what, total, now
        if what == "train":
            # A validation's bar comes between two states of the same training bar; only a new stage starts lower.
            if total != self._train_total or done < self._train_done:
                self._before += self._train_total
            self._train_done, self._train_total = done, total
        self.done, self.terms = done, state["terms"]
        if self._first is None and self.fraction > 0:
            # A continued run does not start at 0: its pace counts from the first state that was seen.
            self._first = (now, self.fraction)

    @property
    def is_training(self) -> bool:
        return self.what == "train"

    @property
    def trained(self) -> int:
        """Training iterations done, over all stages."""
        return min(self._before + self._train_done, self.iterations)

    @property
    def fraction(self) -> float:
        return self.trained / self.iterations

    def seconds_left(self, now: float, whole: float | None) -> float | None:
        """Estimated seconds to the end of the run; None while nothing is known.

        Args:
            whole: seconds that other runs took.
        """
        if self.fraction == 1.0 and not self.is_training:
            return (now - self._bar_start) * (self.total - self.done) / self.done if self.done else None
        if self._first is not None and self.fraction > self._first[1]:
            pace = (now - self._first[0]) / (self.fraction - self._first[1])
            return pace * (1.0 - self.fraction)
        return None if whole is None else max(whole - (now - self.start), 0.0)

    def line(self) -> str:
        """What is shown of the run: its name, where it is, and the loss terms."""
        at = f"train {self.trained}/{self.iterations}" if self.is_training else f"{self.what} {self.done}/{self.total}"
        return "  ".join(part for part in (self.name, at if self.what else "starting", self.terms) if part)


@dataclass
class PoolProgress:
    """The live view of a pool of runs: a line for each running one, and the time left.

    On a terminal the lines are redrawn in place; elsewhere they are printed every 20 s. Safe to call from threads.

    Attributes:
        to_run: runs that were not finished when the pool started.
        jobs: how many run at a time.
        iterations: training iterations of each that does not say its own.
    """

    to_run: int
    jobs: int
    iterations: int
    stream: TextIO = field(default_factory=lambda: sys.stderr)

    def __post_init__(self) -> None:
        self.live = self.stream.isatty()
        self.durations: list[float] = []
        self.running: dict[str, Position] = {}
        self._drawn_lines = 0
        self._drawn_at = time.monotonic()
        self._lock = threading.RLock()

    def begin(self, name: str, iterations: int | None = None) -> None:
        """A run's process starts; it will train for ``iterations``."""
        with self._lock:
            self.running[name] = Position(name, iterations or self.iterations, time.monotonic())

    def update(self, name: str, state: Mapping[str, Any]) -> None:
        """Take one state of a progress bar of a run."""
        with self._lock:
            now = time.monotonic()
            self.running[name].update(state, now)
            if now - self._drawn_at >= (LIVE_INTERVAL if self.live else PLAIN_INTERVAL):
                self._drawn_at = now
                self._draw(self.lines(now))

    def end(self, name: str, text: str) -> None:
        """A run has ended: print a lasting line about it."""
        with self._lock:
            position = self.running.pop(name, None)
            if position is not None:
                self.durations.append(time.monotonic() - position.start)
            self.clear()
            print(text, file=self.stream, flush=True)

    def lines(self, now: float) -> list[str]:
        """A line for each run in progress, the time left at the end of the last one."""
        lines = [position.line() for position in self.running.values()]
        left = self.seconds_left(now)
        done = f"{len(self.durations)} of {self.to_run} runs done"
        return [*lines, done if left is None else f"{done}, about {clock(left)} left"]

    def seconds_left(self, now: float) -> float | None:
        """Estimated seconds to the end of the last run, or None while nothing is known."""
        whole = sum(self.durations) / len(self.durations) if self.durations else None
        lefts = [left for position in self.running.values() if (left := position.seconds_left(now, whole)) is not None]
        if len(lefts) < len(self.running) or not lefts:
            return None
        if whole is None:
            starts = [position.start for position in self.running.values()]
            whole = max(now - start + left for start, left in zip(starts, lefts))
        free_at = [*lefts, *[0.0] * (self.jobs - len(lefts))]
        heapq.heapify(free_at)
        for _ in range(self.to_run - len(self.durations) - len(lefts)):
            heapq.heappush(free_at, heapq.heappop(free_at) + whole)
        return max(free_at)

    def clear(self) -> None:
        """Wipe what was drawn on a terminal."""
        with self._lock:
            if self._drawn_lines:
                self.stream.write(f"\x1b[{self._drawn_lines}A\x1b[J")
                self.stream.flush()
                self._drawn_lines = 0

    def _draw(self, lines: list[str]) -> None:
        if self.live:
            self.clear()
            columns = shutil.get_terminal_size().columns - 1
            lines = [line[:columns] for line in lines]
            self._drawn_lines = len(lines)
        self.stream.write("\n".join(lines) + "\n")
        self.stream.flush()
