"""hml patch on stand-in scripts: placed by syntax, reversible byte for byte, refusing what it cannot vouch for."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host.patch import LINES, patched, reverted

PLAIN = """\
import os
from maskrcnn_benchmark.config import cfg


def train(cfg, local_rank, distributed, logger):
    return os.getpid()


def main():
    train(cfg, 0, False, None)


if __name__ == "__main__":
    main()
"""

VARIANTS = {
    "plain": PLAIN,
    "crlf": PLAIN.replace("\n", "\r\n"),
    "old mac line ends": PLAIN.replace("\n", "\r"),
    "mixed line ends": PLAIN.replace("\n", "\r\n", 3),
    "docstring first": '"""Trains.\n\nAt length."""\n' + PLAIN,
    "shebang and encoding": "#!/usr/bin/env python\n# -*- coding: latin-1 -*-\n# \xe9\n" + PLAIN,
    "future imports": '"""Doc."""\nfrom __future__ import annotations\nfrom __future__ import division\n' + PLAIN,
    "tabs": PLAIN.replace("    ", "\t"),
    "no last newline": PLAIN.rstrip("\n"),
    "no last newline, one-line block": PLAIN.replace(":\n    main()\n", ": main()"),
    "optional arguments": PLAIN.replace("logger):", "logger, debug=False, writer=None):").replace("main()", "main()"),
    "other quotes": PLAIN.replace('"__main__"', "'__main__'"),
    "other way round": PLAIN.replace('__name__ == "__main__"', '"__main__" == __name__'),
    "with a further condition": PLAIN.replace('__name__ == "__main__"', '__name__ == "__main__" and os.environ'),
    "block not last": PLAIN + "\nDONE = True\n",
    "another block about __name__": PLAIN + 'if __name__ != "__main__":\n    LOADED = True\n',
    "form feed and other separators": PLAIN.replace("\n\n\n", "\n\x0c\n\n# a\x0bb\x1cc \n"),
    "a decorator first": "@print\ndef seen():\n    pass\n\n\n" + PLAIN,
    "two statements on the first line": PLAIN.replace("import os\n", "import os; import sys\n"),
    "train imported": PLAIN.replace("def train", "from loops import train\ndef other"),
    "nested blocks": PLAIN.replace("    train(cfg", '    if __name__ == "__main__":\n        pass\n    train(cfg'),
    "the mark's neighbourhood in a comment": PLAIN + "# hml and patches\n",
}
ENCODING = {"shebang and encoding": "latin-1"}


def variant(name: str) -> bytes:
    return VARIANTS[name].encode(ENCODING.get(name, "utf-8"))


@pytest.mark.parametrize("name", VARIANTS)
def test_two_lines_in_their_places_and_out_again(name):
    source = variant(name)
    result = patched(source)
    assert reverted(result) == source
    added = ast.parse(result).body[:]
    kept = [ast.dump(node) for node in ast.parse(source).body]
    ours = [ast.unparse(node) for node in added if ast.dump(node) not in kept]
    assert "; ".join(ours) == "; ".join(LINES)
    texts = [ast.unparse(node) for node in added]
    start, wrap = texts.index("_hml.start(globals())"), texts.index(LINES[1])
    assert texts[wrap + 1].startswith("if") and "__main__" in texts[wrap + 1]
    assert all(t.startswith(("'", '"', "from __future__")) for t in texts[: start - 1])


def test_a_byte_order_mark_stays_first():
    source = b"\xef\xbb\xbf" + PLAIN.encode()
    result = patched(source)
    assert result.startswith(b"\xef\xbb\xbfimport maskrcnn_benchmark_hml") and reverted(result) == source


def test_line_ends_are_the_scripts():
    result = patched(variant("crlf"))
    assert result.count(b"\r\n") == result.count(b"\n")
    assert patched(variant("old mac line ends")).count(b"\n") == 0


@pytest.mark.parametrize(
    "source, said",
    [
        (PLAIN.replace("def main", "def start"), "no function main"),
        (PLAIN.replace("def main", "def a").replace("def train", "def b"), "no function train and no main"),
        (PLAIN.replace("if __name__", "if 1 or __name__"), "no block if __name__"),
        (PLAIN.replace('if __name__ == "__main__":\n    main()', "main()"), "no block if __name__"),
        (PLAIN + "def (:\n", "not Python that can be read (line 15)"),
        (PLAIN.replace("\n", "\0", 1), "not Python that can be read"),
        ("", "no function train"),
        ("from __future__ import division; " + PLAIN, "line 1 of the script holds two statements"),
        ('"""Doc."""; ' + PLAIN, "line 1 of the script holds two statements"),
        (patched(PLAIN.encode()).decode(), "patched already"),
    ],
)
def test_scripts_without_a_place(source, said):
    with pytest.raises(HMLError) as error:
        patched(source.encode())
    assert said in str(error.value)


@pytest.mark.parametrize(
    "edit, said",
    [
        (lambda s: s.replace(b"getpid", b"getppid"), "edited after"),
        (lambda s: s + b"\n", "edited after"),
        (lambda s: s.replace(b"\n", b"\r\n"), "edited after"),
        (lambda s: s.split(b"\n", 1)[1], "holds 1 lines"),
        (lambda s: s + s.split(b"\n", 1)[0] + b"\n", "holds 3 lines"),
        (lambda s: PLAIN.encode(), "not patched"),
    ],
)
def test_no_revert_to_a_file_that_never_was(edit, said):
    with pytest.raises(HMLError) as error:
        reverted(edit(patched(PLAIN.encode())))
    assert said in str(error.value)


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose script is under version control."""
    root = tmp_path / "checkout"
    (root / "maskrcnn_benchmark").mkdir(parents=True)
    script = root / "tools" / "relation_train_net.py"
    script.parent.mkdir()
    script.write_bytes(variant("crlf"))
    script.chmod(0o755)
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=false"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    return root


