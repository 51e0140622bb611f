"""LSTMs under autocast on processors for which oneDNN has none in low precision (those without AVX-512, among others).

torch hands an LSTM to oneDNN whenever all sequences of a batch are equally long, as they are with one image. There a
bfloat16 or float16 LSTM then fails with ``could not create a primitive descriptor for the LSTM forward propagation
primitive``; batches of unequal sequences run. Whether it fails is found by trying, once per type.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Callable

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from .autocast import cpu_autocast_dtype

logger = logging.getLogger("maskrcnn_benchmark.hml")  # below the benchmark's own logger: the line is in its log.txt

WIDTH = 8


@functools.cache
def runs_under_autocast(dtype: torch.dtype) -> bool:
    """Whether an LSTM trains under the CPU's autocast to ``dtype``. Tried at the first call, which logs a "no"."""
    x, state = torch.zeros(1, 1, WIDTH), torch.zeros(1, 1, WIDTH)
    # Not nn.LSTM: its initial weights would be drawn from the run's random numbers.
    weights = [torch.zeros(4 * WIDTH, *rest, requires_grad=True) for rest in ((WIDTH,), (WIDTH,), (), ())]
    try:
        with torch.enable_grad(), torch.autocast("cpu", dtype=dtype, cache_enabled=False):
            torch.lstm(x, (state, state), weights, True, 1, 0.0, True, False, False)[0].sum().backward()
    except RuntimeError as error:
        logger.info(
            "This processor has no LSTM in %s (%s); LSTMs compute in float32, the rest in mixed precision. On such a "
            "CPU DTYPE float32 is several times faster",
            str(dtype).replace("torch.", ""), str(error).split(". ")[0],
        )
        return False
    return True


def in_float32_where_needed(forward: Callable) -> Callable:
    """``nn.LSTM.forward`` that leaves autocast, and computes in the type of its weights, where it must.

    Elsewhere, on a GPU and outside autocast, ``forward`` gets its arguments as they are.
    """

    @functools.wraps(forward)
    def run(self: nn.LSTM, input: Any, hx: Any = None) -> Any:
        device = (input.data if isinstance(input, PackedSequence) else input).device
        low = cpu_autocast_dtype() if device.type == "cpu" else None
        if low is None or runs_under_autocast(low):
            return forward(self, input, hx)
        dtype = self.weight_ih_l0.dtype
        with torch.autocast("cpu", enabled=False):
            return forward(self, input.to(dtype), None if hx is None else tuple(state.to(dtype) for state in hx))

    return run
