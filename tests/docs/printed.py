"""The code blocks and shell commands that README.md, CONTRIBUTING.md and docs/*.md print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page as (language, text)."""
    return _FENCE.findall(page.read_text("utf-8"))


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def commands() -> Iterator[tuple[str, str]]:
    """Every shell command as (page, command), without comments and on one line."""
    for page in PAGES:
        for language, text in blocks(page):
            if language == "bash":
                for line in re.sub(r"\\\n\s*", "", text).splitlines():
                    command = re.sub(r"\s+#.*", "", line).strip()
                    if command:
                        yield page.name, command
