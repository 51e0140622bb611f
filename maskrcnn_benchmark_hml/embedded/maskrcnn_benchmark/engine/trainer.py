"""What the training loops share: losses of a step, dropped steps, the random state."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from maskrcnn_benchmark.utils.comm import get_rank, get_world_size, reduce_dict
from maskrcnn_benchmark.utils.rng import seed_all, set_rng_state

from maskrcnn_benchmark_hml.errors import HMLError

# A dropped step now and then is one bad batch, or in mixed precision the loss scale finding its level; this many in a
# row are not.
MAX_DROPPED_STEPS = 50


def reduce_loss_dict(loss_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Mean of each loss over all processes, detached, for logging; the same keys are needed everywhere."""
    return reduce_dict(loss_dict)


def loss_values(loss_dict: dict[str, torch.Tensor]) -> dict[str, float]:
    """Loss terms and their sum, ``loss``, as floats, in one transfer from the device."""
    values = torch.stack([value.detach().float() for value in loss_dict.values()]).tolist()
    return {"loss": sum(values), **dict(zip(loss_dict, values))}


class StepGuard:
    """Stops a run whose loss is not finite, or whose gradient is not for ``MAX_DROPPED_STEPS`` steps in a row.

    Args:
        half: mixed precision, where a loss that is not finite only costs the step.
        dropped_before: steps that were dropped before the run was resumed.
    """

    def __init__(self, half: bool, dropped_before: int = 0) -> None:
        self.half, self.dropped, self.all_dropped = half, 0, dropped_before

    def check_loss(self, logged: dict[str, float], iteration: int) -> None:
        """HMLError for a loss that is not finite, except in mixed precision."""
        if not (math.isfinite(logged["loss"]) or self.half):
            raise HMLError(f"the loss is {logged} in iteration {iteration}; lower SOLVER.BASE_LR or check the data")

    def check_step(self, logged: dict[str, float], gradient_norm: torch.Tensor, iteration: int) -> None:
        """HMLError when too many steps in a row were dropped."""
        finite = math.isfinite(logged["loss"]) and math.isfinite(gradient_norm)
        self.dropped = 0 if finite else self.dropped + 1
        self.all_dropped += not finite
        if self.dropped == MAX_DROPPED_STEPS:
            raise HMLError(
                f"the gradient was infinite or NaN {MAX_DROPPED_STEPS} times in a row up to iteration {iteration} "
                "(the log says where); lower SOLVER.BASE_LR, or continue from an earlier checkpoint"
            )

    def check_trained(self, iterations: int) -> None:
        """HMLError at the end of a run that has dropped every step."""
        if self.all_dropped >= iterations:
            raise HMLError(
                f"nothing was trained: the gradient was infinite or NaN in all {iterations} steps (the log says "
                "where); lower SOLVER.BASE_LR and give another OUTPUT_DIR"
            )


def restore_rng(states: list[dict[str, Any]], seed: int, logger: logging.Logger) -> None:
    """Put this process's generators back; with another number of processes than before, seed them anew."""
    if len(states) == get_world_size():
        set_rng_state(states[get_rank()])
    else:
        logger.info("Resumed with %d processes instead of %d: generators seeded anew", get_world_size(), len(states))
        seed_all(seed + get_rank())
