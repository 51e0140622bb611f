"""A host's ``train`` with HML around it: one call of it per stage."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from yacs.config import CfgNode

from ..errors import HMLError, Interrupted
from ..method.memory import StageMemory
from ..run_folder import FINAL, check_not_hml, newest_checkpoint
from ..training.importance_facts import write_facts
from ..training.stages import Stage, run_stages
from . import hook_points
from .curves import Curves
from .fine_tune import start_file, without_start
from .idle import turned_off
from .interrupt import Interrupt
from .plain_run import train_plainly
from .plan import Plan, prepare
from .ranks import rank_and_world
from .run_lock import RunLock
from .stage_driver import StageDriver
from .unused import scaled_steps, unused_settings

_log = logging.getLogger("maskrcnn_benchmark.hml")


def wrap_train(namespace: dict[str, Any], script: str, lock: RunLock, checked: Sequence[Plan] = ()) -> None:
    """Replace ``train`` in a training script's globals. With HML.ENABLED False the host's own ``train`` runs, alone.

    Args:
        lock: of the run's folder, looked at after each step.
        checked: plans made until then; one is used if it fits the config that ``train`` is called with.
    """
    original = namespace["train"]

    @functools.wraps(original)
    def train(cfg, *args, **kwargs):
        if not cfg.HML.ENABLED:
            check_not_hml(cfg.OUTPUT_DIR)  # again: a script without a parser was not checked before
            return train_plainly(namespace, lambda: original(cfg, *args, **kwargs), cfg, rank_and_world()[1], lock)
        plan = next((plan for plan in checked if plan.fits(cfg)), None) or prepare(cfg)
        _log.info("HML: %s: %s", script, hook_points.require(namespace, script).describe())
        return train_all_stages(namespace, original, cfg, plan, lock, args, kwargs)

    namespace["train"] = train


def train_all_stages(
    namespace: dict[str, Any], original: Callable, cfg, plan: Plan, lock: RunLock, args: tuple, kwargs: dict
) -> Any:
    """Train every stage with the host's loop; returns the last stage's model, as the host's ``train`` does."""
    rank, world = rank_and_world()
    if rank == 0:
        plan.write()
    _barrier(world)
    if plan.extended:
        _log.info("HML: HML.EXTEND: %s", plan.extended)
    if plan.accepted:
        _log.info("HML: HML.ACCEPT_CHANGED: %s may differ from the run so far", ", ".join(plan.accepted))
    for line in (*turned_off(cfg, plan.stages), *unused_settings(cfg, plan.stages)):
        _log.info("HML: %s", line)
    interrupt = Interrupt(world)
    _log.info("HML: profile %s, tree %s (%d groups), %s", cfg.HML.PROFILE, plan.tree.builder, len(plan.tree.groups),
              "; ".join(f"stage {s.index}: {len(s.labels)} predicates, {s.policy}, {s.iterations} iterations"
                        for s in plan.stages))

    start = start_file(cfg)

    def train_stage(stage: Stage, memory: StageMemory | None) -> Any:
        own = stage_config(cfg, stage)
        own = without_start(own) if start else own
        driver = StageDriver(namespace, own, plan, stage, memory, interrupt, lock)
        driver.start_file = start
        curves = Curves(cfg, namespace, stage.iterations, lambda: driver.iteration, driver.method.unlogged_terms,
                        stage.index, stage.count)
        try:
            with driver.attached(), curves.attached():
                model = original(own, *args, **kwargs)
        except Interrupted:
            driver.save_now()
            interrupt.leave(stage.title(), driver.iteration)
        driver.method.check_trained(driver.iteration)
        if rank == 0:
            # The schedule may end a stage early, where hosts save nothing; a lengthened one has an older final file.
            if not _names_final(stage) or driver.saved_iteration != driver.iteration:
                driver.checkpointer.save(FINAL, iteration=driver.iteration)
            handed_on = driver.method.on_stage_end(driver.head, plan.provenance(stage))
            write_facts(handed_on.provenance["importance"], stage.memory_file.parent)
            _log.info("HML: %s ends after %d iterations%s", stage.title(), driver.iteration, _unusual(driver))
            if not stage.is_last:
                _log.info("HML: memory %s (digest %s)", stage.memory_file, handed_on.save(stage.memory_file)[:12])
        _barrier(world)
        if interrupt.requested():
            interrupt.leave(stage.title(), driver.iteration)
        return model

    with interrupt:
        return run_stages(plan.stages, train_stage)


def stage_config(cfg: CfgNode, stage: Stage) -> CfgNode:
    """The host's config for one stage: its folder, its length, SOLVER.STEPS at the same fractions of that length."""
    own = cfg.clone()
    own.defrost()
    own.OUTPUT_DIR = str(stage.folder)
    own.SOLVER.STEPS = scaled_steps(cfg, stage.iterations)
    own.SOLVER.MAX_ITER = stage.iterations
    own.freeze()
    return own


def _names_final(stage: Stage) -> bool:
    """Whether ``last_checkpoint`` names the stage's final file; SHA-GCL's script names that of its best validation."""
    try:
        found = newest_checkpoint(stage.folder)
    except HMLError:  # which need not have been saved
        return False
    return found is not None and found.stem == FINAL


def _unusual(driver: StageDriver) -> str:
    """What a stage's last line says of an early end and of skipped steps; "" of an ordinary stage."""
    text, skipped = "", driver.iteration - driver.method.tracker.steps
    if driver.iteration < driver.stage.iterations:
        most = driver.cfg.SOLVER.SCHEDULE.MAX_DECAY_STEP
        by_schedule = getattr(driver.scheduler, "stage_count", 0) >= most
        why = (f"the plateau schedule ended it, which had lowered the learning rate {most} times because the "
               "validation result no longer rose (SOLVER.SCHEDULE.MAX_DECAY_STEP)")  # fmt: skip
        text = f" instead of {driver.stage.iterations}: {why if by_schedule else 'the benchmark ended it'}"
    return text + (f"; {skipped} of them were skipped: a gradient held inf or NaN" if skipped else "")


def _barrier(world: int) -> None:
    if world > 1:
        torch.distributed.barrier()
