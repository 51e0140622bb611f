"""SIGTERM, Ctrl-C and the warnings of batch systems: finish the step, save, leave. All ranks leave at the same step."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from ..errors import Interrupted
from ..signals import SecondRequest, asking_to_stop
from .loader_workers import workers_ignore

_log = logging.getLogger("maskrcnn_benchmark.hml")


class Interrupt:
    """While entered, the signals above set a flag instead of ending the process, and loader workers ignore them.

    A second SIGTERM or SIGINT ends the process at once (see :class:`~..signals.SecondRequest`).

    Args:
        world: number of processes; with more than one the flag is shared in each ``requested`` call.
    """

    def __init__(self, world: int) -> None:
        self.world = world
        self.signal = 0
        self._second_request = SecondRequest()
        self._no_step = False
        self._entered = ExitStack()

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            numbers = asking_to_stop()
            for number in numbers:
                self._entered.callback(signal.signal, number, signal.signal(number, self._note) or signal.SIG_DFL)
            self._entered.enter_context(workers_ignore(numbers))
        return self

    def __exit__(self, *exc) -> None:
        self._entered.close()

    def _note(self, number: int, frame) -> None:
        if self._second_request(number):
            sys.exit(128 + number)
        if not self.signal:
            self.signal = number
            # print() may not be called while the signal has interrupted another print()
            os.write(2, b"hml: finishing this step, then saving ... (again after 2 seconds to leave at once)\n")
        if self._no_step and self.world == 1:
            raise Interrupted(128 + self.signal)

    def requested(self) -> bool:
        """Whether any process was asked to stop."""
        if self.world > 1:
            backend = torch.distributed.get_backend()
            flag = torch.tensor([self.signal], device="cuda" if backend == "nccl" else "cpu")
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
            self.signal = int(flag)
        return self.signal > 0

    def check(self) -> None:
        """Raise Interrupted if any process was asked to stop; called where all of them are after the same step."""
        if self.requested():
            raise Interrupted(128 + self.signal)

    @contextmanager
    def between_steps(self) -> Iterator[None]:
        """Within, no step is in flight: a signal raises Interrupted at once, with several processes at the end."""
        self._no_step = True
        try:
            if self.world == 1:
                self.check()
            yield
        finally:
            self._no_step = False
        self.check()

    def stoppable(self, validate: Callable) -> Callable:
        """A host's validation, which a signal ends at once."""

        @functools.wraps(validate)
        def run(*args: Any, **kwargs: Any) -> Any:
            with self.between_steps():
                return validate(*args, **kwargs)

        return run

    def leave(self, what: str, iteration: int) -> None:
        """End the process with status 128 + signal, saying how to go on."""
        _log.info("HML: interrupted in %s after iteration %d; all is saved, the same command goes on from there",
                  what, iteration)
        raise Interrupted(128 + self.signal)
