"""Which part of the package may import which, imports inside functions included; and no circle of modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "maskrcnn_benchmark_hml"
COMMANDS = {"cli", "treecmd", "datasets.cli", "report.command"}
#: Part -> what of the package it imports besides itself.
ALLOWED = {
    "method": {"errors", "files"},
    "metrics": {"errors", "files"},
    "datasets": {"errors", "files"},
    "training": {"errors", "files", "method", "resources", "run_folder"},
}
BENCHMARK = {"host", "compat", "embedded"}
#: Parts that know no benchmark.
WITHOUT_BENCHMARK = ("method", "metrics", "datasets", "training", "report", "files", "run_folder", "config", "merge")


def modules() -> dict[str, Path]:
    """Name below the package -> file; ``""`` is the package itself. The embedded benchmark is one of its own."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] != "embedded":
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def nodes(tree: ast.AST, lazy: bool) -> Iterator[ast.AST]:
    """All nodes but those for type checkers and, unless ``lazy``, those inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not lazy:
            continue
        yield node
        yield from nodes(node, lazy)


def imports(name: str, lazy: bool = True) -> set[str]:
    """The modules of the package that a module imports."""
    path, found = MODULES[name], set()
    here = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in nodes(ast.parse(path.read_text("utf-8")), lazy):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*here[: len(here) - node.level + 1], *(node.module or "").split(".")]
            base = ".".join(part for part in base if part)
            for alias in node.names:
                whole = f"{base}.{alias.name}".lstrip(".")
                found.add(whole if whole in MODULES else base)
    return found - {"", name}


def part(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("whose", ALLOWED)
def test_a_part_imports_what_it_may(whose):
    wrong = {f"{name} -> {other}" for name in MODULES if part(name) == whose
             for other in imports(name) if part(other) not in {whose, *ALLOWED[whose]}}
    assert not wrong


def test_who_knows_no_benchmark_imports_none():
    wrong = {f"{name} -> {other}" for name in MODULES if part(name) in WITHOUT_BENCHMARK
             for other in imports(name) if part(other) in BENCHMARK}
    assert not wrong


def test_nothing_imports_a_command():
    wrong = {f"{name} -> {other}" for name in MODULES if name not in ("__main__", "cli")
             for other in imports(name) if other in COMMANDS}
    assert not wrong


def test_no_circle_is_imported():
    try:
        tuple(TopologicalSorter({name: imports(name, lazy=False) for name in MODULES}).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_reader_sees_imports():
    assert {"host.launch", "errors"} <= imports("cli") and "host.launch" not in imports("cli", lazy=False)
