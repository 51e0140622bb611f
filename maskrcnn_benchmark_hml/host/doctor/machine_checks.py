"""Versions and libraries of this machine, if HML depends on them."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Iterator

import numpy as np

from .finding import BREAKS, HANDLED, OK, Finding
from .hook_point_checks import SCRIPT
from .source import PACKAGE, Source

#: Packages that the compatibility layer replaces where they are not installed.
PROVIDED = {"apex": "apex.amp's interface runs over torch.amp", "cv2": "only masks and keypoints need it"}
_OLDEST_TORCH = (2, 1)
_SAFE_WEIGHTS_ONLY = (2, 6)
_NUMPY_2 = (2, 3)


def check_machine(source: Source, embedded: bool) -> Iterator[Finding]:
    """Python, torch, torchvision, CUDA, the compiled extension, apex, and packages that the fork imports."""
    yield Finding("python", OK, f"{platform.python_version()}")
    yield from _torch()
    if embedded:
        return
    folder = source.root / PACKAGE
    built = [suffix for suffix in importlib.machinery.EXTENSION_SUFFIXES if (folder / f"_C{suffix}").is_file()]
    if built:
        yield Finding("compiled extension", OK, f"_C{built[0]}; used if this torch loads it")
    else:
        yield Finding("compiled extension", HANDLED, "not built; its operations run on torchvision's")
    missing = source.missing_packages(SCRIPT)
    for name, text in PROVIDED.items():
        installed = importlib.util.find_spec(name) is not None
        yield Finding(name, OK if installed else HANDLED, "installed" if installed else f"not installed; {text}")
    for name, path in missing.items():
        if name not in PROVIDED and not name.startswith("_"):
            yield Finding(f"package {name}", BREAKS, f"{path} imports it and it is not installed; install it with pip")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in version.split(".")[:2])


def _torch() -> Iterator[Finding]:
    for name in ("torch", "torchvision"):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, BREAKS, f"not installed in {sys.prefix}; pip install {name}")
            continue
        numbers = _numbers(version)
        if name == "torch" and numbers < _OLDEST_TORCH:
            yield Finding(name, BREAKS, f"{version}; at least {'.'.join(map(str, _OLDEST_TORCH))} is needed")
        elif name == "torch" and numbers < _SAFE_WEIGHTS_ONLY:
            yield Finding(name, HANDLED, f"{version}; before 2.6 a file can run code even with weights_only=True; hml "
                          "reads every file with its own reader, which runs none; other programs are not protected")
        else:
            yield Finding(name, OK, version)
        if name == "torch" and numbers < _NUMPY_2 and _numbers(np.__version__) >= (2, 0):
            yield Finding("numpy", BREAKS, f"{np.__version__}; torch before 2.3 needs numpy 1; pip install 'numpy<2'")
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("CUDA", BREAKS, f"torch does not load ({error}); install it again")
        return
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield Finding("CUDA", OK, f"{torch.version.cuda}: {names}")
    else:
        yield Finding("CUDA", HANDLED, "no device: everything runs on the CPU, slowly")
