"""Running figures of a training run."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Any

import torch


class SmoothedValue:
    """A series of numbers: median and mean of the last ``window_size``, and the mean of all."""

    def __init__(self, window_size: int = 20) -> None:
        self.deque: deque[float] = deque(maxlen=window_size)
        self.total = 0.0
        self.count = 0

    def update(self, value: float) -> None:
        self.deque.append(value)
        self.total += value
        self.count += 1

    @property
    def median(self) -> float:
        return median(self.deque) if self.deque else float("nan")

    @property
    def avg(self) -> float:
        return sum(self.deque) / len(self.deque) if self.deque else float("nan")

    @property
    def global_avg(self) -> float:
        return self.total / self.count if self.count else float("nan")


class MetricLogger:
    """Named :class:`SmoothedValue` s, reachable as attributes; ``str()`` is the benchmark's log line."""

    def __init__(self, delimiter: str = "\t") -> None:
        self.meters: dict[str, SmoothedValue] = {}
        self.delimiter = delimiter

    def update(self, **values: float | torch.Tensor) -> None:
        """Add one number to each named series."""
        for name, value in values.items():
            self.meters.setdefault(name, SmoothedValue()).update(float(value))

    def __getattr__(self, name: str) -> Any:
        meters = self.__dict__.get("meters", {})
        if name in meters:
            return meters[name]
        raise AttributeError(f"{type(self).__name__} has no series named {name!r}")

    def __str__(self) -> str:
        return self.delimiter.join(
            f"{name}: {meter.median:.4f} ({meter.global_avg:.4f})" for name, meter in self.meters.items()
        )
