"""Pairs, their features, their predicates; importing this package registers extractors and predictors."""

from . import roi_relation_feature_extractors, roi_relation_predictors

__all__ = ["roi_relation_feature_extractors", "roi_relation_predictors"]
