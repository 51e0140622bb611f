"""Learning-rate schedules with a warm-up, driven once per iteration.

Both write ``lr = initial_lr * warmup(t) * decay(t)`` into every parameter group, t being the iterations done. Their
``state_dict`` holds everything but the optimiser and the logger, so a resumed run continues the same curve.
"""

from __future__ import annotations

import abc
import logging
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import torch

from maskrcnn_benchmark_hml.errors import HMLError

_NOT_SAVED = ("optimizer", "logger")
# What the schedule has learnt during the run; everything else in its state is a setting.
_PROGRESS = ("last_epoch", "iterations_done", "stage_count", "best", "num_bad_epochs", "under_cooldown")


class _WarmupSchedule(abc.ABC):
    """Base of both: ``warmup_iters`` iterations rising from ``warmup_factor`` to 1 (linear) or staying there."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        gamma: float,
        warmup_factor: float,
        warmup_iters: int,
        warmup_method: str,
        last_epoch: int,
    ) -> None:
        if warmup_method not in ("constant", "linear"):
            raise HMLError(f"SOLVER.WARMUP_METHOD is {warmup_method!r}; use constant or linear")
        self.optimizer = optimizer
        self.warmup_method, self.warmup_iters, self.warmup_factor = warmup_method, warmup_iters, warmup_factor
        self.gamma = gamma
        for group in optimizer.param_groups:
            if last_epoch >= 0 and "initial_lr" not in group:
                raise HMLError("the optimizer to resume has no initial_lr; load its checkpoint before the schedule")
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        # Iterations whose step() is taken. A checkpoint may be written before the step of its iteration.
        self.iterations_done = 0

    @abc.abstractmethod
    def decay_steps(self) -> int:
        """How many times the learning rate has been multiplied by ``gamma`` so far."""

    def get_lr(self) -> list[float]:
        """Learning rate per parameter group at ``last_epoch``."""
        factor = 1.0
        if self.last_epoch < self.warmup_iters:
            done = self.last_epoch / self.warmup_iters if self.warmup_method == "linear" else 0.0
            factor = self.warmup_factor * (1.0 - done) + done
        return [base * factor * self.gamma ** self.decay_steps() for base in self.base_lrs]

    def get_last_lr(self) -> list[float]:
        """The learning rates in force."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def jump(self, iteration: int) -> None:
        """Continue after ``iteration`` for want of a saved state: decays that depend on the metric are unknown."""
        self.last_epoch = self.iterations_done = iteration
        self._write()

    def _move(self, epoch: int | None) -> None:
        self.last_epoch = self.iterations_done = self.last_epoch + 1 if epoch is None else epoch

    def _write(self) -> None:
        for group, lr in zip(self.optimizer.param_groups, self.get_lr()):
            group["lr"] = lr

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser and the logger; plain numbers, strings and lists."""
        return {key: value for key, value in self.__dict__.items() if key not in _NOT_SAVED}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from ``state_dict()``; the learning rates in force are set at once."""
        self.__dict__.update({key: value for key, value in state_dict.items() if key not in _NOT_SAVED})
        self._write()

    def load_progress(self, state_dict: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Continue at the iteration and the decays of ``state_dict()``, under this schedule's own settings.

        The state may be that of the other schedule: what this one does not know is left out.

        Returns:
            The settings that differ: attribute -> (value of the state, None where it has none; value in force).
        """
        own = self.state_dict()
        self.__dict__.update({key: state_dict[key] for key in _PROGRESS if key in own and key in state_dict})
        self._write()
        return {
            key: (state_dict.get(key), value)
            for key, value in own.items()
            if key not in _PROGRESS and state_dict.get(key) != value
        }


class WarmupMultiStepLR(_WarmupSchedule):
    """Multiplies the learning rate by ``gamma`` at each of ``milestones`` (iterations, ascending)."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        warmup_factor: float = 1.0 / 3,
        warmup_iters: int = 500,
        warmup_method: str = "linear",
        last_epoch: int = -1,
    ) -> None:
        super().__init__(optimizer, gamma, warmup_factor, warmup_iters, warmup_method, last_epoch)
        self.milestones = list(milestones)
        if self.milestones != sorted(self.milestones):
            raise HMLError(f"SOLVER.STEPS is {tuple(milestones)}; give the iterations in ascending order")
        self.step()

    def decay_steps(self) -> int:
        return bisect_right(self.milestones, self.last_epoch)

    def step(self, epoch: int | None = None) -> None:
        """Move to iteration ``epoch`` (default: the next one) and set the learning rates."""
        self._move(epoch)
        self._write()


class WarmupReduceLROnPlateau(_WarmupSchedule):
    """Multiplies the learning rate by ``gamma`` when the validation metric (larger is better) stops improving.

    A validation is bad if it does not exceed the best so far by ``threshold`` (absolute). ``patience`` bad ones in a
    row trigger a decay; the ``cooldown`` validations after it are never counted as bad. ``stage_count`` is the number
    of decays.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        gamma: float = 0.5,
        warmup_factor: float = 1.0 / 3,
        warmup_iters: int = 500,
        warmup_method: str = "linear",
        last_epoch: int = -1,
        patience: int = 2,
        threshold: float = 1e-4,
        cooldown: int = 1,
        logger: logging.Logger | None = None,
    ) -> None:
        super().__init__(optimizer, gamma, warmup_factor, warmup_iters, warmup_method, last_epoch)
        self.patience = patience
        self.threshold = threshold
        self.cooldown = cooldown
        self.logger = logger
        self.stage_count = 0
        self.best = -1e12
        self.num_bad_epochs = 0
        self.under_cooldown = cooldown
        # The benchmark starts its schedule with a "validation" of the value last_epoch, which moves it to iteration 1
        # and uses up one cooldown: kept, so that learning rates and decays agree iteration by iteration.
        self.last_epoch = max(last_epoch, 0)
        self.step(float(self.last_epoch))
        self.iterations_done = max(last_epoch, 0)

    def decay_steps(self) -> int:
        return self.stage_count

    def step(self, metrics: float | None, epoch: int | None = None) -> None:
        """Move to iteration ``epoch`` (default: the next one); ``metrics`` is None where no validation took place."""
        self._move(epoch)
        if metrics is not None:
            self._judge(float(metrics))
        self._write()

    def _judge(self, value: float) -> None:
        improved = value > self.best + self.threshold
        if improved:
            self.best = value
        cooling = self.under_cooldown > 0
        if cooling:
            self.under_cooldown -= 1
        self.num_bad_epochs = 0 if improved or cooling else self.num_bad_epochs + 1
        if self.num_bad_epochs >= self.patience:
            self.stage_count += 1
            self.under_cooldown = self.cooldown
            self.num_bad_epochs = 0
            if self.logger is not None:
                self.logger.info("The metric has stopped improving: learning rate times %g", self.gamma)
