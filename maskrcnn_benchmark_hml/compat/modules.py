"""Stand-ins for modules that the host imports and a current machine does not have."""

from __future__ import annotations

import collections.abc
import importlib
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from . import ops
from .amp import amp
from .imports import active_finder


def torch_six() -> bool:
    """Cures ``AttributeError: module 'torch' has no attribute '_six'`` (torch >= 2.0; utils/imports.py and others).

    Returns whether a stand-in was needed; so do the other functions of this file.
    """
    if hasattr(torch, "_six"):
        return False
    module = ModuleType("torch._six", "Python 2/3 names that torch once had")
    module.PY2, module.PY3, module.PY37 = False, True, True
    module.string_classes = (str, bytes)
    module.int_classes = int
    module.inf, module.nan = float("inf"), float("nan")
    module.container_abcs = collections.abc
    torch._six = module
    sys.modules["torch._six"] = module
    return True


def _make_apex() -> ModuleType:
    module = ModuleType("apex", "apex.amp's interface over torch.amp")
    module.amp = amp
    module.__path__ = []
    return module


def _has_amp(spec: importlib.machinery.ModuleSpec) -> bool:
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    return any((folder / "amp").is_dir() or (folder / "amp.py").is_file() for folder in folders)


def apex_module() -> bool:
    """Cures ``ImportError: Use APEX for multi-precision via apex.amp``.

    NVIDIA's apex is used when it is installed; the unrelated package of that name on PyPI has no ``amp`` and is not.
    """
    active_finder().stand_in("apex", _make_apex, accept=_has_amp)
    active_finder().stand_in("apex.amp", lambda: amp)
    return importlib.import_module("apex").__dict__.get("amp") is amp


def compiled_extension(root: Path) -> bool:
    """Cures ``ImportError: cannot import name '_C'``: the CUDA/C++ sources do not build on torch >= 1.11.

    An extension that is built and loads is used; one that is built for another torch is not.
    """
    active_finder().stand_in("maskrcnn_benchmark._C", ops.make_module)
    return not any(next((root / "maskrcnn_benchmark").glob(pattern), None) for pattern in ("_C*.so", "_C*.pyd"))


class _MissingName:
    """A name of such a module: it may be imported, and says what to install when it is called."""

    def __init__(self, remedy: str) -> None:
        self._remedy = remedy

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise ImportError(self._remedy)


class _Missing(ModuleType):
    """A module that may be imported, by names too (CFA: ``from cv2 import compare``), but not used."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(name, f"stand-in: {remedy}")
        self.__dict__["_remedy"] = remedy

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _MissingName(self.__dict__["_remedy"])


def opencv() -> bool:
    """Cures ``ModuleNotFoundError: No module named 'cv2'``: imported for masks and keypoints, which SGG never uses."""
    remedy = "cv2 is needed for masks and keypoints and is not installed; run: pip install opencv-python-headless"
    if importlib.util.find_spec("cv2") is not None:
        return False
    active_finder().stand_in("cv2", lambda: _Missing("cv2", remedy))
    return True
