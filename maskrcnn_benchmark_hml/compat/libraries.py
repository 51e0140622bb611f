"""Names and defaults of numpy and torch that changed since the host was written."""

from __future__ import annotations

import functools
import importlib
import os
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import unpickling

#: Names that numpy has removed (1.24, 2.0, 2.4) -> what they were.
NUMPY_ALIASES = {
    "float": float, "int": int, "bool": bool, "object": object, "str": str, "complex": complex,
    "bool8": np.bool_, "float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "string_": np.bytes_,
    "NaN": np.nan, "NAN": np.nan, "Inf": np.inf, "Infinity": np.inf, "infty": np.inf, "PINF": np.inf, "NINF": -np.inf,
    "in1d": lambda values, *args, **kwargs: np.isin(np.ravel(values), *args, **kwargs),  # flat, unlike isin
    "product": np.prod, "cumproduct": np.cumprod, "alltrue": np.all, "sometrue": np.any,
    "row_stack": np.vstack, "trapz": getattr(np, "trapezoid", None) or vars(np).get("trapz"),
}  # fmt: skip


def _wrapped(function: Any) -> bool:
    return getattr(function, "hml_compat", False)


def _mark(function: Any) -> Any:
    function.hml_compat = True
    return function


def numpy_aliases() -> bool:
    """Cures ``AttributeError: module 'numpy' has no attribute 'float'`` (numpy >= 1.24; visual_genome.py, sgg_eval.py),
    and the same of names that only forks use.

    Returns whether anything was patched; so do the other functions of this file.
    """
    missing = [name for name in NUMPY_ALIASES if name not in vars(np)]
    for name in missing:
        setattr(np, name, NUMPY_ALIASES[name])
    return bool(missing)


def torch_hub_download_name() -> bool:
    """Cures ``ImportError: cannot import name '_download_url_to_file'`` (torch >= 1.2; utils/model_zoo.py)."""
    import torch.hub

    if hasattr(torch.hub, "_download_url_to_file"):
        return False
    torch.hub._download_url_to_file = torch.hub.download_url_to_file
    return True


#: Libraries that load files on behalf of their caller: numpy.load unpickles arrays of objects, torch.hub downloads.
_LOADERS = tuple(os.path.dirname(os.path.realpath(str(library.__file__))) + os.sep for library in (np, torch))


def _called_from(root: str, depth: int = 2) -> bool:
    """Whether the function ``depth`` frames up, past those of numpy and torch, is defined in a file below ``root``."""
    frame = sys._getframe(depth)
    while frame is not None and (file := os.path.realpath(frame.f_code.co_filename)).startswith(_LOADERS):
        frame = frame.f_back
    return frame is not None and file.startswith(root + os.sep)


def host_classes(module: str, name: str) -> type | None:
    """The class of the host's ``structures`` that a file names, ``BoxList`` for one."""
    if not re.fullmatch(r"maskrcnn_benchmark\.structures(\.\w+)+", module) or not name.isidentifier():
        return None
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
    return found if isinstance(found, type) and found.__module__ == module else None


def torch_load_for_host(root: Path) -> bool:
    """Cures ``UnpicklingError: Weights only load failed`` (torch >= 2.6) for files that the host itself reads.

    Acts on calls that come from a file below ``root``, whatever they say of ``weights_only``: the file is read by
    :mod:`..unpickling`, which admits what the host writes (eval_results.pytorch holds BoxLists and numpy numbers) and
    refuses the rest by name. All other callers keep torch's default. A relative path into the checkout
    (zeroshot_triplet.pytorch) is found from any working directory.
    """
    if _wrapped(torch.load):
        return False
    original = torch.load
    inside = os.path.realpath(root)

    @_mark
    @functools.wraps(original)
    def load(f: Any, map_location: Any = None, pickle_module: Any = None, **kwargs: Any) -> Any:
        if unpickling.is_restricted(pickle_module) or not _called_from(inside):
            return original(f, map_location, pickle_module, **kwargs)
        if isinstance(f, (str, os.PathLike)) and not os.path.exists(f) and os.path.exists(os.path.join(inside, f)):
            f = os.path.join(inside, f)
        return unpickling.load_torch(f, classes=host_classes, load=original, map_location=map_location, **kwargs)

    torch.load = load
    return True


def pickle_load_for_host(root: Path) -> bool:
    """The same for ``pickle.load`` (c2_model_loading.py, .pkl detectors) and ``numpy.load`` of objects."""
    if _wrapped(pickle.load):
        return False
    original = pickle.load
    inside = os.path.realpath(root)

    @_mark
    @functools.wraps(original)
    def load(file: Any, **kwargs: Any) -> Any:
        if not _called_from(inside):
            return original(file, **kwargs)
        return unpickling.load_pickle(file, classes=host_classes, load=original, **kwargs)

    pickle.load = load
    return True


def cuda_calls_on_cpu() -> bool:
    """Cures ``AssertionError: Torch not compiled with CUDA enabled`` and ``RuntimeError: Found no NVIDIA driver``.

    Without a CUDA device ``Tensor.cuda()`` and ``Module.cuda()`` return their object and ``torch.cuda.set_device`` and
    ``synchronize`` do nothing (loss.py, comm.py, the scripts). ``x.to(y.get_device())`` (FGPL, SGG-G2S) asks for device
    -1 then, which means the CPU. With a device nothing is patched.
    """
    if torch.cuda.is_available() or _wrapped(torch.Tensor.cuda):
        return False

    @_mark
    def stay(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self

    @_mark
    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    original_to = torch.Tensor.to

    @functools.wraps(original_to)
    def to(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if args and type(args[0]) is int and args[0] < 0:
            args = ("cpu", *args[1:])
        return original_to(self, *args, **kwargs)

    torch.Tensor.to = to
    torch.Tensor.cuda = stay
    torch.nn.Module.cuda = stay
    torch.cuda.set_device = nothing
    torch.cuda.synchronize = nothing
    return True


def gloo_without_cuda() -> bool:
    """Cures ``ProcessGroupNCCL is only supported with GPUs``: the scripts ask for NCCL; without CUDA gloo answers."""
    if torch.cuda.is_available() or not torch.distributed.is_available():
        return False
    if _wrapped(torch.distributed.init_process_group):
        return False
    original = torch.distributed.init_process_group

    @_mark
    @functools.wraps(original)
    def init_process_group(backend: str | None = None, *args: Any, **kwargs: Any) -> Any:
        return original("gloo" if backend == "nccl" else backend, *args, **kwargs)

    torch.distributed.init_process_group = init_process_group
    return True


def data_parallel_on_cpu() -> bool:
    """Cures ``ValueError: DistributedDataParallel device_ids ... only works with single-device CUDA modules``.

    For a module on CPU the scripts' ``device_ids`` and ``output_device`` are dropped; the class stays the same.
    """
    cls = torch.nn.parallel.DistributedDataParallel
    if torch.cuda.is_available() or _wrapped(cls.__init__):
        return False
    original = cls.__init__

    @_mark
    @functools.wraps(original)
    def init(self: Any, module: torch.nn.Module, device_ids: Any = None, output_device: Any = None, *args, **kwargs):
        if not any(p.is_cuda for p in module.parameters()):
            device_ids = output_device = None
        original(self, module, device_ids, output_device, *args, **kwargs)

    cls.__init__ = init
    return True
