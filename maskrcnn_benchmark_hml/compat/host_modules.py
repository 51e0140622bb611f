"""Functions of the host that are exchanged right after their module has been imported."""

from __future__ import annotations

import functools
import itertools
import logging
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ..errors import HMLError

logger = logging.getLogger("maskrcnn_benchmark_hml.compat")

DATA_VARIABLE = "HML_DATA"
CATALOG = Path(__file__).with_name("paths_catalog.py")


def device_default(module: Any) -> None:
    """Cures ``Found no NVIDIA driver`` when a config does not name a device: without CUDA the default becomes cpu.

    The module is ``config/defaults.py``; a device named in a config file or on the command line is left as it is.
    """
    if not torch.cuda.is_available():
        module._C.MODEL.DEVICE = "cpu"


def data_folder(module: Any) -> None:
    """Cures a private absolute path in the host's paths_catalog.py when ``--data DIR`` (HML_DATA) names a dataset.

    The module is ``config/defaults.py``: its ``PATHS_CATALOG``, the benchmark's official way to bring one's own
    catalog, points at ours, which asks the host's and moves its Visual Genome entries to that folder.
    """
    if os.environ.get(DATA_VARIABLE):
        module._C.PATHS_CATALOG = str(CATALOG)


def gather_objects(module: Any) -> None:
    """Cures ``Expected all tensors ... cuda`` and ``ByteStorage`` errors in ``comm.all_gather``, on any backend."""

    def all_gather(data: Any) -> list:
        if module.get_world_size() == 1:
            return [data]
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, data)
        return gathered

    module.all_gather = all_gather


def orthogonal_blocks(tensor: torch.Tensor, split_sizes: list[int], gain: float = 1.0) -> None:
    """Fills each block (h, w) of a matrix with part of a random orthogonal matrix of side max(h, w), times ``gain``.

    The first h rows (or w columns) of a uniformly random orthogonal matrix are a uniformly random orthonormal set, and
    that is what ``orthogonal_`` draws on the block itself: same distribution, without the full square matrix.

    Raises:
        HMLError: the matrix is not a whole number of blocks.
    """
    if any(size % split for size, split in zip(tensor.shape, split_sizes)):
        raise HMLError(f"blocks {tuple(split_sizes)} do not tile a matrix {tuple(tensor.shape)}; change the widths")
    starts = (range(0, size, split) for size, split in zip(tensor.shape, split_sizes))
    with torch.no_grad():
        for top, left in itertools.product(*starts):
            block = torch.empty(split_sizes, dtype=tensor.dtype, device=tensor.device)
            torch.nn.init.orthogonal_(block, gain=gain)
            tensor[top : top + split_sizes[0], left : left + split_sizes[1]] = block


def quick_orthogonal_blocks(module: Any) -> None:
    """Cures two minutes of VCTree construction: full 4424 x 4424 orthogonal matrices drawn to keep 256 rows each."""
    module.block_orthogonal = orthogonal_blocks


def frozen_batch_norm(module: Any) -> None:
    """Cures frozen batch-norm buffers that turn to float16 for good at the first float16 input (batch_norm.py).

    The buffers stay float32 (so do checkpoints); scale and shift are cast to the input's type for the product only.
    For float32 inputs the host's own code runs.
    """
    cls = module.FrozenBatchNorm2d
    original = cls.forward

    @functools.wraps(original)
    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        if x.dtype == torch.float32:
            return original(self, x)
        factor = self.weight.float() / self.running_var.float().sqrt()
        shift = self.bias.float() - self.running_mean.float() * factor
        return x * factor.to(x.dtype)[:, None, None] + shift.to(x.dtype)[:, None, None]

    cls.forward = forward


def boxes_in_own_memory(module: Any) -> None:
    """Cures ``RuntimeError: Too many open files`` of a test on a CPU with loader workers (structures/bounding_box.py).

    A tensor from a worker lies in shared memory and holds a file open. On a CPU ``BoxList.to`` hands out that very
    tensor, and the predictions, which the test keeps to its end, are made from it. Such tensors are copied; all others,
    and everything on a GPU, stay as the host's own ``to`` leaves them.
    """
    cls = module.BoxList
    original = cls.to

    @functools.wraps(original)
    def to(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        result.bbox = _own(result.bbox)
        for name, value in result.extra_fields.items():
            result.extra_fields[name] = _own(value)
        return result

    cls.to = to


def _own(value: Any) -> Any:
    shared = isinstance(value, torch.Tensor) and value.device.type == "cpu" and value.is_shared()
    return value.clone() if shared else value
