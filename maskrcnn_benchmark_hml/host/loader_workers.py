"""Loader workers that survive the signals which ask a run to stop: batch systems send these to every process.

A worker that dies takes the run with it ("DataLoader worker is killed by signal") before anything is saved.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from torch.utils.data import DataLoader


@contextmanager
def workers_ignore(numbers: Collection[int]) -> Iterator[None]:
    """Within, workers of every DataLoader of this process ignore these signals, from their first instruction on.

    Their own process may still end them by SIGTERM, as torch does with a worker that does not leave by itself.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows has no such signals
        yield
        return
    original = DataLoader.__iter__

    @functools.wraps(original)
    def start_workers(self: DataLoader):
        if self.num_workers and not isinstance(self.worker_init_fn, _EndedByItsParent):
            self.worker_init_fn = _EndedByItsParent(self.worker_init_fn, tuple(numbers))
        # A new process inherits the mask. Here the signals wait, and are delivered as soon as the workers have begun.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers if self.num_workers else ())
        try:
            return original(self)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    DataLoader.__iter__ = start_workers  # type: ignore[method-assign]
    try:
        yield
    finally:
        DataLoader.__iter__ = original  # type: ignore[method-assign]


class _EndedByItsParent:
    """A ``worker_init_fn`` before the loader's own: SIGTERM, which is blocked, is obeyed when the parent sent it."""

    def __init__(self, own: Callable[[int], None] | None, numbers: Collection[int]) -> None:
        self.own, self.numbers = own, numbers

    def __call__(self, worker: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, self.numbers)  # a fork server may be older than the mask
        if hasattr(signal, "sigwaitinfo"):  # not on macOS
            threading.Thread(target=_wait_for_parent, daemon=True).start()
        else:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))
        if self.own is not None:
            self.own(worker)


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    number = None if parent is None else parent.pid
    while signal.sigwaitinfo((signal.SIGTERM,)).si_pid != number:
        pass
    os._exit(0)  # the status that torch and multiprocessing take for an ordinary end
