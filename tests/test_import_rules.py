"""Which part of the package may import which, imports inside functions included; no circle; who knows which names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from maskrcnn_benchmark_hml.host import hook_points

PACKAGE = Path(__file__).resolve().parents[1] / "maskrcnn_benchmark_hml"
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
#: Names of a benchmark's arguments, attributes and functions, which only the parts in BENCHMARK know.
BENCHMARK_NAMES = {
    *hook_points.SCRIPT_NAMES, *hook_points.HEAD_NAMES, *hook_points.SAMPLERS, *hook_points.SAMPLER_SIZES,
    hook_points.DECODER, hook_points.CRITERION, hook_points.REDUCE, "rel_pair_idxs", "rel_labels", "rel_binarys",
    "relation_logits", "refine_logits", "roi_features", "union_features", "att_feature_extractor",
    "union_feature_extractor", "use_union_box", "post_processor", "relationships", "gt_boxes", "gt_classes",
    "gt_attributes", "img_info", "get_img_info", "idx_list", "id_to_img_map", "get_groundtruth", "get_field",
    "ROI_RELATION_PREDICTOR", "maskrcnn_benchmark",
}
#: Which the package uses for things of its own: predictor names of a table, train and its folder, the method's logits.
BENCHMARK_NAMES -= {"predictor", "train", "relation_logits"}
#: Names of a file's format, not of a benchmark's code: the VG annotation file, the stored predictions.
OF_FILES = {"report.merging": {"rel_pair_idxs"}, "report.scene.results": {"rel_pair_idxs"}}


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


def used_names(tree: ast.AST) -> set[str]:
    """Attributes, arguments, keywords and variables, and strings but docstrings that are a (dotted) name."""
    found: set[str] = set()
    texts = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, (ast.arg, ast.keyword)):
            found.add(node.arg or "")
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            if node.value != "maskrcnn_benchmark.hml":  # the logger below the benchmark's own
                found |= set(node.value.split("."))
    return found


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


def test_who_knows_no_benchmark_uses_none_of_its_names():
    wrong = {}
    for name, path in MODULES.items():
        if part(name) in ("method", "metrics", "training", "report"):
            if found := used_names(ast.parse(path.read_text("utf-8"))) & BENCHMARK_NAMES - OF_FILES.get(name, set()):
                wrong[name] = found
    assert not wrong


def test_the_reader_sees_names():
    source = 'def f(rel_labels):\n    "gt_boxes"\n    return rel_labels.img_info, g("roi_heads.idx_list", logits=1)'
    assert used_names(ast.parse(source)) == {"rel_labels", "img_info", "g", "roi_heads", "idx_list", "logits"}


def test_nothing_imports_a_command():
    wrong = {f"{name} -> {other}" for name in MODULES if part(name) not in ("__main__", "cli", "commands")
             for other in imports(name) if part(other) in ("cli", "commands")}
    assert not wrong
    # What a command calls stands elsewhere: commands share their help texts alone.
    assert {other for name in MODULES if part(name) == "commands" for other in imports(name)
            if part(other) in ("cli", "commands")} == {"commands.help"}


def test_no_circle_is_imported():
    try:
        tuple(TopologicalSorter({name: imports(name, lazy=False) for name in MODULES}).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_reader_sees_imports():
    lazy, eager = imports("commands.run"), imports("commands.run", lazy=False)
    assert {"host.launch", "commands.help"} <= lazy and "host.launch" not in eager
