"""Import of a module from a file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from maskrcnn_benchmark_hml.errors import HMLError


def import_file(module_name: str, file_path: str | Path, make_importable: bool = False) -> ModuleType:
    """Execute ``file_path`` as the module ``module_name``; each call executes it anew.

    Raises:
        HMLError: there is no such file.
    """
    if not Path(file_path).is_file():
        raise HMLError(f"there is no file {file_path} to import; check the path (PATHS_CATALOG, if you set it)")
    spec = importlib.util.spec_from_file_location(module_name, str(file_path))
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    if make_importable:
        sys.modules[module_name] = made
    return made
