"""Checkpoints of a stage: the host's own file, made atomic, with HML's resume file beside it."""

from __future__ import annotations

import inspect
import logging
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HMLError
from ..files import ASIDE, put_in_place, write_text
from ..run_folder import last_checkpoint, newest_checkpoint
from ..training.checkpoint import read_state, write_state
from .fine_tune import start_stage

if TYPE_CHECKING:
    from .stage_driver import StageDriver

_log = logging.getLogger("maskrcnn_benchmark.hml")


def checkpointer_class(base: type, driver: StageDriver) -> type:
    """The host's checkpointer class with atomic saves and complete restarts.

    Order of a save: checkpoint aside, rename, resume file, the run's settings, then ``last_checkpoint``: killed
    anywhere, the folder still names a whole pair, and only a folder with a checkpoint is bound to settings.
    """

    class StageCheckpointer(base):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__(*args, **kwargs)
            driver.checkpointer = self

        def save(self, name: str, **kwargs) -> None:
            super().save(name + ASIDE, **kwargs)

        def tag_last_checkpoint(self, last_filename: str, *args, **kwargs) -> None:
            """``args``: a fork's own. A file that it calls its best, and not its last, is put in place and no more."""
            whole = self._put_in_place(last_filename)
            if args or kwargs:
                given = inspect.signature(super().tag_last_checkpoint).bind(last_filename, *args, **kwargs).arguments
                if not given.get("is_last", True):
                    super().tag_last_checkpoint(str(whole), *args, **kwargs)
                    return
            driver.saved_iteration = driver.iteration
            write_state(whole, driver.training_state(), driver.cfg.HML.KEEP_STATES)
            driver.plan.bind()
            write_text(last_checkpoint(self.save_dir), str(whole))

        def tag_best_checkpoint(self, best_filename: str, *args, **kwargs) -> None:
            super().tag_best_checkpoint(str(self._put_in_place(best_filename)), *args, **kwargs)

        def _put_in_place(self, named: str) -> Path:
            """Give a file that was written aside its own name; RTPB and others name it without its folder."""
            folder = Path(self.save_dir)
            for written in (Path(named), folder / named, folder / Path(named).name):
                whole = written.with_name(written.name.replace(ASIDE + ".pth", ".pth"))
                if written.is_file():
                    put_in_place(written, whole)
                    return whole
                if whole.is_file():  # tagged twice
                    return whole
            raise HMLError(f"the benchmark calls {named} a checkpoint, which it has not written to {folder}; "
                           "look at the save() of its checkpointer")

        def get_checkpoint_file(self, *args, **kwargs) -> str:
            if args or kwargs:  # a fork's own: its best file
                return super().get_checkpoint_file(*args, **kwargs)
            return str(newest_checkpoint(self.save_dir) or "")

        def load(self, *args, **kwargs) -> dict:
            resuming = self.has_checkpoint()
            state = read_state(self.get_checkpoint_file()) if resuming else None
            try:
                extra = super().load(*args, **kwargs)
                if state is None and driver.start_file:
                    start_stage(driver, super().load)
            except (EOFError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
                name = self.get_checkpoint_file() if resuming else (args or [kwargs.get("f")])[0]
                remedy = "restore it, or delete last_checkpoint beside it to start the stage afresh" if resuming else \
                    "give another MODEL.PRETRAINED_DETECTOR_CKPT or MODEL.WEIGHT"
                raise HMLError(f"the checkpoint {name} does not load ({str(error).splitlines()[0]}); {remedy}") \
                    from error
            driver.on_loaded(state, extra)
            return extra

    return StageCheckpointer


def restore_schedule(scheduler: Any, state: dict[str, Any]) -> None:
    """Put a learning-rate schedule's state back; the milestones stay those of the stage's present length."""
    milestones = getattr(scheduler, "milestones", None)
    scheduler.load_state_dict(state)
    if milestones is not None and list(milestones) != list(scheduler.milestones):
        _log.info("HML: the stage is longer than before; SOLVER.STEPS, scaled to it, are now %s (before: %s)",
                  list(milestones), list(scheduler.milestones))
        scheduler.milestones = milestones
