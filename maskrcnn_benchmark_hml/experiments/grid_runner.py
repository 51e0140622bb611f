"""Runs a grid: the detector if one is needed, then the trainings, then the further tests."""

from __future__ import annotations

from collections.abc import Sequence

from .demo import prepare_detector
from .grid import Grid
from .grid_runs import GridRun, Options, test_runs, training_runs
from .pool import run_all
from .run import RunFailed, RunResult


def run_grid(
    grid: Grid, options: Options, jobs: int
) -> tuple[list[tuple[GridRun, RunResult]], list[RunFailed]]:
    """Run what is not finished: the detector if one is needed, then all trainings, then the further tests.

    One run has one thread, whatever the number of jobs: sums in another order would give other digits.

    Returns:
        Finished runs in the grid's order, and failures; a failed run does not stop the others.
    """
    detector = None
    if grid.needs_detector:
        try:
            detector = prepare_detector(options.data, options.detector_folder)
        except RunFailed as failure:
            return [], [failure]
    trainings = training_runs(grid, options, detector)
    done, failures = _run(trainings, options.iterations, jobs)
    further, more_failures = _run(test_runs(grid, options, [run for run, _ in done]), 1, jobs)
    return [*done, *further], [*failures, *more_failures]


def _run(
    runs: Sequence[GridRun], iterations: int, jobs: int
) -> tuple[list[tuple[GridRun, RunResult]], list[RunFailed]]:
    # Two variants of a grid may be one run, such as HML under its own defaults and under the same numbers written out.
    chosen = list({run.output: run.run for run in runs}.values())
    results = run_all(chosen, iterations, jobs, threads=1, keep_going=True) if chosen else []
    found = {one.output: result for one, result in zip(chosen, results)}
    failures = [result for result in results if isinstance(result, RunFailed)]
    done = [(run, result) for run in runs if isinstance(result := found[run.output], RunResult)]
    return done, failures
