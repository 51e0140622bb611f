"""LSTM for mixed precision on any processor."""

from __future__ import annotations

from torch import nn

from maskrcnn_benchmark_hml.compat.lstm import in_float32_where_needed


class LSTM(nn.LSTM):
    """``torch.nn.LSTM`` that computes in float32 under autocast on a CPU which has no LSTM in low precision."""

    forward = in_float32_where_needed(nn.LSTM.forward)
