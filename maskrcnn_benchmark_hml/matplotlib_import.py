"""Imports matplotlib whatever MPLBACKEND says.

Notebooks set ``MPLBACKEND=module://matplotlib_inline.backend_inline`` for all their child processes. Where that package
is absent, as in most virtual environments, ``import matplotlib`` itself fails, also for those who draw into files only.
"""

from __future__ import annotations

import importlib.util
import os

_VARIABLE = "MPLBACKEND"
_MODULE = "module://"


def import_matplotlib() -> bool:
    """Import matplotlib; returns False if MPLBACKEND names a backend that does not exist here, which is then ignored.

    A valid one has the same effect as in a plain import, so that a notebook keeps its own.
    """
    backend = os.environ.pop(_VARIABLE, None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ[_VARIABLE] = backend
    if backend:
        try:
            if backend.startswith(_MODULE):  # matplotlib takes most of these names unseen, and pyplot fails then
                if importlib.util.find_spec(backend[len(_MODULE) :]) is None:
                    return False
            matplotlib.rcParams["backend"] = backend
        except (ValueError, ModuleNotFoundError):
            return False
    return True
