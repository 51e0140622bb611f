"""What a training run shows: a progress bar on stderr and the benchmark's lines in the log."""

from __future__ import annotations

import datetime
import io
import json
import logging
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from maskrcnn_benchmark.utils.comm import is_main_process
from maskrcnn_benchmark.utils.metric_logger import MetricLogger
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from maskrcnn_benchmark_hml.compat.peak_memory import peak_memory_mb

PROGRESS_FILE = "HML_PROGRESS_FILE"


class ReportedBar(tqdm):
    """A bar that is not drawn: its states go to the file that HML_PROGRESS_FILE names, as JSON lines."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        if msg != "":  # an empty one wipes the bar
            state = {"what": self.desc.rstrip(": "), "done": self.n, "total": self.total, "terms": self.postfix or ""}
            with suppress(OSError), open(os.environ[PROGRESS_FILE], "a", encoding="utf-8") as file:
                file.write(json.dumps(state) + "\n")
        return True


def _is_reported(path: str) -> bool:
    """Whether the states go to ``path``. A process that a run starts inherits the variable but not the descriptor
    ``/dev/fd/N``, whose number may then belong to another file: only a pipe is written to there."""
    if not path.startswith("/dev/fd/"):
        return bool(path)
    with suppress(OSError):
        return stat.S_ISFIFO(os.stat(path).st_mode)
    return False


def progress_bar(iterable: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """A tqdm bar of the main process: drawn on a terminal, or reported to a file if HML_PROGRESS_FILE names one."""
    if is_main_process() and _is_reported(os.environ.get(PROGRESS_FILE, "")):
        return ReportedBar(iterable, file=io.StringIO(), **options)
    return tqdm(iterable, disable=None if is_main_process() else True, dynamic_ncols=True, **options)


class TrainingLog:
    """Loss terms, learning rate and time left, once per iteration on the bar and every so often in the log.

    Args:
        max_iter: last iteration.
        start_iter: iterations done before this run.
        period: iterations between two lines; default 200, or a tenth of a short run.
    """

    def __init__(self, logger: logging.Logger, max_iter: int, start_iter: int = 0, period: int | None = None) -> None:
        self.logger = logger
        self.max_iter = max_iter
        self.start_iter = start_iter
        self.period = period or max(1, min(200, max_iter // 10))
        self.meters = MetricLogger(delimiter="  ")
        self._started = self._mark = time.perf_counter()
        self._bar: tqdm | None = None

    @contextmanager
    def running(self) -> Iterator[TrainingLog]:
        """Shows the bar; log lines written meanwhile appear above it."""
        bar = progress_bar(total=self.max_iter, initial=self.start_iter, desc="train", unit="it")
        # The redirection adds a console handler to a logger without one, so it is used only with a bar to keep clear.
        drawn = not bar.disable and not isinstance(bar, ReportedBar)
        with bar, nullcontext() if not drawn else logging_redirect_tqdm([self.logger]):
            self._bar = bar
            self.restart_clock()
            yield self
        self._bar = None

    def restart_clock(self) -> None:
        """Leave out what happened since the last iteration (a validation) from the time per iteration."""
        self._mark = time.perf_counter()

    def data_ready(self) -> None:
        """The batch has arrived."""
        self.meters.update(data=time.perf_counter() - self._mark)

    def step_done(self, iteration: int, losses: Mapping[str, float], lr: float) -> None:
        """One iteration is over; ``losses`` hold ``loss``, the sum, and its terms."""
        now = time.perf_counter()
        self.meters.update(**losses, time=now - self._mark)
        self._mark = now
        if self._bar is not None and not self._bar.disable:
            shown = {name.replace("_loss", ""): f"{value:.3f}" for name, value in losses.items()}
            self._bar.set_postfix({**shown, "lr": f"{lr:.2g}"}, refresh=False)
            self._bar.update(1)
        if iteration % self.period == 0 or iteration == self.max_iter:
            left = datetime.timedelta(seconds=int(self.meters.time.global_avg * (self.max_iter - iteration)))
            self.logger.info(
                "eta: %s  iter: %d  %s  lr: %.6f  max mem: %.0f", left, iteration, self.meters, lr, peak_memory_mb()
            )

    def finish(self) -> None:
        """Log the total time."""
        seconds = time.perf_counter() - self._started
        done = max(self.meters.time.count if "time" in self.meters.meters else 0, 1)
        self.logger.info("Total training time: %s (%.4f s / it)", datetime.timedelta(seconds=int(seconds)),
                         seconds / done)