def run(capsys, *words: str) -> tuple[int, str]:
    code = cli.main(["patch", *map(str, words)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_the_commands(checkout, capsys):
    script = checkout / "tools" / "relation_train_net.py"
    before = script.read_bytes()
    assert run(capsys, "check", checkout) == (
        0, f"{script}: not patched; the lines fit before line 1 and line 13\n")
    code, said = run(capsys, "apply", checkout, "--dry-run")
    assert code == 0 and script.read_bytes() == before
    assert said.startswith(f"{script}:1: + import maskrcnn_benchmark_hml") and said.count("\n") == 2
    assert run(capsys, "apply", checkout) == (0, f"{script}: patched\n")
    assert script.read_bytes() == patched(before) and stat.S_IMODE(script.stat().st_mode) == 0o755
    assert "patched; hml patch revert" in run(capsys, "check", checkout)[1]
    code, said = run(capsys, "apply", checkout)
    assert code == 2 and "patched already" in said
    code, said = run(capsys, "revert", checkout, "--dry-run")
    assert code == 0 and said.count(": - ") == 2 and script.read_bytes() == patched(before)
    assert run(capsys, "revert", checkout) == (0, f"{script}: as it was before the patch\n")
    assert script.read_bytes() == before and [p.name for p in script.parent.iterdir()] == [script.name]
    code, said = run(capsys, "revert", checkout)
    assert code == 2 and "not patched" in said


def test_uncommitted_changes_are_refused(checkout, capsys):
    script = checkout / "tools" / "relation_train_net.py"
    script.write_bytes(script.read_bytes() + b"# mine\r\n")
    dirty = script.read_bytes()
    code, said = run(capsys, "apply", checkout)
    assert code == 2 and "not committed" in said and script.read_bytes() == dirty
    code, said = run(capsys, "check", checkout)
    assert code == 0 and "apply will refuse" in said


def test_a_script_that_git_does_not_know_is_refused(checkout, capsys):
    subprocess.run(["git", "-C", str(checkout), "rm", "-q", "--cached", "tools/relation_train_net.py"], check=True)
    subprocess.run(["git", "-C", str(checkout), "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "less"],
                   check=True)
    code, said = run(capsys, "apply", checkout)
    assert code == 2 and "not under version control" in said


def test_without_git_it_still_works(checkout, capsys, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    assert run(capsys, "apply", checkout)[0] == 0


def test_no_checkout(tmp_path, capsys):
    code, said = run(capsys, "check", tmp_path)
    assert code == 2 and "is no Scene-Graph-Benchmark checkout" in said


def test_the_sample_in_patches_is_what_is_put_in():
    sample = (Path(__file__).parents[2] / "patches" / "two-lines.patch").read_text().splitlines()
    expected = [line[1:].replace("<digest>", "") for line in sample if line.startswith("+") and "hml patch" in line]
    added = [line[:-16] for line in patched(PLAIN.encode()).decode().splitlines() if "# hml patch" in line]
    assert added == expected and len(added) == 2


def test_loaded_as_a_module_the_lines_do_nothing(tmp_path):
    """So hml run drives a patched script as it drives a plain one, and nothing is wrapped twice."""
    script = tmp_path / "tools" / "relation_train_net.py"
    script.parent.mkdir()
    script.write_bytes(patched(PLAIN.replace("from maskrcnn_benchmark.config import cfg", "cfg = None").encode()))
    code = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('hml_host_x', {str(script)!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "path, argv = list(sys.path), list(sys.argv)\n"
        "spec.loader.exec_module(module)\n"
        "assert (path, argv) == (sys.path, sys.argv) and not hasattr(module.main, '__wrapped__')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
