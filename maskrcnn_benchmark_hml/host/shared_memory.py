"""/dev/shm: loader workers hand their batches over in it, and a container's 64 MB are less than SGB's batches.

A worker that finds no room there dies or waits, and the training stands still for ever. So a run takes only as many
workers as surely fit. Its results do not depend on that under HML and on the bundled benchmark.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path("/dev/shm")
#: Batches that torch's loader lets each worker have ready.
PREFETCH = 2
_CHANNELS, _BYTES = 3, 4
#: Boxes, labels and relations of one picture: a few tensors, each in pages of its own.
_ANNOTATIONS = 64 * 1024


def free_bytes(folder: Path = FOLDER) -> int | None:
    """Free shared memory in bytes; None where there is no such folder (macOS), so that nothing is known."""
    if not folder.is_dir():
        return None
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def batch_bytes(cfg: Mapping[str, Any], training: bool, world: int = 1) -> int:
    """The largest batch that one process can get, in bytes: all its pictures at the largest size.

    Args:
        world: number of processes that share ``IMS_PER_BATCH``.
    """
    pictures = math.ceil(cfg["SOLVER" if training else "TEST"]["IMS_PER_BATCH"] / world)
    kind, inputs = "TRAIN" if training else "TEST", cfg["INPUT"]
    short, long = inputs[f"MIN_SIZE_{kind}"], inputs[f"MAX_SIZE_{kind}"]
    short = max(short) if isinstance(short, (tuple, list)) else short
    # Landscape and portrait pictures in one batch are padded to a square.
    width, height = long, short if cfg["DATALOADER"]["ASPECT_RATIO_GROUPING"] or pictures == 1 else long
    step = max(cfg["DATALOADER"]["SIZE_DIVISIBILITY"], 1)
    pixels = math.ceil(width / step) * step * math.ceil(height / step) * step
    return pictures * (pixels * _CHANNELS * _BYTES + _ANNOTATIONS)


def needed_bytes(cfg: Mapping[str, Any], workers: int, *, trains: bool, world: int = 1, local_world: int = 1) -> int:
    """Shared memory that a run's loaders can fill on one machine, in bytes; 0 without workers.

    Each worker has up to ``PREFETCH`` batches ready and one more is in use. In a training script the training loader
    keeps its batches while the validation's loader works.

    Args:
        trains: whether the script trains, or only tests.
        local_world: number of processes on this machine.
    """
    if workers == 0:
        return 0
    batch = batch_bytes(cfg, False, world) + (batch_bytes(cfg, True, world) if trains else 0)
    return local_world * (PREFETCH * workers + 1) * batch


def fitting_workers(
    cfg: Mapping[str, Any], free: int | None, *, trains: bool, world: int = 1, local_world: int = 1
) -> int:
    """The number of loader workers whose batches fit into ``free`` bytes: at most DATALOADER.NUM_WORKERS, maybe 0."""
    wanted = cfg["DATALOADER"]["NUM_WORKERS"]
    if free is None:
        return wanted
    fits = (n for n in range(wanted, 0, -1)
            if needed_bytes(cfg, n, trains=trains, world=world, local_world=local_world) <= free)
    return next(fits, 0)
