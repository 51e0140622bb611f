"""Communication between the processes of a distributed run; every function also works in a plain process."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if _is_distributed() else 1


def get_rank() -> int:
    """This process's number, 0 for the main one."""
    return dist.get_rank() if _is_distributed() else 0


def is_main_process() -> bool:
    """Whether this process writes the logs and files."""
    return get_rank() == 0


_object_group: tuple[Any, Any] | None = None


def _group_for_objects() -> Any:
    """The group over which pickled objects travel; all processes must ask for it together.

    NCCL would send them through GPU memory, the main process's share being that of all others: a large evaluation
    does not fit. They go over gloo, from memory to memory.
    """
    global _object_group
    if dist.get_backend() != "nccl":
        return None
    if _object_group is None or _object_group[0] is not dist.group.WORLD:
        _object_group = dist.group.WORLD, dist.new_group(backend="gloo")
    return _object_group[1]


def synchronize() -> None:
    """Wait until every process has come here."""
    if get_world_size() > 1:
        dist.barrier()


def all_gather(data: Any) -> list[Any]:
    """``data`` (picklable) of every process, in the order of ranks, on every process."""
    if get_world_size() == 1:
        return [data]
    gathered: list[Any] = [None] * get_world_size()
    dist.all_gather_object(gathered, data, group=_group_for_objects())
    return gathered


def gather(data: Any) -> list[Any] | None:
    """``data`` (picklable) of every process on the main one, in the order of ranks; None elsewhere."""
    if get_world_size() == 1:
        return [data]
    gathered: list[Any] | None = [None] * get_world_size() if is_main_process() else None
    dist.gather_object(data, gathered, dst=0, group=_group_for_objects())
    return gathered


def reduce_dict(input_dict: dict[str, torch.Tensor], average: bool = True) -> dict[str, torch.Tensor]:
    """Mean (or sum) of each value over all processes, detached. Needs the same keys everywhere.

    Every process gets the result, so all of them take the same decision on it.
    """
    if get_world_size() == 1 or not input_dict:
        return {name: value.detach() for name, value in input_dict.items()}
    names = sorted(input_dict)
    values = torch.stack([input_dict[name].detach().float() for name in names])
    dist.all_reduce(values)
    if average:
        values /= get_world_size()
    reduced = dict(zip(names, values))
    return {name: reduced[name] for name in input_dict}
