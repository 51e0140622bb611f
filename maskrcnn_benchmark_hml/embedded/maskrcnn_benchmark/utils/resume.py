"""What a resumed run takes from its checkpoint: the progress of optimiser and schedule; settings are given anew.

SGB does the same with the learning rate, whose schedule it builds anew; here the rule holds for every solver setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from maskrcnn_benchmark_hml.errors import HMLError

# The key that a user would have changed, by the name in the optimiser's groups or in the schedule's state.
_KEYS = {
    "initial_lr": "SOLVER.BASE_LR x IMS_PER_BATCH",
    "momentum": "SOLVER.MOMENTUM",
    "weight_decay": "SOLVER.WEIGHT_DECAY",
    "milestones": "SOLVER.STEPS",
    "gamma": "SOLVER.GAMMA or SCHEDULE.FACTOR",
    "warmup_factor": "SOLVER.WARMUP_FACTOR",
    "warmup_iters": "SOLVER.WARMUP_ITERS",
    "warmup_method": "SOLVER.WARMUP_METHOD",
    "patience": "SOLVER.SCHEDULE.PATIENCE",
    "threshold": "SOLVER.SCHEDULE.THRESHOLD",
    "cooldown": "SOLVER.SCHEDULE.COOLDOWN",
}


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any], source: str) -> dict[str, Any]:
    """Load the momentum of each parameter; learning rates, momentum and weight decay stay as ``optimizer`` has them.

    Returns:
        Per hyperparameter that differs, (values of the checkpoint, values in force), one value per group.

    Raises:
        HMLError: the state is that of other parameters.
    """
    own = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    try:
        optimizer.load_state_dict(state)
    except ValueError as error:
        raise HMLError(
            f"the optimizer state in {source} does not fit this model ({error}); continue with the configuration "
            "that wrote it, or start in another OUTPUT_DIR"
        ) from error
    changed = {}
    for key in ("initial_lr", "momentum", "weight_decay"):
        before = [group.get(key) for group in optimizer.param_groups]
        after = [group.get(key) for group in own]
        if before != after:
            changed[key] = (before, after)
    for group, kept in zip(optimizer.param_groups, own):
        group.update(kept)
    return changed


def changed_settings(optimizer: Mapping[str, Any], schedule: Mapping[str, Any]) -> str:
    """``KEY old -> new`` for each setting that differs from the checkpoint's, "" if none does.

    Args:
        optimizer, schedule: what :func:`load_optimizer` and the schedule's ``load_progress`` returned.
    """
    schedule = {key: pair for key, pair in schedule.items() if key != "base_lrs"}  # the optimiser's initial_lr
    another = any(old is None for old, _ in schedule.values())
    changed = {**optimizer, **({} if another else schedule)}
    parts = [f"{_KEYS[key]} {_shown(old)} -> {_shown(new)}" for key, (old, new) in changed.items()]
    return ", ".join([*parts, *(["SOLVER.SCHEDULE.TYPE has changed"] if another else [])])


def _shown(value: Any) -> str:
    if not isinstance(value, (list, tuple)):
        return f"{value:g}" if isinstance(value, float) else str(value)
    distinct = list(dict.fromkeys(value))
    return _shown(distinct[0]) if len(distinct) == 1 else "(" + ", ".join(_shown(v) for v in distinct) + ")"
