"""Reads what SGB's scripts store with pickle, without the benchmark and without running what a file says.

Only tensors, numpy numbers, plain containers and ``BoxList`` (as a record of its attributes) come out; a file that
names anything else is refused.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from ..errors import HMLError

_ALLOWED = {
    ("collections", "OrderedDict"),
    ("torch", "Size"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}


class StoredBoxes:
    """A ``BoxList`` as it was stored: ``bbox``, ``size``, ``mode``, ``extra_fields``."""

    bbox: torch.Tensor
    size: tuple[int, int]
    mode: str
    extra_fields: dict[str, Any]

    def field(self, name: str) -> torch.Tensor:
        """HMLError if the boxes lack it."""
        if name not in self.extra_fields:
            raise HMLError(f"the stored boxes have no {name}; give the results of a test with relations")
        return self.extra_fields[name]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name == "BoxList" and module.endswith("structures.bounding_box"):
            return StoredBoxes
        if (module, name) in _ALLOWED:
            return super().find_class(module.replace("numpy._core", _numpy_core()), name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _numpy_core() -> str:
    import numpy

    return "numpy._core" if int(numpy.__version__.split(".")[0]) >= 2 else "numpy.core"


def load_stored(path: str | Path) -> Any:
    """The content of a file of ``torch.save``; tensors stay on disk until they are looked at, if the format allows.

    Raises:
        HMLError: no such file, torn, or with other things in it than results have.
    """
    path = Path(path)
    if not path.is_file():
        raise HMLError(f"there is no file {path}; correct the path")
    module = SimpleNamespace(
        Unpickler=_Unpickler, load=lambda file, **words: _Unpickler(file, **words).load(), __name__="stored"
    )
    try:
        # Files of torch < 1.6 are no zip archives and cannot be mapped; torch 2.1 maps what a string names.
        return torch.load(
            str(path), map_location="cpu", pickle_module=module, weights_only=False,
            mmap=zipfile.is_zipfile(path) or None,
        )  # fmt: skip
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, AttributeError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HMLError(f"{path} cannot be read as results ({reason}); run the test script again") from error
