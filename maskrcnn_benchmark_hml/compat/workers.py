"""Shims in processes that are started afresh: DataLoader workers under spawn and forkserver."""

from __future__ import annotations

import multiprocessing

_KEY = "hml_compat"


def _install_here(root: str) -> None:
    from .installer import install

    install(root)


class InstallFirst:
    """An object whose unpickling installs the shims; it carries the checkout's folder."""

    def __init__(self, root: str) -> None:
        self.root = root

    def __reduce__(self) -> tuple:
        return _reinstall, (self.root,)


def _reinstall(root: str) -> InstallFirst:
    _install_here(root)
    return InstallFirst(root)


def shims_in_workers(root: str) -> bool:
    """Cures ``No module named 'torch._six'`` in DataLoader workers under spawn (Python 3.14's default is forkserver).

    A worker unpickles its process object's ``_config``, which children inherit, before its arguments, which hold the
    host's dataset; so an object in there is the place from which the shims can be installed in time.
    """
    config = multiprocessing.current_process()._config
    if _KEY in config:
        return False
    config[_KEY] = InstallFirst(root)
    return True
