"""The training loop of both training scripts: steps, checkpoints, validation, and the exact continuation of a run.

It calls nothing that HML replaces: the scripts look those names up among their globals and pass them in.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from maskrcnn_benchmark.engine.progress import TrainingLog
from maskrcnn_benchmark.engine.trainer import StepGuard, loss_values, restore_rng
from maskrcnn_benchmark.utils.comm import all_gather
from maskrcnn_benchmark.utils.rng import rng_state
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import Interrupted


@dataclass
class Parts:
    """What a script has built for its loop, and the functions that the loop calls.

    Attributes:
        amp: see compat/amp.py.
        reduce_loss_dict: the mean of each loss over all processes, for logging.
        clip_grad_norm: clips the gradients of the named parameters and returns their norm.
        validate: the validation result, the same on every process.
        prepare: called before each step with the model in training mode.
        may_end_early: whether ``SOLVER.SCHEDULE.MAX_DECAY_STEP`` decays of the learning rate end the training.
        print_first_gradients: whether the first step prints its gradients, not only every ``PRINT_GRAD_FREQ``-th.
        extra: what the checkpoint holds beside the model, first of all ``iteration``, the number of iterations done.
        saved: the iteration of the newest checkpoint.
        rng: this process's random state before the validation that goes on; None outside.
    """

    cfg: CfgNode
    logger: logging.Logger
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Any
    amp: Any
    checkpointer: Any
    train_loader: Any
    reduce_loss_dict: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
    clip_grad_norm: Callable[..., torch.Tensor]
    validate: Callable[[], float]
    prepare: Callable[[], None] = lambda: None
    may_end_early: bool = True
    print_first_gradients: bool = True
    extra: dict[str, Any] = field(default_factory=lambda: {"iteration": 0})
    saved: int = -1
    rng: dict[str, Any] | None = None


def distributed_model(model: torch.nn.Module, local_rank: int, **options: Any) -> torch.nn.Module:
    """The model in DistributedDataParallel, on this process's GPU or on the CPU."""
    devices = [local_rank] if next(model.parameters()).device.type == "cuda" else None
    parallel = torch.nn.parallel.DistributedDataParallel
    named = inspect.signature(parallel).parameters
    # Newer torch warns of the older name of this option.
    sync = "forward_sync_buffers" if "forward_sync_buffers" in named else "broadcast_buffers"
    return parallel(model, device_ids=devices, **{sync: False}, **options)


def load_checkpoint(cfg: CfgNode, checkpointer: Any, amp: Any, start: Callable[[], Any]) -> dict[str, Any]:
    """Continue the run in the checkpointer's folder, or call ``start``, which loads the starting weights.

    Returns:
        What the checkpoint holds beside the model, with ``iteration``.
    """
    extra: dict[str, Any] = {"iteration": 0}
    if not checkpointer.has_checkpoint():
        start()
        return extra
    extra.update(checkpointer.load(update_schedule=cfg.SOLVER.UPDATE_SCHEDULE_DURING_LOAD))
    if "amp" in extra:
        amp.load_state_dict(extra.pop("amp"))
    return extra


def train_loop(parts: Parts) -> torch.nn.Module:
    """Train until the loader or the schedule ends, from ``parts.extra["iteration"]`` on; returns the model."""
    cfg, logger, rng = parts.cfg, parts.logger, parts.extra.pop("rng", None)
    first, last = parts.extra["iteration"], len(parts.train_loader)
    log = TrainingLog(logger, last, first)
    guard = StepGuard(cfg.DTYPE != "float32", parts.extra.get("dropped_steps", 0))
    if cfg.SOLVER.PRE_VAL and first == 0:
        logger.info("Validate before training")
        parts.validate()
    if is_complete(parts):
        return parts.model

    batches = enumerate(parts.train_loader, first + 1)
    if rng is not None:
        restore_rng(rng, cfg.SOLVER.SEED + first, logger)
    parts.saved = first
    # A checkpoint is written before the validation and the schedule's step of its iteration: make up for them.
    stop = parts.scheduler.iterations_done < first and validate_and_schedule(parts, first, log)
    logger.info("Start training at iteration %d of %d", first, last)
    with log.running(), saved_if_interrupted(parts):
        for iteration, (images, targets, _) in batches if not stop else ():
            log.data_ready()
            parts.extra["iteration"] = iteration
            print_gradients = parts.print_first_gradients and iteration == first + 1
            logged = train_step(parts, images, targets, iteration, guard, print_gradients)
            log.step_done(iteration, logged, parts.optimizer.param_groups[-1]["lr"])
            if guard.all_dropped:
                parts.extra["dropped_steps"] = guard.all_dropped
            if iteration == last:
                guard.check_trained(last)
                save(parts, "model_final")
            elif iteration % cfg.SOLVER.CHECKPOINT_PERIOD == 0:
                save(parts, f"model_{iteration:07d}")
            stop = validate_and_schedule(parts, iteration, log)
            if stop:
                break
    if stop:
        logger.info("Trigger MAX_DECAY_STEP at iteration %d.", parts.extra["iteration"])
        guard.check_trained(parts.extra["iteration"])
        save(parts, "model_final")
    log.finish()
    return parts.model


