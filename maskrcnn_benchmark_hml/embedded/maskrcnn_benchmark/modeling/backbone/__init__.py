"""Feature extractors; importing this package registers them."""

from . import resnet_fpn, tiny_fpn
from .backbone import build_backbone

__all__ = ["build_backbone", "resnet_fpn", "tiny_fpn"]
