"""What the two lines of ``hml patch apply`` call: HML in a training script that is started without ``hml run``.

Both act only where the script is the program. Loaded by ``hml run``, which does the same from outside, they do nothing.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

from ..compat import leave_process_group
from ..errors import HMLError
from ..file_faults import full_or_read_only
from ..resources import embedded_root
from .environment import prepare_process
from .launch import add_settings, attach, enter, prepare_command_line
from .locate import Benchmark

_PROGRAM = "__main__"
_PROGRAM_IN_A_WORKER = "__mp_main__"  # a DataLoader worker under spawn executes the script's top level again


def _benchmark(script: str) -> Benchmark:
    root = Path(script).resolve().parents[1]
    return Benchmark(root, root == embedded_root(), "the patched script")


def start(namespace: dict[str, Any]) -> None:
    """The patch's first line, before the script imports the benchmark.

    Args:
        namespace: the script's ``globals()``.
    """
    benchmark = _benchmark(namespace["__file__"])
    if namespace["__name__"] == _PROGRAM_IN_A_WORKER:
        enter(benchmark)
    if namespace["__name__"] != _PROGRAM:
        return
    try:
        prepare_process()
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
    if namespace["__name__"] != _PROGRAM:
        return
    script = namespace["__file__"]
    try:
        attach(namespace, _benchmark(script), Path(script).name)
    except HMLError as error:
        _leave(error)
    namespace["main"] = _one_sentence(namespace["main"])


def _one_sentence(main):
    @functools.wraps(main)
    def guarded(*args, **kwargs):
        try:
            main(*args, **kwargs)
        except HMLError as error:
            _leave(error)
        except (OSError, RuntimeError) as error:
            if not (sentence := full_or_read_only(error)):
                raise
            _leave(sentence)
        leave_process_group()

    return guarded


def _leave(error: HMLError | str) -> None:
    print(f"hml: error: {error}", file=sys.stderr)
    sys.exit(2)
