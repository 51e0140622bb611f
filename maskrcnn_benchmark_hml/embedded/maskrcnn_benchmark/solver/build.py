"""From the ``SOLVER`` keys to an optimiser and a learning-rate schedule."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from typing import Any

import torch
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError

from .lr_scheduler import WarmupMultiStepLR, WarmupReduceLROnPlateau

# One pass over memory instead of five; torch >= 2.3. Not on GPUs: there a loss scaler would let it run the step hooks
# of steps that it drops.
_FUSED = {"fused": True} if "fused" in inspect.signature(torch.optim.SGD).parameters else {}
_SCHEDULES = ("WarmupMultiStepLR", "WarmupReduceLROnPlateau")


def check_solver(cfg: CfgNode) -> None:
    """Check the ``SOLVER`` keys that would otherwise fail, or do nothing, in the middle of a run.

    Raises:
        HMLError: names the key, its value and what is allowed.
    """
    solver = cfg.SOLVER
    if solver.SCHEDULE.TYPE not in _SCHEDULES:
        raise HMLError(f"SOLVER.SCHEDULE.TYPE is {solver.SCHEDULE.TYPE!r}; use one of {', '.join(_SCHEDULES)}")
    if solver.WARMUP_METHOD not in ("constant", "linear"):
        raise HMLError(f"SOLVER.WARMUP_METHOD is {solver.WARMUP_METHOD!r}; use constant or linear")
    for key in ("MAX_ITER", "IMS_PER_BATCH", "CHECKPOINT_PERIOD", "VAL_PERIOD", "PRINT_GRAD_FREQ"):
        if solver[key] < 1:
            raise HMLError(f"SOLVER.{key} is {solver[key]}; give a whole number of at least 1")
    for key in ("BASE_LR", "GRAD_NORM_CLIP"):
        if not solver[key] > 0:
            raise HMLError(f"SOLVER.{key} is {solver[key]}; give a number above 0")
    if not 0 <= solver.SEED < 2**32:
        raise HMLError(f"SOLVER.SEED is {solver.SEED}; give a whole number from 0 to 4294967295")
    if solver.SCHEDULE.MAX_DECAY_STEP < 1:
        raise HMLError(f"SOLVER.SCHEDULE.MAX_DECAY_STEP is {solver.SCHEDULE.MAX_DECAY_STEP}; give at least 1")
    if list(solver.STEPS) != sorted(solver.STEPS):
        raise HMLError(f"SOLVER.STEPS is {tuple(solver.STEPS)}; give the iterations in ascending order")


def make_optimizer(
    cfg: CfgNode,
    model: torch.nn.Module,
    logger: logging.Logger,
    slow_heads: Sequence[str] | None = None,
    slow_ratio: float = 5.0,
    rl_factor: float = 1.0,
) -> torch.optim.SGD:
    """SGD with momentum over the trainable parameters.

    Weights share one group and biases another (and each a second one of ``slow_heads``), so that torch updates them
    together instead of tensor by tensor; which group a parameter is in does not depend on the values of the keys, so
    that a run can be resumed with others. A parameter is a bias if its own name says so (``...bias``,
    ``...bias_hh_l0``); a module called ``freq_bias`` does not make its weight a bias.

    Args:
        slow_heads: parts of parameter names whose learning rate is divided by ``slow_ratio``.
        rl_factor: factor on every learning rate; the training script passes the batch size.

    Raises:
        HMLError: the model has nothing to train.
    """
    solver = cfg.SOLVER
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    slowed = 0
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_bias = "bias" in name.rpartition(".")[2]
        lr = solver.BASE_LR * (solver.BIAS_LR_FACTOR if is_bias else 1.0)
        decay = solver.WEIGHT_DECAY_BIAS if is_bias else solver.WEIGHT_DECAY
        slow = any(part in name for part in slow_heads or ())
        if slow:
            lr /= slow_ratio
            slowed += 1
        group = groups.setdefault((is_bias, slow), {"params": [], "lr": lr * rl_factor, "weight_decay": decay})
        group["params"].append(parameter)
    if not groups:
        raise HMLError("every parameter of the model is frozen; there is nothing to train")
    if slowed:
        logger.info("%d parameter tensors learn %g times slower (%s)", slowed, slow_ratio, ", ".join(slow_heads))
    return torch.optim.SGD(
        list(groups.values()),
        lr=solver.BASE_LR,
        momentum=solver.MOMENTUM,
        **_FUSED if cfg.MODEL.DEVICE == "cpu" else {},
    )


def make_lr_scheduler(
    cfg: CfgNode, optimizer: torch.optim.Optimizer, logger: logging.Logger | None = None
) -> WarmupMultiStepLR | WarmupReduceLROnPlateau:
    """The schedule that ``SOLVER.SCHEDULE.TYPE`` names."""
    solver = cfg.SOLVER
    warmup = {
        "warmup_factor": solver.WARMUP_FACTOR,
        "warmup_iters": solver.WARMUP_ITERS,
        "warmup_method": solver.WARMUP_METHOD,
    }
    if solver.SCHEDULE.TYPE == "WarmupMultiStepLR":
        return WarmupMultiStepLR(optimizer, solver.STEPS, solver.GAMMA, **warmup)
    if solver.SCHEDULE.TYPE == "WarmupReduceLROnPlateau":
        plateau = solver.SCHEDULE
        return WarmupReduceLROnPlateau(
            optimizer,
            plateau.FACTOR,
            patience=plateau.PATIENCE,
            threshold=plateau.THRESHOLD,
            cooldown=plateau.COOLDOWN,
            logger=logger,
            **warmup,
        )
    raise HMLError(f"SOLVER.SCHEDULE.TYPE is {solver.SCHEDULE.TYPE!r}; use one of {', '.join(_SCHEDULES)}")
