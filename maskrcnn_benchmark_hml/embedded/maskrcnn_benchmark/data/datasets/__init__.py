"""Dataset classes by the names that ``paths_catalog.py`` uses."""

from .visual_genome import VGDataset

__all__ = ["VGDataset"]
