"""What a grid costs: its runs, those that have finished, the iterations to train, and about how long that takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..run_folder import FINAL
from .grid import Grid
from .grid_runs import GridRun, Options, run_lengths, training_runs
from .progress import clock
from .run import check_run, seconds_spent


@dataclass(frozen=True)
class Cost:
    """The trainings of a grid.

    Attributes:
        runs: all of them; those that two variants share count once.
        finished: those that need no training any more.
        iterations: still to train; an interrupted run counts as a whole.
        seconds: estimated for that, one run at a time; None if no run of the output folder has finished.
        tests: runs that only test a checkpoint once more; their time is not estimated.
    """

    runs: int
    finished: int
    iterations: int
    seconds: float | None
    tests: int = 0
    detector: bool = False

    def describe(self, jobs: int) -> str:
        """The cost in one line, with ``jobs`` runs at a time."""
        left = self.runs - self.finished
        parts = [f"{self.runs} runs to train, {self.finished} of them finished; {self.iterations:,} iterations left"]
        if self.tests:
            parts.append(f"{self.tests} tests of trained checkpoints")
        if self.detector:
            parts.append("a detector is trained first")
        if not left:
            parts.append("no training time")
        elif self.seconds is None:
            parts.append("the estimated time is shown after the first iterations")
        else:
            at_once = min(jobs, left)
            took = clock(self.seconds / at_once)
            parts.append(f"about {took} ({at_once} at a time, from the times of finished runs)")
        return f"Cost: {'; '.join(parts)}."


def grid_cost(grid: Grid, options: Options) -> Cost:
    """The cost of a grid, from what its output folder holds; nothing is written."""
    detector = options.detector_folder / "detector" / f"{FINAL}.pth" if grid.needs_detector else None
    missing = detector is not None and not detector.is_file()
    # Runs that need a detector have their folders named after it: without one, none of them can have begun.
    known = _only_predcls(grid) if missing else grid
    runs = {run.output: run for run in training_runs(known, options, detector)}.values() if known.variants else ()
    left = [run for run in runs if not check_run(run.run)]
    lengths = [(run.predictor, run.task, run.run.iterations or 0) for run in left]
    total = len(runs)
    if missing:
        new = [(predictor, task, sum(run_lengths(variant, options))) for _ in options.seeds
               for variant in grid.variants if not variant.after
               for predictor in variant.predictors for task in variant.tasks if task != "predcls"]
        lengths, total = [*lengths, *new], total + len(new)
    tests = len(options.seeds) * sum(len(v.predictors) * len(v.tasks) for v in grid.variants if v.after)
    paces = _paces([run for run in runs if run not in left])
    return Cost(total, len(runs) - len(left), sum(n for *_, n in lengths), _seconds(lengths, paces), tests, missing)


def _only_predcls(grid: Grid) -> Grid:
    tasks = [replace(variant, tasks=tuple(task for task in variant.tasks if task == "predcls"))
             for variant in grid.variants]
    return replace(grid, variants=tuple(variant for variant in tasks if variant.tasks))


def _paces(finished: Iterable[GridRun]) -> dict[tuple[str, str], float]:
    """Seconds per iteration, tests included, of each predictor and task of which a run has finished."""
    spent: dict[tuple[str, str], list[float]] = {}
    for run in finished:
        both = spent.setdefault((run.predictor, run.task), [0.0, 0.0])
        both[0] += seconds_spent(run.run)
        both[1] += run.run.iterations or 0 or 0
    return {key: seconds / iterations for key, (seconds, iterations) in spent.items()}


def _seconds(runs: Iterable[tuple[str, str, int]], paces: dict[tuple[str, str], float]) -> float | None:
    """Of (predictor, task, iterations); where no run of a kind has finished, the mean pace of the others stands in."""
    if not paces:
        return None
    mean = sum(paces.values()) / len(paces)
    return sum(iterations * paces.get((predictor, task), mean) for predictor, task, iterations in runs)
