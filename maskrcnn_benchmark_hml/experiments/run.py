"""One run of an experiment: a normal ``hml run`` in a subprocess and in a folder of its own.

A run that has finished with the same settings is not run again, one that was interrupted is continued by the same
command, and a folder that holds a run with other settings is never touched.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..datasets.layout import DICTS_NAME, H5_NAME, check_file
from ..errors import HMLError
from ..files import file_digest, one_at_a_time, write_json
from ..resources import config_file
from ..run_folder import FINAL, METRICS, RUN_LOCK, RunFolder
from ..run_folder import RUN_LOG as LOG
from ..run_folder import RUN_RECORD as RECORD
from .process import last_warning, run_process

TRAIN_SCRIPT = "tools/relation_train_net.py"
#: Overrides that name a file: what counts is its content.
FILES = ("MODEL.PRETRAINED_DETECTOR_CKPT", "MODEL.WEIGHT", "HML.TREE.FILE")
#: Overrides that change no figure.
NO_MATTER = ("TEST.SAVED_IMAGES",)


class RunFailed(RuntimeError):
    """A run's process ended with an error; the message holds its last words and where its log is."""


@dataclass(frozen=True)
class Run:
    """What to run and where.

    Attributes:
        name: shown to the user, such as ``hml seed 0``.
        config_file: the benchmark's YAML config.
        overrides: flat ``KEY, VALUE, KEY, VALUE`` words put after the config file.
        seed: seeds the whole run (SOLVER.SEED for the plain benchmark, HML.SEED under HML).
        data: dataset folder in the VG format.
        output: the run's own folder (OUTPUT_DIR).
        script: the benchmark script that trains and then tests.
        split: whose results are the run's: ``test`` or ``val``.
    """

    name: str
    config_file: Path
    overrides: tuple[str, ...]
    seed: int
    data: Path
    output: Path
    script: str = TRAIN_SCRIPT
    split: str = "test"

    def command(self) -> list[str]:
        """The command line of the run; it stands in the log, so that a reader can repeat it by hand."""
        seeds = ("SOLVER.SEED", str(self.seed), "HML.SEED", str(self.seed))
        head = [sys.executable, "-m", "maskrcnn_benchmark_hml", "run", "--data", str(self.data), self.script]
        tail = ["--config-file", str(self.config_file), "OUTPUT_DIR", str(self.output)]
        return [*head, *tail, *seeds, *self.overrides]

    def settings(self) -> dict[str, Any]:
        """All that decides the result, by content and not by path, so a moved folder stays valid."""
        if len(self.overrides) % 2:
            raise HMLError(f"the run {self.name!r} has overrides that are not KEY VALUE pairs: {self.overrides}")
        chosen = dict(zip(self.overrides[::2], self.overrides[1::2]))
        for key in NO_MATTER:
            chosen.pop(key, None)
        for key in FILES:
            if chosen.get(key):
                chosen[key] = file_digest(Path(chosen[key])).hex()[:16]
        profile = chosen.get("HML.PROFILE", "paper")
        if profile != "paper":  # that one is the keys' defaults
            chosen["profile"] = file_digest(config_file(f"hml/{profile}.yaml")).hex()[:16]
        return {
            "version": __version__,
            "script": self.script,
            "config": hashlib.sha256(self.config_file.read_bytes()).hexdigest()[:16],
            "data": data_digest(self.data),
            "seed": self.seed,
            **chosen,
        }

    @property
    def iterations(self) -> int | None:
        """Training iterations of the run, its stages together; None if the config file alone says it."""
        chosen = dict(zip(self.overrides[::2], self.overrides[1::2]))
        return int(chosen["SOLVER.MAX_ITER"]) if "SOLVER.MAX_ITER" in chosen else None

    def results(self) -> Path | None:
        """The folder of the split's results, or None if nothing has been tested."""
        found = sorted(self.output.glob(f"inference/*_{self.split}/{METRICS}"))
        return found[0].parent if found else None

    def metrics(self) -> dict[str, Any] | None:
        """The split's metrics (fractions in 0..1), or None if they have not been written."""
        folder = self.results()
        return json.loads((folder / METRICS).read_text("utf-8")) if folder else None

    def warning(self) -> str | None:
        """HML's last warning in the run's log, if it has one."""
        return last_warning(self.output / LOG)


