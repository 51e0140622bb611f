"""Layers with the initialisation that the detector's literature uses."""

from __future__ import annotations

from maskrcnn_benchmark.layers import Linear
from torch import nn


def make_fc(dim_in: int, dim_out: int) -> nn.Linear:
    """Linear layer, weights uniform with variance 1/dim_in (He's rule at slope 1), bias 0."""
    # skip_init: at 12544 x 4096 the default initialisation, soon overwritten, costs as much as the real one.
    layer = nn.utils.skip_init(Linear, dim_in, dim_out)
    nn.init.kaiming_uniform_(layer.weight, a=1)
    nn.init.zeros_(layer.bias)
    return layer


def make_conv3x3_relu(channels_in: int, channels_out: int) -> nn.Sequential:
    """3x3 convolution that keeps the size, then ReLU; weights normal with variance 2 / (9 channels_out), bias 0."""
    layer = nn.utils.skip_init(nn.Conv2d, channels_in, channels_out, kernel_size=3, padding=1)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer, nn.ReLU(inplace=True))


def init_normal(layer: nn.Linear, std: float) -> nn.Linear:
    """Weights N(0, std^2), bias 0."""
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
    return layer


def init_xavier(layer: nn.Linear) -> nn.Linear:
    """Weights normal with variance 2 / (in + out) (Glorot and Bengio 2010), bias 0."""
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
