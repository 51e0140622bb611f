"""Import machinery: stand-in modules, and callbacks that run right after a module of the host has been imported."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import logging
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Callable

logger = logging.getLogger("maskrcnn_benchmark_hml.compat")

Patch = Callable[[ModuleType], None]
#: Makes a stand-in: a module, or an object in its place (apex.amp).
Make = Callable[[], Any]
Accept = Callable[[importlib.machinery.ModuleSpec], bool]


def _found_by_others(
    fullname: str, path: Sequence[str] | None, target: ModuleType | None
) -> importlib.machinery.ModuleSpec | None:
    """What the import system would have found without us."""
    for finder in sys.meta_path:
        if isinstance(finder, HostFinder) or not hasattr(finder, "find_spec"):
            continue
        spec = finder.find_spec(fullname, path, target)
        if spec is not None:
            return spec if spec.loader is not None else None
    return None


class _StandInLoader(importlib.abc.Loader):
    def __init__(self, make: Make) -> None:
        self.make = make

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self.make()

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to execute: the module is made complete."""


class _NativeFirstLoader(_StandInLoader):
    """Loads a built extension if it works, else the stand-in."""

    def __init__(self, native: importlib.machinery.ExtensionFileLoader, make: Make) -> None:
        super().__init__(make)
        self.native: importlib.machinery.ExtensionFileLoader | None = native

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        if self.native is None:
            return self.make()
        native = importlib.machinery.ModuleSpec(spec.name, self.native, origin=spec.origin)
        try:
            return self.native.create_module(native)
        except ImportError as error:
            logger.info("%s is built for another torch (%s); using torchvision's operators", spec.name, error)
            self.native = None
            return self.make()

    def exec_module(self, module: ModuleType) -> None:
        if self.native is not None:
            self.native.exec_module(module)


class _PatchingLoader(importlib.abc.Loader):
    """The module's own loader, then the callbacks."""

    def __init__(self, loader: importlib.abc.Loader, patches: Sequence[Patch]) -> None:
        self.loader = loader
        self.patches = patches

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        # Readers of module.__loader__ (inspect, pickle of workers) should meet the real one.
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        for patch in self.patches:
            patch(module)


class HostFinder(importlib.abc.MetaPathFinder):
    """Serves stand-ins for modules that are missing and patches host modules as they are imported."""

    def __init__(self) -> None:
        self.stand_ins: dict[str, tuple[Make, Accept]] = {}
        self.patches: dict[str, list[Patch]] = {}

    def stand_in(self, name: str, make: Make, accept: Accept = lambda spec: True) -> None:
        """From now on ``import name`` gives ``make()``, unless there is a native module and ``accept(its spec)``."""
        self.stand_ins.setdefault(name, (make, accept))

    def after_import(self, name: str, patch: Patch) -> None:
        """Runs ``patch(module)`` once ``name`` is imported; at once if it is already."""
        known = self.patches.setdefault(name, [])
        if patch in known:
            return
        known.append(patch)
        if name in sys.modules:
            patch(sys.modules[name])

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname in self.stand_ins:
            native = _found_by_others(fullname, path, target)
            make, accept = self.stand_ins[fullname]
            if native is None or not accept(native):
                return importlib.machinery.ModuleSpec(fullname, _StandInLoader(make))
            if isinstance(native.loader, importlib.machinery.ExtensionFileLoader):
                native.loader = _NativeFirstLoader(native.loader, make)
                return native
            return None
        if fullname in self.patches:
            spec = _found_by_others(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _PatchingLoader(spec.loader, self.patches[fullname])
            return spec
        return None


def active_finder() -> HostFinder:
    """The one finder of this process, put at the head of ``sys.meta_path`` when first asked for."""
    for finder in sys.meta_path:
        if isinstance(finder, HostFinder):
            return finder
    finder = HostFinder()
    sys.meta_path.insert(0, finder)
    return finder
