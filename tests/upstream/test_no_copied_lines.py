"""No run of six or more telling lines of ours stands in the original benchmark."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
RUN = 6
SHORTEST = 4
KINDS = {".py", ".pyi", ".sh", ".md", ".ipynb", ".toml", ".cfg", ".c", ".cpp", ".h", ".cu"}

IMPORT = re.compile(r"(import\s+[\w.]+|from\s+[\w.]+\s+import\b)")
WORD = re.compile(r"\w")


def telling_lines(text: str) -> list[tuple[int, str]]:
    """Line numbers and stripped text of the lines that could show copying.

    Blank lines, comments, imports, lone punctuation and lines of up to ``SHORTEST`` characters are left out, so that
    a run cannot be broken up by adding some.
    """
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        line = " ".join(line.split())
        if len(line) > SHORTEST and not line.startswith("#") and not IMPORT.match(line) and WORD.search(line):
            lines.append((number, line))
    return lines


def windows(lines: list[tuple[int, str]]) -> Iterator[tuple[int, int]]:
    """Hash and first line number of every run of ``RUN`` telling lines."""
    for start in range(len(lines) - RUN + 1):
        yield hash(tuple(text for _, text in lines[start : start + RUN])), lines[start][0]


def copied(ours: dict[str, str], theirs: dict[str, str]) -> list[str]:
    """Places ``ours:line = theirs:line`` at which a run begins; one for each uninterrupted stretch."""
    known: dict[int, str] = {}
    for name, text in theirs.items():
        for key, line in windows(telling_lines(text)):
            known.setdefault(key, f"{name}:{line}")
    found = []
    for name, text in ours.items():
        before = False
        for key, line in windows(telling_lines(text)):
            if key in known and not before:
                found.append(f"{name}:{line} = {known[key]}")
            before = key in known
    return found


def texts(root: Path, names: Iterator[str]) -> dict[str, str]:
    chosen = (name for name in names if Path(name).suffix in KINDS and (root / name).is_file())
    return {name: (root / name).read_text(encoding="utf-8", errors="replace") for name in chosen}


def our_files() -> dict[str, str]:
    command = ["git", "-C", str(REPO), "ls-files", "--cached", "--others", "--exclude-standard"]
    return texts(REPO, iter(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()))


def their_files(root: Path) -> dict[str, str]:
    return texts(root, (str(path.relative_to(root)) for path in root.rglob("*")))


def test_nothing_was_copied(sgb):
    ours, theirs = our_files(), their_files(sgb)
    assert len(ours) > 50 and len(theirs) > 100
    found = copied(ours, theirs)
    assert not found, "\n".join(found)


def test_the_check_finds_a_copy_however_it_is_spread_out(sgb):
    theirs = their_files(sgb)
    name = "maskrcnn_benchmark/modeling/matcher.py"
    lines = [text for _, text in telling_lines(theirs[name])][10 : 10 + RUN]
    disguised = "x = 1\n" + "\n\n# ours\nimport os\n)\n".join("    " + line for line in lines) + "\ny = 2\n"
    assert copied({"ours.py": disguised}, theirs) == [f"ours.py:2 = {name}:{telling_lines(theirs[name])[10][0]}"]
    assert copied({"ours.py": "\n".join(lines[: RUN - 1])}, theirs) == []
