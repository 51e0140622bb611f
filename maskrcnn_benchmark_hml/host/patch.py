"""``hml patch check|apply|revert DIR``: the two lines that put HML into a checkout's own training script.

The places are found by syntax: the first line goes before the first statement (after the docstring and ``__future__``
imports), the second before the ``if __name__ == "__main__":`` block. Each line carries the digest of the file that it
was put into, so a revert gives back exactly that file, or refuses.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import re
import subprocess
from pathlib import Path
from typing import Any

from ..errors import HMLError
from .locate import is_benchmark

SCRIPT = Path("tools") / "relation_train_net.py"
_MARK = "# hml patch"
_LINES = ("import maskrcnn_benchmark_hml.host.inline as _hml; _hml.start(__file__)", "_hml.wrap(globals())")
_MARKED = re.compile(rf"^.*{_MARK} [12]/2 ([0-9a-f]{{16}})\r?\n?$")


def patched(source: str) -> str:
    """The script with the two lines.

    Raises:
        HMLError: no Python, no ``train``/``main``, no ``if __name__`` block, or patched already.
    """
    if _MARK in source:
        raise HMLError("the script is patched already; hml patch check says more")
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise HMLError(f"the script is not Python that can be read (line {error.lineno}); mend it first") from error
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if not {"train", "main"} <= functions:
        raise HMLError("the script has no functions train() and main(), so HML cannot act there; use another script")
    blocks = [node.lineno for node in tree.body if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)]
    if not blocks:
        raise HMLError('the script has no block if __name__ == "__main__":, so the second line has no place; add one')
    digest = _digest(source)
    lines = source.splitlines(keepends=True)
    end = "\r\n" if lines[0].endswith("\r\n") else "\n"
    for place, number in ((blocks[-1], 2), (_first_statement(tree), 1)):
        lines.insert(place - 1, f"{_LINES[number - 1]}  {_MARK} {number}/2 {digest}{end}")
    return "".join(lines)


def reverted(source: str) -> str:
    """The script as it was before ``patched``.

    Raises:
        HMLError: it holds no two lines of ours, or was edited after it was patched.
    """
    lines = source.splitlines(keepends=True)
    digests = [match.group(1) for match in map(_MARKED.match, lines) if match]
    if len(digests) != 2:
        raise HMLError(f"the script holds {len(digests)} of the two patch lines; restore it from version control")
    plain = "".join(line for line in lines if not _MARKED.match(line))
    if set(digests) != {_digest(plain)}:
        raise HMLError(f"the script was edited after it was patched; delete the two lines marked {_MARK!r} by hand")
    return plain


def _first_statement(tree: ast.Module) -> int:
    for node in tree.body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node is tree.body[0]
        if not docstring and not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            return node.lineno
    raise HMLError("the script is empty; give a training script")


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def script_of(folder: str | Path) -> Path:
    """The training script of a checkout.

    Raises:
        HMLError: the folder is no checkout.
    """
    if not is_benchmark(Path(folder)):
        raise HMLError(f"{folder} is no Scene-Graph-Benchmark checkout (it lacks {SCRIPT}); give the checkout's folder")
    return Path(folder) / SCRIPT


def require_clean(script: Path) -> None:
    """Refuse a script with uncommitted changes, where git can tell."""
    command = ["git", "-C", str(script.parent), "status", "--porcelain", "--", script.name]
    try:
        status = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return
    if status.returncode == 0 and status.stdout.strip():
        raise HMLError(f"{script} has changes that are not committed; commit or undo them, then patch it")


def add_patch_parser(subparsers: Any) -> None:
    """Add ``hml patch`` to the command line."""
    parser = subparsers.add_parser(
        "patch",
        help="put two lines into a checkout's training script, or take them out again",
        description="For those who keep `python -m torch.distributed.launch tools/relation_train_net.py ...`. "
        "`hml run` needs no patch.",
    )
    parser.add_argument("action", choices=("check", "apply", "revert"), help="check changes nothing")
    parser.add_argument("dir", metavar="DIR", help="the checkout")
    parser.add_argument("--dry-run", action="store_true", help="print the script's new text, write nothing")
    parser.set_defaults(handler=run_patch)


def run_patch(args: argparse.Namespace) -> int:
    """Handler of ``hml patch``."""
    script = script_of(args.dir)
    source = script.read_bytes().decode()
    if args.action == "check":
        state = "patched; revert gives back the original" if _MARK in source and reverted(source) else ""
        print(f"{script}: {state or 'not patched; the patch fits' * bool(patched(source))}")
        return 0
    if args.action == "apply":
        require_clean(script)
        text = patched(source)
    else:
        text = reverted(source)
    if args.dry_run:
        print(text, end="")
        return 0
    aside = script.with_name(script.name + ".part")
    aside.write_bytes(text.encode())
    aside.chmod(script.stat().st_mode)
    aside.replace(script)
    print(f"{script}: {'patched' if args.action == 'apply' else 'as it was before the patch'}")
    return 0
