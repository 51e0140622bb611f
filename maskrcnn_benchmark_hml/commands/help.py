"""What the ``--help`` texts of all commands have in common: the list of commands, examples, the page of docs/."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

#: Command -> the file that documents it, relative to the repository.
DOCS = {
    "hml": "README.md",
    "run": "docs/on-your-sgb.md",
    "demo": "docs/quickstart.md",
    "experiment": "docs/experiments.md",
    "tree": "docs/settings.md",
    "data": "docs/data.md",
    "report": "docs/metrics.md",
    "draw": "docs/draw.md",
    "doctor": "docs/install.md",
    "status": "docs/on-a-cluster.md",
    "patch": "docs/on-your-sgb.md",
}


def texts(command: str, description: str, examples: str) -> dict[str, Any]:
    """The arguments of an ``ArgumentParser`` that are texts.

    Args:
        command: its key in ``DOCS``.
        examples: one command line per line.
    """
    lines = "\n".join(f"  {line}".rstrip() for line in examples.strip().splitlines())
    return {
        "description": description,
        "epilog": f"examples:\n{lines}\n\nDocumentation: {DOCS[command]}",
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def command_list(commands: Iterable[tuple[str, str]]) -> str:
    """A paragraph with one line for each (name, help). argparse's own list begins with the row ``COMMAND``."""
    rows = list(commands)
    width = max(len(name) for name, _ in rows)
    return "\n".join(["commands:", *(f"  {name:<{width}}  {text}" for name, text in rows)])
