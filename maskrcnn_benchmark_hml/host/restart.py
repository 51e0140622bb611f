"""Checkpoints of a stage: the host's own file, made atomic, with HML's resume file beside it."""

from __future__ import annotations

import logging
import pickle
import zipfile
from pathlib import Path
from typing import Any, Protocol

from ..errors import HMLError
from ..files import ASIDE, put_in_place, write_text
from ..run_folder import last_checkpoint
from ..training.checkpoint import plain, read_state, write_state
from ..training.stage_method import StageMethod
from ..training.stages import Stage
from .fine_tune import start_stage
from .plan import resolve_checkpoint

_log = logging.getLogger("maskrcnn_benchmark.hml")


class Restartable(Protocol):
    """What a restart reads and sets of the stage that is driven.

    Attributes:
        cfg, stage, method: the stage's config, the stage, and what the method does in it.
        original: the script's own globals by name.
        world: number of processes.
        head, scheduler, checkpointer: the student's relation head, the schedule, and the checkpointer made here.
        start_file: a relation model to start from, "" for none (fine_tune).
        saved_iteration: iteration of the newest checkpoint, -1 for none.
        iteration: training forwards done. restored_iteration: the same as read from a checkpoint, until made use of.
    """

    cfg: Any
    stage: Stage
    method: StageMethod
    original: dict[str, Any]
    world: int
    head: Any
    scheduler: Any
    checkpointer: Any
    start_file: str
    saved_iteration: int
    iteration: int
    restored_iteration: int | None


def checkpointer_class(base: type, driver: Restartable) -> type:
    """The host's checkpointer class with atomic saves and complete restarts.

    Order of a save: checkpoint aside, rename, resume file, then ``last_checkpoint``: killed anywhere, the folder still
    names a whole pair.
    """

    class StageCheckpointer(base):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            driver.checkpointer = self

        def save(self, name: str, **kwargs) -> None:
            super().save(name + ASIDE, **kwargs)

        def tag_last_checkpoint(self, last_filename: str) -> None:
            written = Path(self.save_dir) / Path(last_filename).name  # RTPB and others leave out the folder
            whole = written.with_name(written.name.replace(ASIDE + ".pth", ".pth"))
            put_in_place(written, whole)
            driver.saved_iteration = driver.iteration
            write_state(whole, training_state(driver), driver.cfg.HML.KEEP_STATES)
            write_text(last_checkpoint(whole.parent), str(whole))

        def get_checkpoint_file(self) -> str:
            named = super().get_checkpoint_file()
            return str(resolve_checkpoint(Path(self.save_dir), named)) if named else named

        def load(self, *args, **kwargs) -> dict:
            resuming = self.has_checkpoint()
            state = read_state(self.get_checkpoint_file()) if resuming else None
            try:
                extra = super().load(*args, **kwargs)
                if state is None and driver.start_file:
                    start_stage(driver, super().load)
            except (EOFError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
                name = self.get_checkpoint_file() if resuming else (args or [kwargs.get("f")])[0]
                raise HMLError(f"the checkpoint {name} does not load ({str(error).splitlines()[0]}); "
                               "restore it, or delete last_checkpoint beside it to start the stage afresh") from error
            if state is None:
                set_starting_weights(driver)
            driver.method.on_parameters(driver.head)
            if state is not None:
                restore(driver, state, extra)
            return extra

    return StageCheckpointer


def set_starting_weights(driver: Restartable) -> None:
    """What a stage that begins starts from beyond the host's own load, which copies a detector into the extractors."""
    driver.method.on_fresh_start(driver.head)


def training_state(driver: Restartable) -> dict[str, Any]:
    """What the host's checkpoint lacks, at this instant (after the step, before validation and schedule)."""
    amp = driver.original.get("amp")
    return {
        "iteration": driver.iteration,
        "hml": driver.method.state_dict(),
        "scheduler": plain(driver.scheduler.state_dict()),
        "amp": plain(amp.state_dict()) if hasattr(amp, "state_dict") else {},
    }


def restore(driver: Restartable, state: dict[str, Any], extra: dict[str, Any]) -> None:
    """Put a resume file's content back; the host has loaded weights and optimizer already."""
    if extra.get("iteration") != state["iteration"]:
        raise HMLError(
            f"the checkpoint is of iteration {extra.get('iteration')} and its resume file of {state['iteration']}; "
            "delete last_checkpoint beside them to start the stage afresh"
        )
    driver.iteration = driver.restored_iteration = driver.saved_iteration = state["iteration"]
    driver.method.load_state_dict(state["hml"])
    milestones = getattr(driver.scheduler, "milestones", None)
    driver.scheduler.load_state_dict(state["scheduler"])
    if milestones is not None and list(milestones) != list(driver.scheduler.milestones):
        _log.info("HML: the stage is longer than before; SOLVER.STEPS, scaled to it, are now %s (before: %s)",
                  list(milestones), list(driver.scheduler.milestones))
        driver.scheduler.milestones = milestones
    amp = driver.original.get("amp")
    if state["amp"] and hasattr(amp, "load_state_dict"):
        amp.load_state_dict(state["amp"])
    _log.info("HML: %s resumes after iteration %d", driver.stage.title(), state["iteration"])


def finish_iteration(driver: Restartable, val_loaders: Any) -> bool:
    """Do what the interrupted run would have done after its last save: validation if due, then the schedule's step.

    Returns:
        True if the schedule had thereby ended the stage early (MAX_DECAY_STEP).
    """
    cfg, iteration, result = driver.cfg, driver.restored_iteration, None
    if iteration >= cfg.SOLVER.MAX_ITER:
        return False
    if cfg.SOLVER.TO_VAL and iteration % cfg.SOLVER.VAL_PERIOD == 0 and "run_val" in driver.original:
        result = driver.original["run_val"](
            cfg, driver.checkpointer.model, val_loaders, driver.world > 1, logging.getLogger("maskrcnn_benchmark")
        )
    if cfg.SOLVER.SCHEDULE.TYPE != "WarmupReduceLROnPlateau":
        driver.scheduler.step()
        return False
    driver.scheduler.step(result, epoch=iteration)
    return driver.scheduler.stage_count >= cfg.SOLVER.SCHEDULE.MAX_DECAY_STEP


