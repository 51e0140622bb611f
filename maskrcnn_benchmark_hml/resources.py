"""Where the files that ship with the package are: configs and the embedded benchmark."""

from __future__ import annotations

from pathlib import Path

from .errors import HMLError

_PACKAGE = Path(__file__).resolve().parent


def config_root() -> Path:
    """The folder ``configs/``: inside the installed package, or at the root of a source checkout."""
    for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs"):
        if folder.is_dir():
            return folder
    raise HMLError("the folder configs/ is missing beside the package; reinstall maskrcnn_benchmark_hml")


def config_file(name: str) -> Path:
    """Path of a shipped config file, e.g. ``trees/vg150_clustered.json``.

    Raises:
        HMLError: no such file; the message lists what the folder has.
    """
    path = config_root() / name
    if path.is_file():
        return path
    folder = path.parent
    present = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    raise HMLError(f"no shipped config named {name!r}; {folder.name}/ has: {', '.join(present) or 'nothing'}")


def embedded_root() -> Path:
    """The folder that holds the embedded benchmark's ``tools/`` and ``maskrcnn_benchmark/``."""
    return _PACKAGE / "embedded"
