"""n_0 of eq. 4 where boxes are detected: background pairs as the sampler really returns them.

How many pairs a detector's boxes give is not known before they are detected: annotated boxes, from which an epoch's
background is counted otherwise, give up to 30 times as many. So n_0 is the images of an epoch times the mean number of
background pairs per image in the batches so far, the current one included, over all processes; after ``WINDOW`` steps
it stays. It is a function of the sampled labels alone: the same on each process, and resumable through two sums.
"""

from __future__ import annotations

import logging
from typing import Any

import torch

_log = logging.getLogger("maskrcnn_benchmark.hml")
WINDOW = 200


class BackgroundCount:
    """Mean background pairs per image over the first steps of a stage.

    Attributes:
        pairs, steps: background pairs seen, over all processes, and the steps in which they were.
    """

    def __init__(self) -> None:
        self.pairs, self.steps = 0, 0
        self._images, self._batch = 0, 0

    def begin(self, images: int, batch: int) -> None:
        """Measure.

        Args:
            images: of one epoch. batch: images per step, over all processes.
        """
        self._images, self._batch = images, batch

    @property
    def value(self) -> float | None:
        """n_0: background pairs sampled in one epoch; None where it is not measured, or not yet."""
        return self._images * self.pairs / (self.steps * self._batch) if self._batch and self.steps else None

    def observe(self, labels: torch.Tensor) -> bool:
        """Take in one process's labels (N,) of a training forward; all processes call this in each step.

        Returns:
            True if the value may have changed.
        """
        if not self._batch or self.steps >= WINDOW:
            return False
        pairs = (labels == 0).sum()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(pairs)
        self.pairs, self.steps = self.pairs + int(pairs), self.steps + 1
        value = self.value
        if self.steps == WINDOW and value is not None:
            _log.info("HML: n_0 = %.0f background pairs per epoch, %.1f per image, the mean of the first %d steps",
                      value, value / self._images, WINDOW)
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"pairs": self.pairs, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.pairs, self.steps = state["pairs"], state["steps"]
