"""Runs Scene-Graph-Benchmark.pytorch ("the host") unmodified on torch >= 2.1, on CPU and CUDA alike.

Each shim is a named function whose docstring states the symptom that it cures; :data:`.installer.HOST_PATCHES` and
``machine_shims`` there list them. Importing this package changes nothing and imports nothing heavy.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .launcher import leave_process_group, local_rank_argument

if TYPE_CHECKING:
    from .installer import Installed

__all__ = ["install", "leave_process_group", "local_rank_argument"]


def install(root: str | os.PathLike, data: str | os.PathLike | None = None) -> Installed:
    """Puts the shims in place for the checkout ``root``; see :func:`.installer.install`."""
    from .installer import install as run

    return run(root, data)
