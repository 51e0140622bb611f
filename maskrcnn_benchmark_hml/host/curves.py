"""Writes the training curves of a host's training: its loss terms, validation results, and HML's terms.

The script's globals are wrapped for the length of a stage. Nothing that is computed changes, and the loss is read
from the device only at a log step: SGB's scripts read it themselves, at every step, right after.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..compat.peak_memory import peak_memory_mb
from ..curves import CurveFile, Line, log_period
from ..run_folder import CURVES
from . import hook_points
from .events import EventFiles
from .ranks import rank_and_world

#: One line in so many has the terms that are not among the host's losses: MR's value is a pass over all P parameters.
_RARELY = 4


class Curves:
    """The curves of one stage, or of a training without HML; rank 0 alone writes.

    Args:
        cfg: the run's settings.
        namespace: the script's globals.
        iterations: length of the stage.
        iteration: says the number of the iteration in progress, or of the last one between two.
        terms: terms that are not among the host's losses, asked for at one log step in four.
        stage, stages: 1-based number, and their count.
    """

    def __init__(self, cfg: Any, namespace: dict[str, Any], iterations: int, iteration: Callable[[], int],
                 terms: Callable[[], Mapping[str, float]] = dict, stage: int = 1, stages: int = 1) -> None:
        self.cfg, self.namespace, self.iterations = cfg, namespace, iterations
        self.iteration, self.terms = iteration, terms
        self.stage, self.stages = stage, stages
        self._period = log_period(iterations)
        self._file: CurveFile | None = None
        self._events: EventFiles | None = None
        self._optimizer: Any = None
        self._noted = self._validated = -1
        self._mark = 0.0
        self._seconds: list[float] = []

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Within, the script's globals tell what they compute. To be entered last, around what they then are."""
        wrappers = {"make_optimizer": self._optimizer_maker, "run_val": self._validation,
                    "reduce_loss_dict": self._reduction}
        original = {name: self.namespace[name] for name in wrappers if self.namespace.get(name) is not None}
        if rank_and_world()[0] != 0 or not self.cfg.OUTPUT_DIR:
            original = {}
        self.namespace.update({name: wrappers[name](value) for name, value in original.items()})
        try:
            yield
        finally:
            self.namespace.update(original)
            for file in (self._file, self._events):
                if file is not None:
                    file.close()

    def _optimizer_maker(self, make: Callable) -> Callable:
        @functools.wraps(make)
        def made(*args, **kwargs):
            self._optimizer = make(*args, **kwargs)
            return self._optimizer

        return made

    def _reduction(self, reduce: Callable) -> Callable:
        @functools.wraps(reduce)
        def reduced(*args, **kwargs):
            losses = reduce(*args, **kwargs)
            self._step(losses)
            return losses

        return reduced

    def _step(self, losses: Mapping[str, torch.Tensor]) -> None:
        """After the forward of a step, with its losses, the mean over all processes."""
        iteration, now = self.iteration(), time.perf_counter()
        if iteration == self._noted:
            return
        if self._file is None:
            self._open(done=iteration - 1)
        if self._mark:
            self._seconds.append(now - self._mark)
        self._noted, self._mark = iteration, now
        last = iteration == self.iterations
        if iteration % self._period and not last:
            return
        terms = self.terms() if last or iteration % (_RARELY * self._period) == 0 else {}
        values = torch.stack([value.detach().float() for value in losses.values()]).tolist()
        seconds = sum(self._seconds) / len(self._seconds) if self._seconds else float("nan")
        self._seconds.clear()
        self._add(self._opened.train(
            iteration, sum(values), {**dict(zip(losses, values)), **terms},
            lr=self._optimizer.param_groups[-1]["lr"], seconds=seconds, memory_mb=round(peak_memory_mb()),
        ))

    def _validation(self, validate: Callable) -> Callable:
        @functools.wraps(validate)
        def validated(*args, **kwargs):
            begin = time.perf_counter()
            value = validate(*args, **kwargs)
            self._mark += time.perf_counter() - begin if self._mark else 0
            iteration = self.iteration()
            # A resumed SGB validates before its first step, too (PRE_VAL), which an uninterrupted one does not.
            number = isinstance(value, (int, float))  # SGB's detector script returns none, FGPL two
            if number and iteration != self._validated and iteration % self.cfg.SOLVER.VAL_PERIOD == 0:
                if self._file is None:
                    self._open(done=iteration, validates=True)
                self._validated = iteration
                self._add(self._opened.validation(iteration, self._metric(), float(value)))
            return value

        return validated

    def _metric(self) -> str:
        """What the host's validation returns."""
        if not self.cfg.MODEL.RELATION_ON:
            return "mAP@0.5"
        mean = self.cfg.HML.ENABLED and self.cfg.HML.VAL_METRIC == "mR" and "inference" in self.namespace
        return "mR@100" if mean else hook_points.validation_metric()

    @property
    def _opened(self) -> CurveFile:
        assert self._file is not None
        return self._file

    def _open(self, done: int, validates: bool = False) -> None:
        """Open the files at the first event: a start that fails before has changed nothing."""
        run = Path(self.cfg.OUTPUT_DIR)
        self._file = CurveFile(run / CURVES, self.stage, self.stages, done, validates)
        if self.cfg.HML.TENSORBOARD:
            self._events = EventFiles(run, self.stage, done)
            for line in self._file.newest:  # TensorBoard ignores the earlier one
                self._events.add(line)

    def _add(self, line: Line) -> None:
        if self._events is not None:
            self._events.add(line)
