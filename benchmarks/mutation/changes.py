"""All small changes of a source file that mutants.py may make."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult}


@dataclass(frozen=True)
class Mutant:
    """One change: ``new`` takes the place of the source between two positions of a file (bytes from its start)."""

    file: str
    line: int
    kind: str
    start: int
    end: int
    new: str
    functions: tuple[int, ...]  # first lines of the functions around it, as in their code objects


def changed(node: ast.AST, inside_annotation: set[int]) -> Iterator[tuple[str, ast.AST, str]]:
    """(kind, the node to replace, its new source) of every change of one node."""
    if id(node) in inside_annotation:
        return
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        other = ast.Compare(node.left, [COMPARISONS[type(node.ops[0])](), *node.ops[1:]], node.comparators)
        yield "comparison", node, f"({ast.unparse(other)})"
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS and not _is_text(node):
        yield "operator", node, f"({ast.unparse(ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right))})"
    elif isinstance(node, ast.BoolOp):
        other = ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        yield "and/or", node, f"({ast.unparse(other)})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not dropped", node, f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "truth value", node, repr(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield "number", node, f"({node.value + 1!r})"
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "return value", node, "return None"
    elif isinstance(node, ast.Call) and len(node.args) >= 2 and not _starred(node.args[:2]) and not _commutes(node):
        first, second, *rest = node.args
        yield "argument order", node, ast.unparse(ast.Call(node.func, [second, first, *rest], node.keywords))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "statement", node, "pass"


def _is_text(node: ast.BinOp) -> bool:
    return any(isinstance(n, ast.JoinedStr) or isinstance(getattr(n, "value", None), str) for n in ast.walk(node))


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _starred(nodes: list[ast.expr]) -> bool:
    return any(isinstance(node, ast.Starred) for node in nodes)


def _commutes(node: ast.Call) -> bool:
    """Whether the first two arguments may be exchanged."""
    return ast.unparse(node.func).split(".")[-1] in ("min", "max", "minimum", "maximum")


def skipped_nodes(tree: ast.AST) -> set[int]:
    """Nodes that do nothing when the code runs: annotations, log lines, messages, the parts of f-strings."""
    parts: list[ast.AST] = []
    for node in ast.walk(tree):
        parts += [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, (ast.Raise, ast.JoinedStr)):
            parts.append(node)
        elif isinstance(node, ast.Expr) and ast.unparse(node).startswith(("_log.", "logger.", "print(")):
            parts.append(node)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            parts.append(node)
    return {id(inner) for part in parts if part is not None for inner in ast.walk(part)}


def functions_around(tree: ast.AST) -> dict[int, tuple[int, ...]]:
    """The first lines of the functions in whose body a node is, its decorators counted as in code objects."""
    found: dict[int, tuple[int, ...]] = defaultdict(tuple)
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
            for node in (node for statement in function.body for node in ast.walk(statement)):
                found[id(node)] += (first,)
    return found


def mutants_of(file: str, text: str) -> list[Mutant]:
    """All mutants of one file's source that differ from it."""
    tree = ast.parse(text)
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    skipped, around = skipped_nodes(tree), functions_around(tree)
    found = []
    for node in ast.walk(tree):
        for kind, place, new in changed(node, skipped):
            start = starts[place.lineno - 1] + place.col_offset
            end = starts[place.end_lineno - 1] + place.end_col_offset
            if ast.dump(ast.parse(new)) != ast.dump(ast.parse(ast.unparse(place))):
                found.append(Mutant(file, place.lineno, kind, start, end, new, around.get(id(node), ())))
    return found


def apply(mutant: Mutant, text: str) -> str:
    """The source with the change."""
    source = text.encode()
    return (source[: mutant.start] + mutant.new.encode() + source[mutant.end :]).decode()


def difference(mutant: Mutant, text: str) -> str:
    """The lines removed and added."""
    source = text.encode()
    first = source.rfind(b"\n", 0, mutant.start) + 1
    last = source.find(b"\n", mutant.end)
    last = len(source) if last < 0 else last
    new = source[first : mutant.start] + mutant.new.encode() + source[mutant.end : last]
    lines = [("-", source[first:last]), ("+", new)]
    return "\n".join(sign + line for sign, part in lines for line in part.decode().splitlines())
