"""The training curves of a run, ``metrics.jsonl``: one JSON object per line, for all stages, in the order of training.

    {"stage": 1, "stages": 2, "iteration": 100, "loss": 1.2, "terms": {...}, "lr": 0.1, "seconds": 0.3, "memory_mb": 9}
    {"stage": 1, "stages": 2, "iteration": 200, "validation": {"metric": "R@100", "value": 0.31}}

docs/metrics.md, "Training curves", says what each number is. No (stage, iteration) stands there twice, whatever
interrupted the run. ``null`` stands for a number that is not finite.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import HMLError
from .file_faults import why_unreadable
from .files import LineFile, write_text

_log = logging.getLogger("maskrcnn_benchmark.hml")
_WHAT = "file of training curves"
#: About so many lines for a stage, but one for at most so many iterations.
_LINES, _PERIOD = 100, 20

Line = dict[str, Any]


def log_period(iterations: int) -> int:
    """Iterations between two lines of a stage of this length: 20, or fewer in a short one, for about 100 lines."""
    return max(1, min(_PERIOD, iterations // _LINES))


def read_curves(path: str | Path) -> list[Line]:
    """The lines of a ``metrics.jsonl``; see :func:`whole_lines`."""
    return whole_lines(path)[0]


def whole_lines(path: str | Path) -> tuple[list[Line], int]:
    """The lines of a ``metrics.jsonl``, and how many were left out: torn by a killed process, or none of its kind.

    Raises:
        HMLError: the file cannot be read.
    """
    try:
        texts = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise HMLError(why_unreadable(path, error, "the training curves of a run")) from error
    lines = [line for text in texts if (line := _parsed(text)) is not None]
    return lines, sum(map(bool, texts)) - len(lines)


def _parsed(text: bytes) -> Line | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    whole = isinstance(line, dict) and all(isinstance(line.get(k), int) for k in ("stage", "stages", "iteration"))
    return line if whole and ("loss" in line or "validation" in line) else None


class CurveFile:
    """Appends the lines of one stage; what an earlier process wrote after the iteration it goes on from is dropped.

    Args:
        path: the file.
        stage, stages: 1-based number of the stage, and their count.
        done: iterations of the stage that are done.
        validates: the validation at ``done`` comes (again), so that its old line goes too.
    """

    def __init__(self, path: Path, stage: int, stages: int, done: int, validates: bool = False) -> None:
        self.stage, self.stages = stage, stages
        #: The lines of this stage at iteration ``done``.
        self.newest: list[Line] = []
        if path.exists():
            self._keep(path, done, validates)
        self._file = LineFile(path, _WHAT)

    def _keep(self, path: Path, done: int, validates: bool) -> None:
        lines, torn = whole_lines(path)
        before = [line for line in lines if _place(line) < (self.stage, done)]
        at = [line for line in lines if done and _place(line) == (self.stage, done)]
        self.newest = [line for line in at if not (validates and "validation" in line)]
        kept = before + self.newest
        if torn:
            _log.warning("HML: %d broken lines of %s are left out; a killed process leaves one", torn, path)
        if torn or kept != lines:
            write_text(path, "".join(map(_text, kept)), _WHAT)

    def train(self, iteration: int, loss: float, terms: Mapping[str, float], **figures: float) -> Line:
        """Append a training line; ``figures`` are lr, seconds and memory_mb."""
        return self._append({"iteration": iteration, "loss": loss, "terms": dict(terms), **figures})

    def validation(self, iteration: int, metric: str, value: float) -> Line:
        """Append a validation line."""
        return self._append({"iteration": iteration, "validation": {"metric": metric, "value": value}})

    def _append(self, content: Line) -> Line:
        line = _finite({"stage": self.stage, "stages": self.stages, **content})
        self._file.write(_text(line))
        return line

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _place(line: Line) -> tuple[int, int]:
    return line["stage"], line["iteration"]


def _text(line: Line) -> str:
    return json.dumps(line, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """The value with 6 significant digits per number, and None for inf and NaN."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
