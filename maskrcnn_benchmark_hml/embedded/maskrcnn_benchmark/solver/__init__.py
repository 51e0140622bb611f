"""Optimiser and learning-rate schedules."""

from .build import check_solver, make_lr_scheduler, make_optimizer
from .lr_scheduler import WarmupMultiStepLR, WarmupReduceLROnPlateau

__all__ = ["WarmupMultiStepLR", "WarmupReduceLROnPlateau", "check_solver", "make_lr_scheduler", "make_optimizer"]
