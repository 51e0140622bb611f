"""``hml patch check|apply|revert DIR``: the two lines that put HML into a checkout's own training script.

The places are found by syntax: the first line goes before the first statement (after the docstring and ``__future__``
imports), the second before the ``if __name__ == "__main__":`` block. Each line carries the digest of the file that it
was put into, so a revert gives back exactly that file, or refuses. Everything works on bytes: encoding, line ends and
a missing last newline stay as they are.
"""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ..errors import HMLError
from ..files import written_aside
from .locate import checkout_below, is_benchmark

SCRIPT = Path("tools") / "relation_train_net.py"
LINES = ("import maskrcnn_benchmark_hml.host.inline as _hml; _hml.start(globals())", "_hml.wrap(globals())")
_MARK = "# hml patch"
_MARKED = re.compile(rf"[^\r\n]*{_MARK} ([12])/2 ([0-9a-f]{{16}})(\r\n|\r|\n)?".encode())
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")  # as Python counts lines; splitlines() knows more separators
_BOM = b"\xef\xbb\xbf"


def patched(source: bytes) -> bytes:
    """The script with the two lines.

    Raises:
        HMLError: no Python, no ``train``/``main``, no ``if __name__`` block, or patched already.
    """
    if _MARK.encode() in source:
        raise HMLError("the script is patched already; hml patch revert takes the two lines out")
    first, second = places(source)
    digest = _digest(source)
    bom = _BOM if source.startswith(_BOM) else b""
    lines = _LINE.findall(source[len(bom) :])
    end = re.search(rb"\r\n|\r|\n", source)
    for place, number in ((second, 2), (first, 1)):
        text = f"{LINES[number - 1]}  {_MARK} {number}/2 {digest}".encode()
        lines.insert(place - 1, text + (end.group() if end else b"\n"))
    return bom + b"".join(lines)


def places(source: bytes) -> tuple[int, int]:
    """The line numbers (from 1) before which the two lines go.

    Raises:
        HMLError: one of them has no place.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise HMLError(f"the script is not Python that can be read (line {line}); mend it first") from error
    absent = [name for name in ("train", "main") if name not in set(_bound(tree))]
    if absent:
        raise HMLError(f"the script has no function {' and no '.join(absent)}, where HML acts; give another checkout")
    blocks = [node.lineno for node in tree.body if isinstance(node, ast.If) and _asks_for_main(node.test)]
    if not blocks:
        raise HMLError('the script has no block if __name__ == "__main__":, so the second line has no place; add one')
    return _first_statement(tree), blocks[0]


def reverted(source: bytes) -> bytes:
    """The script as it was before ``patched``.

    Raises:
        HMLError: it holds no two lines of ours, or was edited after it was patched.
    """
    lines = _LINE.findall(source)
    bom = _BOM if source.startswith(_BOM) else b""
    found = [match for match in map(_MARKED.fullmatch, lines) if match]
    if not found:
        raise HMLError("the script is not patched, so there is nothing to take out")
    if [match.group(1) for match in found] != [b"1", b"2"]:
        raise HMLError(f"the script holds {len(found)} lines marked {_MARK!r} where two belong; delete them by hand")
    plain = b"".join(line for line in lines if not _MARKED.fullmatch(line))
    if bom and not plain.startswith(bom):
        plain = bom + plain
    if {match.group(2).decode() for match in found} != {_digest(plain)}:
        raise HMLError(
            f"the script was edited after it was patched, so the original cannot be vouched for; delete the two lines "
            f"marked {_MARK!r} by hand"
        )
    return plain


def _bound(tree: ast.Module) -> Iterator[str]:
    """Names of functions that the script defines or imports at its top level."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def _asks_for_main(test: ast.expr) -> bool:
    """Whether an ``if`` holds for ``__name__ == "__main__"``, either way round, alone or within an ``and``."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return any(_asks_for_main(value) for value in test.values)
    if not (isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Eq)):
        return False
    sides = [test.left, *test.comparators]
    names = {side.id for side in sides if isinstance(side, ast.Name)}
    return names == {"__name__"} and "__main__" in {side.value for side in sides if isinstance(side, ast.Constant)}


def _first_statement(tree: ast.Module) -> int:
    """Line of the first statement that is neither the docstring nor a ``__future__`` import; decorators count."""
    last = 0
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node is tree.body[0]
        if not docstring and not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            place = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            if place == last:
                raise HMLError(f"line {place} of the script holds two statements; put them on lines of their own")
            return place
        last = node.end_lineno or 0
    raise HMLError("the script is empty; give a training script")


def _digest(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()[:16]


def script_of(folder: str | Path) -> Path:
    """The training script of a checkout (a link is followed).

    Raises:
        HMLError: the folder is no checkout.
    """
    if not is_benchmark(Path(folder)):
        raise HMLError(
            f"{folder} is no Scene-Graph-Benchmark checkout (it lacks {SCRIPT}); give the checkout's folder"
            f"{checkout_below(Path(folder))}"
        )
    return (Path(folder) / SCRIPT).resolve()


def uncommitted(script: Path) -> str:
    """What git says against patching a script, or "" if it is committed, ignored, or git cannot tell."""
    command = ["git", "-C", str(script.parent), "status", "--porcelain", "--", script.name]
    try:
        status = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    if status.returncode or not status.stdout.strip():
        return ""
    return "is not under version control" if status.stdout.startswith("??") else "has changes that are not committed"


def marked_lines(source: bytes) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line of ours."""
    for number, line in enumerate(_LINE.findall(source), 1):
        if _MARKED.fullmatch(line):
            yield number, line.decode().rstrip()


def replace(script: Path, text: bytes) -> None:
    """Give the script another content; it keeps its mode."""
    with written_aside(script, "script") as aside:
        aside.write_bytes(text)
        aside.chmod(script.stat().st_mode)


def state(script: Path, source: bytes) -> str:
    """Whether the script is patched or can be; raises as ``patched`` and ``reverted`` do."""
    if _MARK.encode() in source:
        reverted(source)
        return "patched; hml patch revert gives back the original, byte for byte"
    patched(source)
    first, second = places(source)
    against = uncommitted(script)
    return f"not patched; the lines fit before line {first} and line {second}" + (
        f", but apply will refuse because the script {against}" if against else ""
    )
