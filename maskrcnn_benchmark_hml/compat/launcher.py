"""What lies between torch's launchers and a host's script: the local rank at the start, the end of the ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.distributed as dist


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

    The hosts' scripts start a process group and never end it; its threads are then torn down with the interpreter.
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