@contextmanager
def saved_if_interrupted(parts: Parts) -> Iterator[None]:
    """Within, a run that is asked to stop saves first, unless it just has."""
    try:
        yield
    except Interrupted:
        if parts.saved != parts.extra["iteration"]:
            save(parts, f"model_{parts.extra['iteration']:07d}")
        raise


def train_step(
    parts: Parts, images: Any, targets: list[Any], iteration: int, guard: StepGuard, print_gradients: bool
) -> dict[str, float]:
    """One step of the optimizer; returns the loss terms and their sum, for logging."""
    parts.model.train()
    parts.prepare()
    device = torch.device(parts.cfg.MODEL.DEVICE)
    losses = parts.model(images.to(device), [target.to(device) for target in targets])
    logged = loss_values(parts.reduce_loss_dict(losses))
    guard.check_loss(logged, iteration)

    parts.optimizer.zero_grad()
    with parts.amp.scale_loss(sum(losses.values()), parts.optimizer) as scaled_losses:
        scaled_losses.backward()
    norm = parts.clip_grad_norm(
        [(name, p) for name, p in parts.model.named_parameters() if p.requires_grad],
        max_norm=parts.cfg.SOLVER.GRAD_NORM_CLIP,
        logger=parts.logger,
        verbose=print_gradients or iteration % parts.cfg.SOLVER.PRINT_GRAD_FREQ == 0,
        clip=True,
    )
    guard.check_step(logged, norm, iteration)
    parts.optimizer.step()
    return logged


def validate_and_schedule(parts: Parts, iteration: int, log: TrainingLog) -> bool:
    """Close an iteration; returns True when the schedule ends the training."""
    solver, result = parts.cfg.SOLVER, None
    if solver.TO_VAL and iteration % solver.VAL_PERIOD == 0:
        parts.logger.info("Start validating")
        parts.rng = rng_state()
        result = parts.validate()
        parts.rng = None
        parts.logger.info("Validation Result: %.4f", result)
        log.restart_clock()
    if solver.SCHEDULE.TYPE != "WarmupReduceLROnPlateau":
        parts.scheduler.step()
        return False
    parts.scheduler.step(result, epoch=iteration)
    return _decays_are_over(parts)


def is_complete(parts: Parts) -> bool:
    """Whether the continued run had ended, by its schedule or by its number of iterations."""
    done, last = parts.extra["iteration"], len(parts.train_loader)
    if _decays_are_over(parts):
        parts.logger.info("This run ended by MAX_DECAY_STEP at iteration %d", done)
        return True
    if done >= last:
        parts.logger.info("This run is complete: %d of %d iterations are done", done, last)
        return True
    return False


def save(parts: Parts, name: str) -> None:
    """Write a checkpoint that continues exactly, with every process's random state."""
    rng = parts.rng or rng_state()
    parts.checkpointer.save(name, rng=all_gather(rng), amp=parts.amp.state_dict(), **parts.extra)
    parts.saved = parts.extra["iteration"]


def _decays_are_over(parts: Parts) -> bool:
    decays = getattr(parts.scheduler, "stage_count", 0)
    return parts.may_end_early and decays >= parts.cfg.SOLVER.SCHEDULE.MAX_DECAY_STEP
