"""Reads a checkout by its syntax: nothing of it is imported or run, so it works for any fork on any machine."""

from __future__ import annotations

import ast
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACKAGE = "maskrcnn_benchmark"


class Absent(Exception):
    """A file, class or function that the checkout does not have; the text names it."""


@dataclass
class Source:
    """A checkout. ``tree``, ``find`` and the like raise ``Absent`` for what is not there."""

    root: Path
    _trees: dict[str, ast.Module] = field(default_factory=dict)

    def tree(self, path: str) -> ast.Module:
        """The syntax tree of a file, given relative to the root."""
        if path not in self._trees:
            try:
                with warnings.catch_warnings():  # hosts hold invalid escapes and `is 0`
                    warnings.simplefilter("ignore")
                    self._trees[path] = ast.parse((self.root / path).read_bytes())
            except OSError as error:
                raise Absent(f"{path} does not exist") from error
            except (SyntaxError, ValueError) as error:
                line = getattr(error, "lineno", None) or 1
                raise Absent(f"{path} is not Python that can be read (line {line})") from error
        return self._trees[path]

    def find(self, path: str, *names: str) -> Any:
        """A class or function, by its names from the outside in: ``find(path, "VGDataset", "get_groundtruth")``."""
        node: ast.AST = self.tree(path)
        for depth, name in enumerate(names):
            inner = [n for n in statements(node) if isinstance(n, (ast.ClassDef, ast.FunctionDef)) and n.name == name]
            if not inner:
                raise Absent(f"{path} has no {'.'.join(names[: depth + 1])}")
            node = inner[-1]
        return node

    def method(self, path: str, name: str, method: str) -> ast.FunctionDef:
        """A method of a class or of its base classes in the same file."""
        known = {n.name: n for n in ast.walk(self.tree(path)) if isinstance(n, ast.ClassDef)}
        waiting, seen = [name], set()
        while waiting:
            current = waiting.pop(0)
            if current in seen or current not in known:
                continue
            seen.add(current)
            for node in known[current].body:
                if isinstance(node, ast.FunctionDef) and node.name == method:
                    return node
            waiting += [base.id for base in known[current].bases if isinstance(base, ast.Name)]
        raise Absent(f"{path} has no {name}.{method}")

    def has_method(self, path: str, name: str, method: str) -> bool:
        """Whether ``method`` would find one."""
        try:
            self.method(path, name, method)
        except Absent:
            return False
        return True

    def files(self, start: str) -> Iterator[str]:
        """``start`` and the files of the benchmark's package that importing it executes, each once."""
        waiting, seen = [start], set()
        while waiting:
            path = waiting.pop()
            if path in seen or not (self.root / path).is_file():
                continue
            seen.add(path)
            yield path
            try:
                tree = self.tree(path)
            except Absent:
                continue
            for name in imported(tree, _dotted(path)):
                parts = name.split(".")
                if parts[0] == PACKAGE:
                    for depth in range(1, len(parts) + 1):
                        stem = "/".join(parts[:depth])
                        waiting += [f"{stem}/__init__.py", f"{stem}.py"]

    def missing_packages(self, start: str) -> dict[str, str]:
        """Packages that importing ``start`` needs and that are not installed, each with a file that imports it."""
        missing: dict[str, str] = {}
        for path in sorted(self.files(start)):
            try:
                names = imported(self.tree(path), _dotted(path))
            except Absent:
                continue
            for name in names:
                top = name.split(".")[0]
                local = [folder / top for folder in ((self.root / path).parent, self.root)]
                if top in missing or any(p.with_suffix(".py").is_file() or p.is_dir() for p in local):
                    continue
                if top not in sys.builtin_module_names and importlib.util.find_spec(top) is None:
                    missing[top] = path
        return missing


def _dotted(path: str) -> str:
    return path[: -len(".py")].replace("/", ".")


def statements(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements of a body, those within ``if``, ``try`` and ``with`` included, but not those of inner bodies."""
    for name in ("body", "orelse", "finalbody"):
        for child in getattr(node, name, []):
            yield child
            if isinstance(child, (ast.If, ast.Try, ast.With)):
                yield from statements(child)
    for handler in getattr(node, "handlers", []):
        yield from statements(handler)


def imported(tree: ast.Module, dotted: str) -> list[str]:
    """Full names that a module imports when it is executed; imports within ``try`` may fail and do not count."""
    names = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        for node in getattr(waiting.pop(), "body", []):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                # "a.b.__init__" and "a.b.c" alike: one level is the last part's folder
                parts = dotted.split(".")[: -node.level] if node.level else []
                base = ".".join([*parts, *([node.module] if node.module else [])])
                names += [base, *(f"{base}.{alias.name}" for alias in node.names if base.startswith(PACKAGE))]
            elif isinstance(node, (ast.If, ast.With, ast.ClassDef)):
                waiting.append(node)
    return names


def bound(tree: ast.Module) -> set[str]:
    """Names that a module's top level binds."""
    names: set[str] = set()
    for node in statements(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {t.id for target in node.targets for t in ast.walk(target) if isinstance(t, ast.Name)}
    return names


def arguments(function: ast.FunctionDef) -> tuple[list[str], list[str]]:
    """Names of the arguments that must be given and of those with a default, ``self`` left out."""
    plain = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    defaults = len(function.args.defaults)
    needed, optional = plain[: len(plain) - defaults], plain[len(plain) - defaults :]
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults):
        (needed if default is None else optional).append(argument.arg)
    return [name for name in needed if name != "self"], optional


def calls(node: ast.AST, name: str) -> list[ast.Call]:
    """Calls of ``name``, ``x.name`` or ``a.b.name``, in the order of their lines."""
    found = [n for n in ast.walk(node) if isinstance(n, ast.Call) and ast.unparse(n.func).split(".")[-1] == name]
    return sorted(found, key=lambda call: call.lineno)


def returns(function: ast.FunctionDef) -> list[ast.expr]:
    """What a function returns, without the returns of functions inside it."""
    return [n.value for n in _own(function) if isinstance(n, ast.Return) and n.value is not None]


def _own(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            yield child
            yield from _own(child)


def assigned(node: ast.AST, call: str) -> list[ast.expr]:
    """Left-hand sides of ``... = call(...)``."""
    return [
        n.targets[0] for n in ast.walk(node)
        if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call) and ast.unparse(n.value.func) == call
    ]


def attributes(node: ast.AST) -> set[str]:
    """Names ``x`` of ``self.x`` that are assigned."""
    return {
        n.attr for n in ast.walk(node)
        if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store) and ast.unparse(n.value) == "self"
    }


def called_on_self(node: ast.AST, name: str) -> list[ast.Call]:
    """Calls ``self.name(...)``."""
    return [n for n in ast.walk(node) if isinstance(n, ast.Call) and ast.unparse(n.func) == f"self.{name}"]
