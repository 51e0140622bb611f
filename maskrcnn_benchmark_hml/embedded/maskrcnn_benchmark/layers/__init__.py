"""Operations that torch does not have in this form."""

from .linear import Linear, PointwiseConv2d, linear
from .lstm import LSTM
from .roi_align import ROIAlign, roi_align

__all__ = ["LSTM", "Linear", "PointwiseConv2d", "ROIAlign", "linear", "roi_align"]
