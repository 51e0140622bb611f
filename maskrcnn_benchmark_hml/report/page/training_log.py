"""The training log of a run, ``metrics.jsonl``, as curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...curves import Line, whole_lines
from ...run_folder import CURVES

#: Points of a curve that the page keeps for each stage; more of them are averaged in groups.
MOST_POINTS = 150
LOSS, RATE, SECONDS, MEMORY = "loss", "lr", "seconds", "memory_mb"

Point = tuple[float, float]


@dataclass(frozen=True)
class TrainingLog:
    """A run's training.

    Attributes:
        stages: number of stages.
        iterations: of each stage that began.
        training: quantity (loss, each loss term, lr, seconds, memory_mb) -> stage -> (iteration in the stage, value).
        terms: the quantities that are loss terms, in the order of the file.
        validation: metric -> stage -> (iteration in the stage, value).
        damaged: number of lines that could not be read.
    """

    stages: int
    iterations: Mapping[int, int]
    training: Mapping[str, Mapping[int, Sequence[Point]]]
    terms: Sequence[str]
    validation: Mapping[str, Mapping[int, Sequence[Point]]]
    damaged: int = 0

    def segments(self, curve: Mapping[int, Sequence[Point]]) -> list[list[Point]]:
        """A curve over the iterations of all stages together: one list of points for each stage."""
        before, made = 0, []
        for stage, iterations in self.iterations.items():
            points = [(before + x, y) for x, y in curve.get(stage, ())]
            if points:
                made.append(thinned(points))
            before += iterations
        return made


def read_log(root: Path) -> TrainingLog | None:
    """The log of the training in an OUTPUT_DIR; None if it has none. A line that a killed process tore is counted.

    Raises:
        HMLError: the file cannot be read.
    """
    path = root / CURVES
    if not path.is_file():
        return None
    lines, damaged = whole_lines(path)
    made = _Curves()
    damaged += sum(not made.take(line) for line in lines)
    iterations = dict(sorted(made.iterations.items()))
    return TrainingLog(made.stages, iterations, made.training, tuple(made.terms), made.validation, damaged)


class _Curves:
    """Collects the lines of a file."""

    def __init__(self) -> None:
        self.training: dict[str, dict[int, list[Point]]] = {}
        self.validation: dict[str, dict[int, list[Point]]] = {}
        self.terms: dict[str, None] = {}
        self.iterations: dict[int, int] = {}
        self.stages = 1

    def take(self, line: Line) -> bool:
        """Whether the line's values are numbers; one with others changes nothing."""
        stage, iteration, stages = line["stage"], line["iteration"], line["stages"]
        try:
            curves, values = self.training, self._values(line)
            if "validation" in line:
                curves, values = self.validation, {str(line["validation"]["metric"]): line["validation"]["value"]}
            numbers = {name: float(value) for name, value in values.items() if value is not None}
        except (KeyError, TypeError, ValueError, AttributeError):
            return False
        self.stages = max(self.stages, stages, stage)
        self.iterations[stage] = max(self.iterations.get(stage, 0), iteration)
        self.terms.update(dict.fromkeys(line.get("terms", {})))
        for name, value in numbers.items():
            if math.isfinite(value):  # others leave a gap
                curves.setdefault(name, {}).setdefault(stage, []).append((iteration, value))
        return True

    @staticmethod
    def _values(line: Mapping[str, Any]) -> dict[str, Any]:
        return {} if "validation" in line else {
            LOSS: line["loss"], **line.get("terms", {}), **{key: line.get(key) for key in (RATE, SECONDS, MEMORY)}
        }  # fmt: skip


def is_share(metric: str) -> bool:
    """Whether a validation's metric is a fraction, such as R@100; a fork may return another number."""
    return "@" in metric


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most ``most`` points: the means of groups of neighbours of the same size."""
    size = math.ceil(len(points) / most)
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]
