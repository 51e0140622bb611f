"""SIGTERM and Ctrl-C: finish the step, save, leave. All ranks leave at the same step."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from typing import Any

import torch

from ..training.stages import Stage

_log = logging.getLogger("maskrcnn_benchmark.hml")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupt:
    """While entered, SIGTERM and SIGINT set a flag instead of ending the process; a second one ends it at once.

    Args:
        world: number of processes; with more than one the flag is shared in each ``requested`` call.
    """

    def __init__(self, world: int) -> None:
        self.world = world
        self.signal = 0
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._old = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *exc) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._old = {}

    def _note(self, number: int, frame) -> None:
        if self.signal:
            sys.exit(128 + number)
        self.signal = number
        print("hml: finishing this step, then saving ... (once more to leave at once)", file=sys.stderr, flush=True)

    def requested(self) -> bool:
        """Whether any process was asked to stop."""
        if self.world > 1:
            backend = torch.distributed.get_backend()
            flag = torch.tensor([self.signal], device="cuda" if backend == "nccl" else "cpu")
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
            self.signal = int(flag)
        return self.signal > 0

    def leave(self, stage: Stage, iteration: int) -> None:
        """End the process with status 128 + signal, saying how to go on."""
        _log.info("HML: interrupted in %s after iteration %d; all is saved, the same command goes on from there",
                  stage.title(), iteration)
        sys.exit(128 + self.signal)
