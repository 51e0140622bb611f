"""Parameters as one long vector of P numbers, walked in blocks that stay in the processor's cache.

A block-wise walk costs about one pass over memory per tensor read, where one whole-tensor operation after another
would stream every intermediate result through memory (measured by ``benchmarks/step_cost.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import HMLError

# 32k float32 = 128 KiB: a handful of operands fit a core's second-level cache, and torch runs an operation of this
# size on the calling thread. With larger blocks thousands of operations per step wait for a second thread, which a busy
# machine (data loader workers) makes many times slower than the work itself.
CPU_BLOCK = 1 << 15
DEVICE_BLOCK = 1 << 25  # on an accelerator few kernel launches matter more


class FlatLayout:
    """Where each named parameter lies in vectors of length P.

    Args:
        named_params: (name, floating-point tensor) pairs, all on one device.

    Raises:
        HMLError: no parameter, a name given twice, or several devices.
    """

    def __init__(self, named_params: Sequence[tuple[str, Tensor]]) -> None:
        self.named_params = list(named_params)
        names = [name for name, _ in self.named_params]
        if not names:
            raise HMLError("no parameter was picked for Fisher and importance; check the parameter prefix")
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise HMLError(f"the parameter {twice} was picked twice; give each parameter once")
        wrong = [name for name, param in self.named_params if not param.is_floating_point()]
        if wrong:
            raise HMLError(f"the parameter {wrong[0]} is no floating-point tensor; leave it out")
        devices = {param.device for _, param in self.named_params}
        if len(devices) > 1:
            raise HMLError(f"the picked parameters lie on several devices ({sorted(map(str, devices))}); use one")
        self.device = devices.pop()
        # Half-precision parameters are tracked in float32: F can be 1e-18.
        double = any(param.dtype == torch.float64 for _, param in self.named_params)
        self.dtype = torch.float64 if double else torch.float32
        self.block = CPU_BLOCK if self.device.type == "cpu" else DEVICE_BLOCK
        self.shapes = {name: tuple(param.shape) for name, param in self.named_params}
        self.numel = sum(param.numel() for _, param in self.named_params)  # P
        self._sizes = [size for _, param in self.named_params for size in self._block_sizes(param.numel())]

    def _block_sizes(self, numel: int) -> list[int]:
        whole, rest = divmod(numel, self.block)
        return [self.block] * whole + ([rest] if rest else [])

    def zeros(self) -> Tensor:
        """A vector (P,) of zeros."""
        return torch.zeros(self.numel, dtype=self.dtype, device=self.device)

    def scratch(self) -> Tensor:
        """Room for one block."""
        return torch.empty(min(self.block, self.numel), dtype=self.dtype, device=self.device)

    def blocks(self, vector: Tensor) -> list[Tensor]:
        """The blocks of a vector (P,), as views in the order of the parameters; no block spans two parameters."""
        return list(vector.split(self._sizes))

    def param_blocks(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The blocks of one tensor per parameter: views where the tensor is contiguous, else copies."""
        return [part for tensor in tensors for part in tensor.detach().reshape(-1).split(self.block) if part.numel()]

    def params(self) -> list[Tensor]:
        """The parameters themselves, detached."""
        return [param.detach() for _, param in self.named_params]

    def flatten(self, named: dict[str, Tensor], what: str) -> Tensor:
        """A vector (P,) out of a dict name -> tensor; HMLError names the first missing or misshapen entry."""
        vector = self.zeros()
        start = 0
        for name, shape in self.shapes.items():
            if name not in named:
                raise HMLError(f"{what} has nothing for the parameter {name}; it belongs to another model")
            tensor = named[name]
            if tuple(tensor.shape) != shape:
                raise HMLError(
                    f"{what} has the shape {tuple(tensor.shape)} for {name}, the model has {shape}; "
                    "it belongs to another model"
                )
            vector[start : start + tensor.numel()].copy_(tensor.detach().reshape(-1))
            start += tensor.numel()
        return vector

    def slices(self, vector: Tensor) -> list[Tensor]:
        """The part of a vector (P,) that belongs to each parameter, as flat views in the order of the parameters."""
        return list(vector.split([param.numel() for _, param in self.named_params]))

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Name -> view of a vector (P,) in the parameter's shape."""
        parts = self.slices(vector)
        return {name: part.view(param.shape) for (name, param), part in zip(self.named_params, parts)}