@dataclass(frozen=True)
class RunResult:
    """A finished run: its metrics, its running time in seconds over all sittings, and whether it was there already."""

    run: Run
    metrics: dict[str, Any]
    seconds: float
    skipped: bool


def data_digest(folder: Path) -> str:
    """Digest of the annotations of a dataset folder (the h5 file and the vocabulary), not of the photos."""
    digest = hashlib.sha256()
    for name in (H5_NAME, DICTS_NAME):
        digest.update(file_digest(check_file(folder / name)))
    return digest.hexdigest()[:16]


def check_run(run: Run) -> bool:
    """Look at the run's folder without changing it; True if the run has finished.

    Raises:
        HMLError: the folder holds a run with other settings (names the first one that differs).
    """
    wanted, record = run.settings(), read_record(run)
    if record is None:
        return False
    present = record["settings"]
    for key in sorted(wanted.keys() | present.keys()):
        if wanted.get(key) != present.get(key):
            there, here = present.get(key, "not set"), wanted.get(key, "not set")
            raise HMLError(
                f"{run.output} holds a run with other settings ({key}: {there} there, {here} asked for); "
                "choose another output folder or remove that one"
            )
    return bool(record["finished"]) and run.metrics() is not None


def perform(
    run: Run,
    on_progress: Callable[[Mapping[str, Any]], None] | None = None,
    on_start: Callable[[subprocess.Popen], None] | None = None,
    threads: int | None = None,
) -> RunResult:
    """Start the run unless it has finished, and return its result.

    Args:
        on_progress: called with each state of the child's progress: what, done, total, terms.
        on_start: called with the child process, for a caller that may have to stop it.
        threads: CPU threads of the child, unless OMP_NUM_THREADS says so already; None leaves it to torch.

    Raises:
        HMLError: the folder belongs to other settings, or another process is running this run now.
        RunFailed: the process ended with an error, or without writing its metrics.
    """
    if check_run(run) and (metrics := run.metrics()) is not None:
        return RunResult(run, metrics, seconds_spent(run), skipped=True)
    run.output.mkdir(parents=True, exist_ok=True)
    # The run's own process locks the folder too, should this one be killed.
    with one_at_a_time(run.output / RUN_LOCK, f"another process is running in {run.output}; wait for it or end it"):
        before = seconds_spent(run)
        _write_record(run, before, finished=False)
        start = time.monotonic()
        try:
            failure = run_process(run.command(), run.output / LOG, on_progress, on_start, threads)
        finally:
            seconds = before + time.monotonic() - start
            _write_record(run, seconds, finished=False)
        metrics = run.metrics()
        if failure is None and metrics is None:
            failure = f"it ended without writing inference/*_{run.split}/{METRICS}"
        if failure is not None or metrics is None:
            raise RunFailed(f"the run {run.name!r} failed: {failure} (full log: {run.output / LOG})")
        _write_record(run, seconds, finished=True)
        _drop_steps_on_the_way(run)
    return RunResult(run, metrics, seconds, skipped=False)


def _drop_steps_on_the_way(run: Run) -> None:
    """A finished run keeps each stage's final checkpoint; those before it served only to continue it."""
    for folder in RunFolder(run.output).training_folders():
        if (folder / f"{FINAL}.pth").is_file():
            for path in folder.glob("model_[0-9]*"):
                path.unlink()


def seconds_spent(run: Run) -> float:
    """Running time so far, over all sittings; 0 for a run that has not begun."""
    record = read_record(run)
    return 0.0 if record is None else record["seconds"]


def read_record(run: Run) -> dict[str, Any] | None:
    """Settings, seconds and state of a run that has begun; None for one that has not.

    Raises:
        HMLError: the record is damaged.
    """
    path = run.output / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text("utf-8"))
        record["settings"], record["finished"], record["seconds"]  # noqa: B018  (a KeyError here is a torn record)
    except (ValueError, KeyError, TypeError):
        raise HMLError(f"{path} cannot be read; remove the folder {run.output} to run it anew") from None
    return record


def _write_record(run: Run, seconds: float, *, finished: bool) -> None:
    content = {"name": run.name, "settings": run.settings(), "seconds": round(seconds, 2), "finished": finished}
    write_json(run.output / RECORD, content, "run's record", indent=1)
