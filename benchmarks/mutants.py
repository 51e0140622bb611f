"""How many small changes of the code do the tests notice?

    python benchmarks/mutants.py FOLDER ... [--number N] [--seed S] [--limit SECONDS] [--results FILE]

A mutant is a copy of this repository with one small change in one file of the package: a comparison is flipped, a sum
becomes a difference, a number is one larger, `and` becomes `or`, a `not` is dropped, `True` becomes `False`, a return
value becomes None, two arguments are exchanged, or a statement without a result is removed. The tests of the changed
folder should fail on it. A mutant on which they pass is unnoticed: no test checks that line, or the change is harmless.

FOLDER is a folder of the package, such as method or training. Its tests are those in tests/FOLDER; a single file of the
package, such as config.py, has tests/test_config.py. All places of the given folders have equal chances to be drawn;
the same code, folders and seed give the same mutants. Each runs `pytest -x -m "not slow"` for at most --limit seconds,
and one that does not end counts as noticed. First the tests run once without a change, and must pass.

The results are added to a file of JSON lines, one mutant a line. The same command continues an interrupted check, and
does not repeat what the file has. It prints one line per mutant, with the change if it is unnoticed, and a table.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
PACKAGE = "maskrcnn_benchmark_hml"
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

    @property
    def key(self) -> list:
        return [self.file, self.start, self.end, self.new]


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
    elif isinstance(node, ast.Call) and len(node.args) >= 2 and not _starred(node.args[:2]):
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


def mutants_of(file: str, text: str) -> list[Mutant]:
    """All mutants of one file's source that differ from it and compile."""
    tree = ast.parse(text)
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    skipped = skipped_nodes(tree)
    found = []
    for node in ast.walk(tree):
        for kind, place, new in changed(node, skipped):
            start = starts[place.lineno - 1] + place.col_offset
            end = starts[place.end_lineno - 1] + place.end_col_offset
            mutant = Mutant(file, place.lineno, kind, start, end, new)
            with contextlib.suppress(SyntaxError):
                if ast.dump(ast.parse(apply(mutant, text))) != ast.dump(tree):
                    found.append(mutant)
    return found


def apply(mutant: Mutant, text: str) -> str:
    """The source with the change."""
    source = text.encode()
    return (source[: mutant.start] + mutant.new.encode() + source[mutant.end :]).decode()


def difference(mutant: Mutant, text: str) -> str:
    """The change as a unified diff without context."""
    lines = difflib.unified_diff(text.splitlines(), apply(mutant, text).splitlines(), lineterm="", n=0)
    return "\n".join(list(lines)[2:])


def files_of(place: str) -> list[str]:
    """The files of a folder, or the file, of the package; paths in the repository."""
    root = REPO / PACKAGE / place
    if not root.exists():
        sys.exit(f"{root} does not exist; give folders or files of {PACKAGE}, such as method or config.py")
    paths = [root] if root.is_file() else sorted(root.rglob("*.py"))
    return [path.relative_to(REPO).as_posix() for path in paths]


def tests_of(file: str) -> str:
    """The tests of a file of the package: the folder of its folder, or the test file of a file."""
    first = Path(file).parts[1]
    tests = f"tests/test_{first}" if first.endswith(".py") else f"tests/{first}"
    if not (REPO / tests).exists():
        sys.exit(f"{tests} does not exist, so nothing tests {file}")
    return tests


def draw(places: list[str], number: int, seed: int) -> list[Mutant]:
    """``number`` different mutants, in the order in which they are tried; a smaller number is the beginning of it."""
    pool = [m for place in places for file in files_of(place) for m in mutants_of(file, (REPO / file).read_text())]
    random.Random(seed).shuffle(pool)
    return pool[:number]


def copy_repository(target: Path) -> None:
    """The repository's files, without what is made of them."""
    left_out = shutil.ignore_patterns(".git", ".venv", "__pycache__", "outputs", "output", "build", "dist", ".*_cache")
    shutil.copytree(REPO, target, ignore=left_out)


def run_tests(folder: Path, tests: str, limit: float) -> str:
    """``passed``, ``failed`` or ``time limit``; the tests and all processes that they started have then ended."""
    variables = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    words = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", tests]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *words], cwd=folder, env=variables, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        return "passed" if process.wait(limit) == 0 else "failed"
    except subprocess.TimeoutExpired:
        return "time limit"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def read_results(path: Path) -> list[dict]:
    """The finished mutants; a line that was cut by an interruption is left out."""
    found = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def check(mutants: list[Mutant], results: Path, limit: float) -> list[dict]:
    """Run the tests on every mutant that the file of results lacks; all results, in the order of the mutants."""
    done = {(*r["key"], r["source"]): r for r in read_results(results)}
    found: list[dict] = []
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "copy"
        copy_repository(folder)
        sound: set[str] = set()
        for at, mutant in enumerate(mutants, 1):
            text, tests = (REPO / mutant.file).read_text(), tests_of(mutant.file)
            change = difference(mutant, text)
            result = done.get((*mutant.key, change))
            if result is None:
                if tests not in sound and (outcome := run_tests(folder, tests, 10 * limit)) != "passed":
                    sys.exit(f"the tests in {tests} do not pass without a change ({outcome}); correct them first")
                sound.add(tests)
                (folder / mutant.file).write_text(apply(mutant, text))
                outcome = run_tests(folder, tests, limit)
                (folder / mutant.file).write_text(text)
                result = {"key": mutant.key, "source": change, "file": mutant.file, "line": mutant.line,
                          "kind": mutant.kind, "outcome": outcome}  # fmt: skip
                with results.open("a") as file:
                    file.write(json.dumps(result) + "\n")
            found.append(result)
            show(result, at, len(mutants))
    return found


def show(result: dict, at: int, number: int) -> None:
    noticed = result["outcome"] != "passed"
    place = f"{result['file']}:{result['line']}"
    print(f"[{at}/{number}] {'noticed  ' if noticed else 'UNNOTICED'} {place} {result['kind']} ({result['outcome']})",
          flush=True)  # fmt: skip
    if not noticed:
        print(result["source"], flush=True)


def summary(found: list[dict]) -> None:
    """Noticed mutants by folder, then one line of JSON."""
    by_folder: dict[str, list[bool]] = {}
    for result in found:
        by_folder.setdefault(Path(result["file"]).parts[1], []).append(result["outcome"] != "passed")
    print(f"\n{'folder':20} noticed  of")
    for folder, noticed in sorted(by_folder.items()):
        print(f"{folder:20} {sum(noticed):7} {len(noticed):3}")
    noticed = sum(map(sum, by_folder.values()))
    print(json.dumps({"mutants": len(found), "noticed": noticed, "share": round(noticed / max(len(found), 1), 3)}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="folders or files of the package, e.g. method")
    parser.add_argument("--number", type=int, default=200, help="mutants (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="which mutants (default: 0)")
    parser.add_argument("--limit", type=float, default=300, help="seconds for the tests of one mutant (default: 300)")
    parser.add_argument("--results", type=Path, default=Path("outputs/mutants.jsonl"), metavar="FILE",
                        help="file of finished mutants (default: outputs/mutants.jsonl)")  # fmt: skip
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    summary(check(draw(options.folders, options.number, options.seed), options.results, options.limit))
    return 0


if __name__ == "__main__":
    sys.exit(main())
