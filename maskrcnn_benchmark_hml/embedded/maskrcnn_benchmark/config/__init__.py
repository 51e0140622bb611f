"""``cfg``, the one configuration tree that the scripts, the model and the data share."""

from .defaults import _C as cfg

__all__ = ["cfg"]
