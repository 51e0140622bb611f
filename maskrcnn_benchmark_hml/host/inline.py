"""What the two lines of ``hml patch apply`` call: HML in a training script that is started without ``hml run``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..errors import HMLError
from ..resources import embedded_root
from .launch import add_settings, attach, enter, prepare_command_line
from .locate import Benchmark


def _benchmark(script: str) -> Benchmark:
    root = Path(script).resolve().parents[1]
    return Benchmark(root, root == embedded_root(), "the patched script")


def start(script: str) -> None:
    """The patch's first line, before the script imports the benchmark.

    Args:
        script: the script's ``__file__``.
    """
    try:
        benchmark = _benchmark(script)
        sys.argv[1:] = prepare_command_line(sys.argv[1:], benchmark)
        enter(benchmark)
        add_settings(sys.argv[1:])
    except HMLError as error:
        _leave(error)


def wrap(namespace: dict[str, Any]) -> None:
    """The patch's second line, before the script calls ``main()``.

    Args:
        namespace: the script's ``globals()``.
    """
    script = namespace["__file__"]
    try:
        attach(namespace, sys.argv[1:], _benchmark(script), Path(script).name)
    except HMLError as error:
        _leave(error)


def _leave(error: HMLError) -> None:
    print(f"hml: error: {error}", file=sys.stderr)
    sys.exit(2)
