"""Many runs, several at a time."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any, overload

from ..errors import HMLError
from ..machine import usable_cores
from .process import stop_processes
from .progress import PoolProgress, clock
from .run import Run, RunFailed, RunResult, check_run, perform


def headline(metrics: Mapping[str, Any]) -> str:
    """A finished run's result in a few words; ``metrics`` as in its metrics.json."""
    keys = ("mAP@0.5",) if metrics["mode"] == "detection" else ("R@50", "mR@50")
    return ", ".join(f"{key} {100 * metrics[key]:.1f} %" for key in keys)


@overload
def run_all(runs: Sequence[Run], iterations: int, jobs: int, *, threads: int | None = None) -> list[RunResult]: ...


@overload
def run_all(
    runs: Sequence[Run], iterations: int, jobs: int, *, threads: int | None = None, keep_going: bool
) -> list[RunResult | RunFailed]: ...


def run_all(
    runs: Sequence[Run], iterations: int, jobs: int, *, threads: int | None = None, keep_going: bool = False
) -> list[Any]:
    """Perform the runs, ``jobs`` at a time, with a live view of the progress; finished ones are kept.

    Every run gets an equal share of the cores, one thread at least: with more threads than cores the small
    operations of a training step wait for each other many times longer than they compute.

    Args:
        iterations: training iterations of a run that does not say its own, for the estimate of the time left.
        threads: CPU threads of each run, in place of its share of the cores.
        keep_going: after a failure run the other runs nevertheless.

    Returns:
        One result per run, in the order given; under ``keep_going`` the failure of a run that failed.

    Raises:
        HMLError: a run's folder holds other settings; found before anything runs.
        RunFailed: the first failure. The other running runs are asked to save and stop; the same call continues them.
    """
    if jobs < 1:
        raise HMLError(f"the number of jobs is {jobs}; give a whole number of at least 1")
    finished = [check_run(run) for run in runs]
    jobs = max(min(jobs, finished.count(False)), 1)
    progress = PoolProgress(finished.count(False), jobs, iterations)
    return _Pool(runs, finished, progress, threads or max(usable_cores() // jobs, 1), keep_going).results(jobs)


class _Pool:
    """Runs, each in a thread that waits for its process."""

    def __init__(
        self, runs: Sequence[Run], finished: Sequence[bool], progress: PoolProgress, threads: int, keep_going: bool
    ) -> None:
        self.runs, self.finished, self.progress = runs, finished, progress
        self.threads, self.keep_going = threads, keep_going
        self.children: set[subprocess.Popen] = set()
        self.stopping = threading.Event()

    def results(self, jobs: int) -> list[RunResult | RunFailed]:
        """One per run, ``jobs`` at a time; raises the first failure that ends the pool."""
        with ThreadPoolExecutor(jobs) as executor:
            futures: list[Future] = [executor.submit(self._one, index) for index in range(len(self.runs))]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                failed = [future for future in done if future.exception() is not None]
            finally:
                # After a failure or an interruption: nothing new starts, the processes save their state and end.
                self.stopping.set()
                stop_processes(list(self.children))
                self.progress.clear()
        if failed:
            failed[0].result()  # raises
        return [future.result() for future in futures]

    def _started(self, child: subprocess.Popen) -> None:
        self.children.add(child)
        if self.stopping.is_set():
            stop_processes([child])

    def _one(self, index: int) -> RunResult | RunFailed | None:
        run, place = self.runs[index], f"[{index + 1}/{len(self.runs)}]"
        if self.stopping.is_set():
            return None
        if not self.finished[index]:
            self.progress.begin(run.name, run.iterations)
        try:
            result = perform(run, lambda state: self.progress.update(run.name, state), self._started, self.threads)
        except RunFailed as failure:
            if not self.keep_going or self.stopping.is_set():
                raise
            self.progress.end(run.name, f"{place} {failure}")
            return failure
        ending = f"finished before, kept: {run.output}" if result.skipped else clock(result.seconds)
        said = f"{place} {run.name}: {headline(result.metrics)} ({ending})"
        warning = run.warning()
        self.progress.end(run.name, said if warning is None else f"{said}\n    its last warning: {warning}")
        return result
