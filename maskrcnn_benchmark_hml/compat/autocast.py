"""The CPU's autocast under either of the names that torch has had for asking."""

from __future__ import annotations

import torch


def cpu_autocast_dtype() -> torch.dtype | None:
    """The low precision of the CPU's autocast that is on; None where it is off."""
    if hasattr(torch, "get_autocast_dtype"):  # torch 2.4, which deprecates the other names
        return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
