"""What a cell's process shows of itself, and what the whole series of cells shows of that."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, TextIO

# A tqdm bar: "train:  35%|###   | 42/120 [00:12<00:23,  3.40it/s, loss_rel=1.2]"
BAR = re.compile(
    r"^\r?(?P<what>.*?):?\s*\d+%\|[^|]*\|\s*(?P<done>\d+)/(?P<total>\d+) \[[^<\]]*<[^,\]]*(?:,\s*[^,\]]*)?"
    r"(?:,\s*(?P<terms>[^\]]*))?\]"
)
PLAIN_INTERVAL = 15.0  # seconds between progress lines where there is no terminal


def split_stream(stream: BinaryIO) -> Iterator[tuple[str, bool]]:
    """Lines of a stream as they come, each with True if it is a state of a progress bar.

    Bars end their states with a carriage return, everything else ends with a newline.
    """
    rest = b""
    while block := stream.read1(1 << 16):
        *parts, rest = re.split(rb"[\r\n]+", rest + block)
        for part in parts:
            line = part.decode("utf-8", "replace").rstrip()
            if line:
                yield line, BAR.match(line) is not None
        # tqdm writes the return before a state, not after it: a whole state is shown without waiting for the next.
        text = rest.decode("utf-8", "replace")
        if BAR.match(text) and text.rstrip().endswith("]"):
            yield text.rstrip(), True
            rest = b""
    line = rest.decode("utf-8", "replace").rstrip()
    if line:
        yield line, BAR.match(line) is not None


def clock(seconds: float) -> str:
    """``75 -> 1:15``, ``3700 -> 1:01:40``."""
    minutes, seconds = divmod(int(round(max(seconds, 0.0))), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


@dataclass
class Position:
    """How far a cell is, from the bars it shows: training bars count up to ``iterations``, all others do not."""

    iterations: int
    done_before: int = 0
    done: int = 0
    total: int = 0
    what: str = ""
    terms: str = ""

    def update(self, line: str) -> None:
        """Take one state of a bar; lines that are none are ignored."""
        match = BAR.match(line)
        if match is None:
            return
        what, done, total = match["what"].strip(), int(match["done"]), int(match["total"])
        if (what, total) != (self.what, self.total) or done < self.done:
            if self.is_training:
                self.done_before += self.total
            self.what, self.total = what, total
        self.done, self.terms = done, (match["terms"] or "").strip()

    @property
    def is_training(self) -> bool:
        return self.what.startswith(("train", "stage"))

    @property
    def fraction(self) -> float:
        """Share of the training that is done, 0..1."""
        done = self.done_before + (self.done if self.is_training else 0)
        return min(done / self.iterations, 1.0) if self.iterations else 0.0


class SeriesProgress:
    """The live line of a series of cells: which one, its bar with the loss terms, seconds left here and in all.

    On a terminal the line is redrawn in place; elsewhere a plain line is printed every 15 s.
    """

    def __init__(self, cells: int, iterations: int, stream: TextIO | None = None) -> None:
        self.cells = cells
        self.iterations = iterations
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty()
        self.durations: list[float] = []
        self._width = 0
        self._shown = 0.0
        self.begin("")

    def begin(self, name: str, index: int = 0, to_come: int = 0) -> None:
        """A cell starts; ``index`` counts from 0, ``to_come`` cells after it are still to be run."""
        self.name, self.index, self.to_come = name, index, to_come
        self.position = Position(self.iterations)
        self.start = time.monotonic()
        self.first_fraction: tuple[float, float] | None = None

    def update(self, line: str) -> None:
        """Take one state of a bar of the running cell."""
        self.position.update(line)
        now = time.monotonic()
        if self.live or now - self._shown >= PLAIN_INTERVAL:
            self._shown = now
            self._show(self.line(now))

    def end(self, *, skipped: bool = False) -> None:
        """The running cell has ended."""
        if not skipped:
            self.durations.append(time.monotonic() - self.start)
        self._clear()

    def say(self, text: str) -> None:
        """Print a lasting line."""
        self._clear()
        print(text, file=self.stream, flush=True)

    def line(self, now: float) -> str:
        """The live line at the time ``now`` (seconds of time.monotonic)."""
        at = self.position
        parts = [f"[{self.index + 1}/{self.cells}] {self.name}", f"{at.what} {at.done}/{at.total}".strip()]
        left = self.seconds_left(now)
        if left is not None:
            parts.append(f"{clock(left[0])} left, {clock(left[1])} in all")
        if at.terms:
            parts.append(at.terms)
        return " | ".join(parts)

    def seconds_left(self, now: float) -> tuple[float, float] | None:
        """Estimated seconds left (of this cell, of the series), or None while nothing is known."""
        elapsed, fraction = now - self.start, self.position.fraction
        if self.first_fraction is None and fraction > 0:
            # A resumed cell does not start at 0: the pace counts from the first state that was seen.
            self.first_fraction = (elapsed, fraction)
        whole = sum(self.durations) / len(self.durations) if self.durations else None
        here = None
        if self.first_fraction is not None and fraction > self.first_fraction[1]:
            pace = (elapsed - self.first_fraction[0]) / (fraction - self.first_fraction[1])
            here = pace * (1.0 - fraction)
            whole = whole or elapsed + here
        elif whole is not None:
            here = max(whole - elapsed, 0.0)
        if here is None or whole is None:
            return None
        return here, here + whole * self.to_come

    def _show(self, text: str) -> None:
        if not self.live:
            print(text, file=self.stream, flush=True)
            return
        columns = shutil.get_terminal_size().columns - 1
        text = text[:columns]
        self.stream.write("\r" + text.ljust(self._width))
        self.stream.flush()
        self._width = len(text)

    def _clear(self) -> None:
        if self.live and self._width:
            self.stream.write("\r" + " " * self._width + "\r")
            self.stream.flush()
            self._width = 0
