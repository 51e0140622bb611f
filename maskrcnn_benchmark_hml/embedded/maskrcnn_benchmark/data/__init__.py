"""Datasets, their statistics and the loaders."""

from .build import get_dataset_statistics, make_data_loader

__all__ = ["get_dataset_statistics", "make_data_loader"]
