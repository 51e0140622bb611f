"""What lies between torch's launchers and a host's script: the local rank at the start, the end of the ranks."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

_DRAIN_SECONDS = 0.5


def take_local_rank(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """The local rank that a launcher gave, and the arguments without it.

    ``torch.distributed.launch`` passes ``--local-rank`` (``--local_rank`` before torch 2.0) as the first argument,
    with ``-m`` even before the arguments of our own command line; ``torchrun`` passes only LOCAL_RANK.
    """
    rank = environ.get("LOCAL_RANK")
    rest: list[str] = []
    items = iter(arguments)
    for item in items:
        name, _, value = item.partition("=")
        if name in ("--local_rank", "--local-rank"):
            rank = value or next(items, rank)
        else:
            rest.append(item)
    return rank, rest


def local_rank_argument(arguments: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Cures ``unrecognized arguments: --local-rank=0`` and, under torchrun, every rank taking itself for rank 0.

    Args:
        arguments: the script's arguments, without the script.
        environ: the process environment.
    Returns:
        The arguments with ``--local_rank=N``, which the host's scripts parse, first when a launcher gave a rank; else
        unchanged.
    """
    rank, rest = take_local_rank(arguments, environ)
    return rest if rank is None else [f"--local_rank={rank}", *rest]


def leave_process_group() -> None:
    """Cures ``terminate called without an active exception`` (SIGABRT) at the end of a finished run on several ranks.

    Most hosts start a process group and never end it, and DistributedDataParallel keeps its threads alive even when it
    is ended. Such a thread takes Python's lock to let go of a collective's tensors; if it asks while the interpreter
    ends, the process aborts. So the lock stays free for a moment once the last collective is done.
    """
    import torch.distributed as dist  # seconds; importing this package loads no torch

    if not dist.is_available():
        return
    if dist.is_initialized():
        dist.destroy_process_group()
    elif os.environ.get("WORLD_SIZE", "1") == "1":
        return
    time.sleep(_DRAIN_SECONDS)
