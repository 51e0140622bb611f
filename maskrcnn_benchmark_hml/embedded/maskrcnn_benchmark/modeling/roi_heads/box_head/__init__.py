"""Features and classes of single boxes."""

from . import roi_box_feature_extractors, roi_box_predictors

__all__ = ["roi_box_feature_extractors", "roi_box_predictors"]
