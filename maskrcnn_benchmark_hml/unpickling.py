"""Reads pickled files without running what they name: the reader of every file of ``torch.save`` and ``pickle``.

A pickle is a program: it names functions and calls them. Here it gets those alone that rebuild data: tensors and their
storages, numpy arrays and numbers, containers, and classes that the caller admits (``BoxList``). Whatever else it names
is refused by that name. ``torch.load(weights_only=True)`` is not used for this: before torch 2.6 it can be made to run
code, and it refuses numpy numbers and ``BoxList``.

The environment variable ``HML_TRUSTED_FILES`` lists files (paths, separated as in ``PATH``) that are read without this
restriction.
"""

from __future__ import annotations

import collections
import contextlib
import io
import logging
import os
import pickle
import re
import types
from collections.abc import Callable, Iterator
from typing import IO, Any, Union

import numpy as np
import torch

from .errors import HMLError

TRUSTED = "HML_TRUSTED_FILES"
_FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
File = Union[str, os.PathLike, IO[bytes]]
#: (module, name) -> the class that stands for it, or None.
Classes = Callable[[str, str], Any]
_log = logging.getLogger("maskrcnn_benchmark.hml")


class Refused(HMLError):
    """The file names something that is not data: ``what``."""

    what = ""


def _refused(source: str, what: str) -> Refused:
    how = f"set the environment variable {TRUSTED}={source}" if os.path.isabs(source) else "load it yourself"
    error = Refused(
        f"{source} names {what}, which is not loaded because it could run code; if you trust the file, {how}"
    )
    error.what = what
    return error


def load_torch(file: File, *, classes: Classes | None = None, load: Callable | None = None, **options: Any) -> Any:
    """What ``torch.load`` returns for a file of any of its formats, read with the restriction of this module.

    Args:
        classes: further classes that the file may hold instances of.
        load: ``torch.load`` itself, where that name stands for another function.
        options: for ``torch.load``; ``weights_only`` and ``pickle_module`` are set here.

    Raises:
        Refused: the file names something that is not data.
        Others: those of ``torch.load``.
    """
    load = load or torch.load
    options = {"map_location": "cpu", **options, "weights_only": False}
    if _trusted(file):
        return load(file, **options)
    _refuse_torchscript(file)
    with _own_pickle_module():
        return load(file, **{**options, "pickle_module": _pickle_module(_name(file), classes)})


def load_pickle(
    file: IO[bytes], *, classes: Classes | None = None, load: Callable = pickle.load, **options: Any
) -> Any:
    """What ``pickle.load`` returns, read with the restriction of this module; arguments as :func:`load_torch`."""
    if _trusted(file):
        return load(file, **options)
    return _pickle_module(_name(file), classes).load(file, **options)


@contextlib.contextmanager
def _own_pickle_module() -> Iterator[None]:
    """Where users force ``weights_only=True`` on all of torch, torch takes no ``pickle_module``; ours is no weaker."""
    forced = os.environ.pop(_FORCED, None)
    try:
        yield
    finally:
        if forced is not None:
            os.environ[_FORCED] = forced


def is_restricted(pickle_module: Any) -> bool:
    """Whether this is what :func:`load_torch` gives to ``torch.load``."""
    return getattr(pickle_module, "__name__", "") == __name__


def _name(file: File) -> str:
    """The file's path; for a stream without one, what it is."""
    name = file if isinstance(file, (str, os.PathLike)) else getattr(file, "name", None)
    return os.path.abspath(name) if isinstance(name, (str, os.PathLike)) else "the data in memory"


def _trusted(file: File) -> bool:
    listed = [os.path.realpath(os.path.expanduser(p)) for p in os.environ.get(TRUSTED, "").split(os.pathsep) if p]
    if not listed or os.path.realpath(_name(file)) not in listed:
        return False
    _log.warning("%s is listed in %s: it is read without restriction and may run code", _name(file), TRUSTED)
    return True


def _refuse_torchscript(file: File) -> None:
    """``torch.load`` hands such archives on to ``torch.jit.load``, which runs methods that they define."""
    if isinstance(file, (str, os.PathLike)):
        with open(file, "rb") as opened:
            return _refuse_torchscript(opened)
    start = file.tell()
    try:
        if file.read(4) == b"PK\x03\x04":
            file.seek(start)
            if "constants.pkl" in torch._C.PyTorchFileReader(file).get_all_records():
                raise _refused(_name(file), "TorchScript code")
    finally:
        file.seek(start)
    return None


def _pickle_module(source: str, classes: Classes | None) -> types.SimpleNamespace:
    """What ``torch.load`` takes as its ``pickle_module``."""

    class Unpickler(RestrictedUnpickler):
        def refuse(self, what: str) -> Refused:
            return _refused(source, what)

        def further(self, module: str, name: str) -> Any:
            if (module, name) == ("torch.storage", "_load_from_bytes"):  # a tensor that pickle wrote, not torch.save
                return tensor_from
            return classes(module, name) if classes is not None else None

    def tensor_from(data: bytes) -> Any:
        _refuse_torchscript(io.BytesIO(data))
        with _own_pickle_module():
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=False, pickle_module=restricted)

    restricted = types.SimpleNamespace(
        Unpickler=Unpickler, load=lambda file, **options: Unpickler(file, **options).load(), __name__=__name__
    )
    return restricted


