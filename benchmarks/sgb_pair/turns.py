"""The other end of the line to :class:`sgb_pair.pair.Side`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import IO, Any


class Finished(BaseException):
    """Raised inside a training loop when the comparison is over; no handler of errors may hold it back."""


class Turns:
    """The job's end of the line to :class:`sgb_pair.pair.Side`.

    Attributes:
        facts: what the job wants to say at its end.
    """

    def __init__(self, requests: IO[str], answers: IO[str]) -> None:
        self.requests, self.answers = requests, answers
        self.facts: dict[str, Any] = {}
        self._set_up = False

    def answer(self, **content: Any) -> None:
        self.answers.write(json.dumps(content) + "\n")
        self.answers.flush()

    def next(self) -> bool:
        """Waits for a turn; False: there are no more. The first call says that the set-up is done."""
        if not self._set_up:
            self._set_up = True
            self.answer(ready=True)
        return json.loads(self.requests.readline()) == "turn"

    def done(self, seconds: float) -> None:
        self.answer(seconds=seconds)

    def each(self, work: Callable[[], Any], share: int = 1) -> None:
        """Times ``work`` whenever it is this side's turn, in seconds per ``share``."""
        while self.next():
            start = time.perf_counter()
            work()
            self.done((time.perf_counter() - start) / share)
