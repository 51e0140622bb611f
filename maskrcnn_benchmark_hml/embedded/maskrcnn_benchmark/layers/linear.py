"""Dense layers that use the faster of the two matrix libraries that torch has on a CPU.

``torch.nn.functional.linear`` calls BLAS, which in torch's builds is MKL: on processors that are not Intel's it does
not use AVX-512, and takes two to three times as long as oneDNN, which torch brings along for convolutions and which
``torch.compile`` uses for dense layers. With AVX2 alone (AMD, one thread) the two are about equal: 0.9 to 1.7 times.
Results differ by rounding only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from maskrcnn_benchmark_hml.compat.autocast import cpu_autocast_dtype

SMALLEST = 1 << 16  # multiplications; below, the call itself takes most of the time
SWAPPED = 128  # rows up to which oneDNN is faster with a large weight as its first matrix, which it does not repack
LARGE = 1 << 19  # elements of such a weight
FEWEST = 8  # rows; below, memory bounds both, and oneDNN compiles a kernel for every new number of rows

_AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(N, inputs), (outputs, inputs) and (outputs,) -> (N, outputs): ``x @ weight.T + bias``."""
    if not _AVAILABLE or x.device.type != "cpu" or x.dtype != torch.float32 or weight.dtype != torch.float32:
        return F.linear(x, weight, bias)
    if x.dim() != 2 or len(x) < FEWEST or len(x) * weight.numel() < SMALLEST or cpu_autocast_dtype():
        return F.linear(x, weight, bias)
    if not (x.is_contiguous() and weight.is_contiguous()):  # parts of a matrix: oneDNN is a hundred times slower
        return F.linear(x, weight, bias)
    return _Linear.apply(x, weight, bias)


class Linear(nn.Linear):
    """``torch.nn.Linear`` through :func:`linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class PointwiseConv2d(nn.Conv2d):
    """1x1 convolution without padding or groups; on a CPU, in float32, a dense layer over the pixels.

    Fastest when the maps are in the ``channels_last`` format, which it keeps.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.dtype != torch.float32 or cpu_autocast_dtype():
            return super().forward(x)
        x = x[:, :, :: self.stride[0], :: self.stride[1]]
        batch, channels, height, width = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)
        out = linear(pixels, self.weight.view(self.out_channels, channels), self.bias)
        return out.view(batch, height, width, -1).permute(0, 3, 1, 2)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            _product(gradient, weight.t()) if of_x else None,
            _product(gradient.t(), x.t()) if of_weight else None,
            gradient.sum(0) if of_bias else None,
        )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` by oneDNN."""
    if len(x) <= SWAPPED and weight.numel() >= LARGE and weight.is_contiguous():
        product = torch.ops.mkldnn._linear_pointwise(weight, x, None, "none", [], "").t().contiguous()
        return product if bias is None else product.add_(bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