# ---- what a file may name ----


def _numpy_dtype(code: Any, align: Any = False, copy: Any = False) -> np.dtype:
    """A data type of numbers, text or objects: none with fields, whose layout a file could make up."""
    code = code.decode("ascii") if isinstance(code, bytes) else code
    if not (isinstance(code, str) and re.fullmatch(r"[?biufcSUO]\d*", code)):
        raise ValueError(f"the numpy data type {code!r} is not one of numbers or text")
    return np.dtype(code, False, True)


def _empty_array(_subtype: Any, _shape: Any, _dtype: Any) -> np.ndarray:
    """What numpy calls ``_reconstruct``: the array's state gives it shape, type and content."""
    return np.ndarray((0,), "b")


def _array_from_buffer(buffer: Any, dtype: np.dtype, shape: Any, order: str) -> np.ndarray:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)


def _bytes_from_text(text: str, encoding: str = "latin1") -> bytes:
    """How pickles of protocol 2 hold bytes."""
    if encoding.replace("-", "").replace("_", "") not in ("latin1", "utf8", "ascii"):
        raise ValueError(f"bytes in {encoding!r}")
    return text.encode(encoding)


#: ``ndarray`` itself could lay an array over any bytes; pickles name it only as an argument of ``_reconstruct``.
_NUMPY = {"dtype": _numpy_dtype, "ndarray": "ndarray", "scalar": np.float64(0).__reduce__()[0],
          "_reconstruct": _empty_array, "_frombuffer": _array_from_buffer}
_NUMPY_MODULES = {"numpy", *(f"numpy.{core}.{m}" for core in ("core", "_core") for m in ("multiarray", "numeric"))}
_BUILTINS = {kind.__name__: kind for kind in (
    bool, bytearray, bytes, complex, dict, float, frozenset, int, list, range, set, slice, str, tuple)}
_COLLECTIONS = {kind.__name__: kind for kind in (
    collections.Counter, collections.OrderedDict, collections.defaultdict, collections.deque)}
_TORCH_UTILS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter",
                "_rebuild_parameter_with_state", "_rebuild_sparse_tensor")
#: Module -> name -> what the file gets.
ADMITTED: dict[str, dict[str, Any]] = {
    **dict.fromkeys(_NUMPY_MODULES, _NUMPY),
    "builtins": _BUILTINS,
    "__builtin__": {**_BUILTINS, "unicode": str, "long": int, "xrange": range},  # Python 2
    "collections": _COLLECTIONS,
    "_codecs": {"encode": _bytes_from_text},
    "torch": {"Size": torch.Size, "Tensor": torch.Tensor, "device": torch.device,
              **{name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}},
    "torch._utils": {name: getattr(torch._utils, name) for name in _TORCH_UTILS if hasattr(torch._utils, name)},
    "torch._tensor": {"_rebuild_from_type_v2": torch._tensor._rebuild_from_type_v2},
    "torch.nn.parameter": {"Parameter": torch.nn.Parameter},
    "torch.serialization": {"_get_layout": torch.serialization._get_layout},
    "torch.storage": {"TypedStorage": torch.storage.TypedStorage, "UntypedStorage": torch.storage.UntypedStorage},
    "torch.torch_version": {"TorchVersion": torch.torch_version.TorchVersion},
}


class RestrictedUnpickler(pickle._Unpickler):
    """An unpickler to which a file can name nothing but data.

    The one in Python rather than the one in C, whose BUILD step sets attributes of any object without asking.
    """

    dispatch = dict(pickle._Unpickler.dispatch)

    def refuse(self, what: str) -> Exception:
        """The error for a file that names ``what``."""
        return pickle.UnpicklingError(f"it names {what}")

    def further(self, module: str, name: str) -> Any:
        """What is admitted beyond :data:`ADMITTED`; None: nothing."""
        return None

    def find_class(self, module: str, name: str) -> Any:
        found = ADMITTED.get(module, {}).get(name)
        if found is None and module in ("torch", "torch.cuda") and re.fullmatch(r"[A-Z]\w*Storage", name):
            found = getattr(torch.cuda if module == "torch.cuda" else torch, name, None)
        if found is None:
            found = self.further(module, name)
        if found is None:
            raise self.refuse(f"{module}.{name}")
        return found

    def load_build(self) -> None:
        """Set the state of an object that the file made; never that of a class or function."""
        state, made = self.stack[-1], self.stack[-2]
        if isinstance(made, (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
            raise self.refuse(f"new attributes of {getattr(made, '__qualname__', made)}")
        if isinstance(made, np.dtype) and not _is_state_of(made, state):
            raise self.refuse("a numpy data type of its own making")
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def _is_state_of(dtype: np.dtype, state: Any) -> bool:
    """Whether numpy itself would give a data type of this kind that state, in this or the other byte order."""
    return isinstance(state, tuple) and state in [
        dtype.newbyteorder(order).__reduce__()[2] for order in ("<", ">")
    ]
