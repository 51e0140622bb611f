"""One stage of HML on a host's own training loop: the script's globals are wrapped for its length, then put back."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator
from typing import Any

from torch import nn

from ..batch_statistics import keep_batch_statistics
from ..errors import HMLError
from ..method.memory import StageMemory
from ..training.checkpoint import plain
from ..training.seeding import seed_everything
from ..training.stage_loader import StageBatches, stage_loader
from ..training.stage_method import StageMethod
from ..training.stages import Stage
from . import hook_points
from .bound import TRAINING_DATA
from .environment import check_disk
from .interrupt import Interrupt
from .pair_sampling import leave_out_ignored
from .plan import Plan
from .ranks import rank_and_world
from .relation_losses import RelationLosses
from .replay import Replay, watch_samplers
from .restart import checkpointer_class, restore_schedule
from .run_lock import RunLock
from .self_check import SelfCheck
from .sharing import share_pooling
from .training_data import apply_stage, check_same, orientation_groups
from .unused import small_groups
from .validation import mean_recall

_log = logging.getLogger("maskrcnn_benchmark.hml")


class StageDriver:
    """Ties a :class:`StageMethod` to a host's training script for one stage.

    Args:
        namespace: the script's globals.
        cfg: the stage's config (its OUTPUT_DIR and SOLVER.MAX_ITER are the stage's).
        plan, stage, memory: the run, its stage, and what the previous stage handed on.
        interrupt: asked after every step whether to save and leave.
        lock: of the run's folder, looked at after every step.
    """

    def __init__(self, namespace: dict[str, Any], cfg, plan: Plan, stage: Stage, memory: StageMemory | None,
                 interrupt: Interrupt, lock: RunLock) -> None:
        self.namespace, self.cfg, self.plan, self.stage = namespace, cfg, plan, stage
        self.original = {name: namespace[name] for name in (*hook_points.SCRIPT_NAMES, *hook_points.OPTIONAL_NAMES)
                         if namespace.get(name) is not None}
        self.method = StageMethod(cfg.HML, stage, memory)
        self.rank, self.world = rank_and_world()
        self.iteration = 0
        self.saved_iteration = -1
        self.restored_iteration: int | None = None
        self.ended_early = False
        self.start_file = ""  # see fine_tune
        self.head: Any = None  # of a class of the host, whose attributes are the host's
        self.checkpointer: Any = None
        self.scheduler: Any = None
        self.interrupt, self.lock = interrupt, lock
        self._model_bytes = self._momentum_bytes = 0
        self.losses = RelationLosses(self.method, plan.num_classes)

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Replace the script's globals for the length of the block."""
        replaced = {
            "build_detection_model": self._build_model,
            "make_optimizer": self._make_optimizer,
            "make_lr_scheduler": self._make_lr_scheduler,
            "make_data_loader": self._make_data_loader,
            "DetectronCheckpointer": checkpointer_class(self.original["DetectronCheckpointer"], self),
            "clip_grad_norm": self._clip_grad_norm,
        }
        if "run_val" in self.original:
            replaced["run_val"] = self.interrupt.stoppable(self.original["run_val"])
        if self.cfg.HML.VAL_METRIC == "mR" and "inference" in self.original:
            replaced["inference"] = self._inference
        self.namespace.update(replaced)
        try:
            yield
        finally:
            self.namespace.update({name: self.original[name] for name in replaced})

    # -- construction -----------------------------------------------------------------------------------------------

    def _build_model(self, cfg, *args, **kwargs) -> nn.Module:
        seed_everything(self.cfg.HML.SEED, self.stage.index)
        model = self.original["build_detection_model"](cfg, *args, **kwargs)
        self._model_bytes = sum(t.numel() * t.element_size() for t in model.state_dict().values())
        self.head = head = hook_points.relation_head(model)
        tracked = (*hook_points.TRACKED, *(hook_points.EXTRACTORS if cfg.HML.MR.EXTRACTORS else ()))
        self.method.on_stage_start(head, hook_points.RELATION_HEAD + ".", tracked, Replay)
        if self.method.teacher is not None:
            share_pooling(head, self.method.teacher.head)
            if not cfg.MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL:
                hook_points.teacher_reads_labels(self.method.teacher.head.predictor)
        elif self.stage.index < self.stage.count and cfg.HML.CR.WEIGHT > 0:
            self.losses.on_first = SelfCheck(head, cfg.MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL)
        if self.stage.policy == "only":
            leave_out_ignored(head.samp_processor, self.stage.labels)
        watch_samplers(head, lambda: self.losses.call)
        self.losses.attach(head)
        model.register_forward_pre_hook(self._before_forward)
        model.register_forward_hook(self._after_forward)
        return model

    def _make_optimizer(self, *args, **kwargs):
        optimizer = self.original["make_optimizer"](*args, **kwargs)
        trained = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        self._momentum_bytes = sum(p.numel() * p.element_size() for p in trained)
        optimizer.register_step_post_hook(self._after_step)
        return optimizer

    def _make_lr_scheduler(self, *args, **kwargs):
        self.scheduler = self.original["make_lr_scheduler"](*args, **kwargs)
        return self.scheduler

    def _make_data_loader(self, cfg, mode="train", *args, **kwargs):
        loader = self.original["make_data_loader"](cfg, mode, *args, **kwargs)
        if mode == "train":
            return self._training_loader(loader)
        if mode == "val" and self.restored_iteration is not None:
            # The first moment at which a resumed run has all that this needs: model, schedule and validation loader.
            self.ended_early = self._finish_interrupted_iteration(loader)
            self.restored_iteration = None
        return loader

    def _training_loader(self, loader):
        if self.iteration < self.stage.iterations:
            check_disk(str(self.stage.folder), self._model_bytes + self._momentum_bytes)
        dataset, head = loader.dataset, self.cfg.MODEL.ROI_RELATION_HEAD
        check_same(dataset, self.plan.digests[TRAINING_DATA])
        counted = apply_stage(
            dataset, self.stage, self.plan.num_classes, self.cfg.HML, head.BATCH_SIZE_PER_IMAGE, head.POSITIVE_FRACTION
        )
        detected = not head.USE_GT_BOX
        self.method.on_data(counted, self.cfg.SOLVER.IMS_PER_BATCH if detected else None)
        groups = orientation_groups(dataset, self.cfg.DATALOADER.ASPECT_RATIO_GROUPING)
        if said := small_groups(groups, self.cfg.SOLVER.IMS_PER_BATCH):
            _log.warning("HML: %s: %s", self.stage.title(), said)
        batches = StageBatches(
            groups, batch=self.cfg.SOLVER.IMS_PER_BATCH, iterations=self.stage.iterations, start=self.iteration,
            seed=(self.cfg.HML.SEED, self.stage.index), rank=self.rank, world=self.world,
            stopped=lambda: self.ended_early,
        )
        return stage_loader(loader, batches)

    # -- forward ----------------------------------------------------------------------------------------------------

    def _before_forward(self, model: nn.Module, inputs: tuple) -> None:
        if self.head.training:  # the model itself may stay in eval, its frozen parts with it
            self.iteration += 1
            seed_everything(self.cfg.HML.SEED, self.stage.index, self.iteration, self.rank)
            if self.start_file and self.stage.index == 1:
                keep_batch_statistics(self.head)
        elif self.world > 1:  # in a validation: all processes do equally many batches
            self.interrupt.check()

    def _after_forward(self, model: nn.Module, inputs: tuple, output: Any) -> Any:
        if self.head.training:
            self.losses.add_to(hook_points.loss_dict(output))
        return output

    # -- step -------------------------------------------------------------------------------------------------------

    def _clip_grad_norm(self, named_parameters, *args, **kwargs):
        named_parameters, norm = list(named_parameters), math.nan
        if self.method.on_gradients():
            norm = self.original["clip_grad_norm"](named_parameters, *args, **kwargs)
            if norm is None or math.isfinite(norm):
                return norm
            # One inf in a parameter that is not tracked. Hosts now hold 0 * inf = NaN gradients; the step must not be.
            self.method.on_skipped()
        _log.warning("HML: iteration %d: a gradient holds inf or NaN; the step is skipped", self.iteration)
        if self.iteration >= self.stage.iterations:
            self.method.check_trained(self.iteration)  # here, before the host saves the last iteration
        for _, parameter in named_parameters:
            parameter.grad = None
        return norm

    def _after_step(self, optimizer, args, kwargs) -> None:
        self.method.on_step(self.iteration)
        self.lock.check()
        self.interrupt.check()

    def save_now(self) -> None:
        """Write a checkpoint of the current iteration through the host's checkpointer, unless there is one."""
        if self.iteration and self.saved_iteration != self.iteration:
            self.checkpointer.save(f"model_{self.iteration:07d}", iteration=self.iteration)

    # -- validation -------------------------------------------------------------------------------------------------

    def _inference(self, *args, **kwargs):
        return mean_recall(self.original["inference"], self.stage.folder / "hml_val", self.rank, args, kwargs)

    # -- restart ----------------------------------------------------------------------------------------------------

    def on_loaded(self, state: dict[str, Any] | None, extra: dict[str, Any]) -> None:
        """The host has loaded what the stage begins with (``state`` None), or a checkpoint with this resume file."""
        if state is None:  # beyond the host's own load, which copies a detector into the extractors
            self.method.on_fresh_start(self.head)
        self.method.on_parameters(self.head)
        if state is not None:
            self._restore(state, extra)

    def training_state(self) -> dict[str, Any]:
        """What the host's checkpoint lacks, at this instant (after the step, before validation and schedule)."""
        amp: Any = self.original.get("amp")
        return {
            "iteration": self.iteration,
            "provenance": self.plan.provenance(self.stage),
            "hml": self.method.state_dict(),
            "scheduler": plain(self.scheduler.state_dict()),
            "amp": plain(amp.state_dict()) if hasattr(amp, "state_dict") else {},
        }

    def _restore(self, state: dict[str, Any], extra: dict[str, Any]) -> None:
        """Put a resume file's content back; the host has loaded weights and optimizer already."""
        if extra.get("iteration") != state["iteration"]:
            raise HMLError(f"the checkpoint is of iteration {extra.get('iteration')} and its resume file of "
                           f"{state['iteration']}; delete last_checkpoint beside them to start the stage afresh")
        self.iteration = self.restored_iteration = self.saved_iteration = state["iteration"]
        self.method.load_state_dict(state["hml"])
        restore_schedule(self.scheduler, state["scheduler"])
        amp: Any = self.original.get("amp")
        if state["amp"] and hasattr(amp, "load_state_dict"):
            amp.load_state_dict(state["amp"])
        _log.info("HML: %s resumes after iteration %d", self.stage.title(), state["iteration"])

    def _finish_interrupted_iteration(self, val_loaders: Any) -> bool:
        """Do what the interrupted run would have done after its last save: validation if due, then the schedule's step.

        Hosts save before both, so that a checkpoint alone would skip them and the run would differ from one piece.

        Returns:
            True if the schedule had thereby ended the stage early (MAX_DECAY_STEP).
        """
        cfg, iteration, result = self.cfg, self.restored_iteration, None
        if iteration >= cfg.SOLVER.MAX_ITER:
            return False
        if cfg.SOLVER.TO_VAL and iteration % cfg.SOLVER.VAL_PERIOD == 0 and "run_val" in self.original:
            result = self.namespace["run_val"](
                cfg, self.checkpointer.model, val_loaders, self.world > 1, logging.getLogger("maskrcnn_benchmark")
            )
        if cfg.SOLVER.SCHEDULE.TYPE != "WarmupReduceLROnPlateau":
            self.scheduler.step()
            return False
        self.scheduler.step(result, epoch=iteration)
        return self.scheduler.stage_count >= cfg.SOLVER.SCHEDULE.MAX_DECAY_STEP
