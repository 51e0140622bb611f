"""Operations that torch does not have in this form."""

from .linear import Linear, linear
from .roi_align import ROIAlign, roi_align

__all__ = ["Linear", "ROIAlign", "linear", "roi_align"]
