"""What a config can name: each registry maps the name to a builder ``f(cfg, ...)``."""

from maskrcnn_benchmark.utils.registry import Registry

BACKBONES = Registry()
ROI_BOX_FEATURE_EXTRACTORS = Registry()
ROI_BOX_PREDICTOR = Registry()
ROI_RELATION_FEATURE_EXTRACTORS = Registry()
ROI_RELATION_PREDICTOR = Registry()
