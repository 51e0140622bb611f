"""``hml doctor``: checks whether HML will run on this checkout, on this machine, with this data."""

from __future__ import annotations

import argparse
import os
from typing import Any

from .help import texts

DESCRIPTION = """\
Checks a checkout of Scene-Graph-Benchmark.pytorch or a fork (without importing or running it), this machine and the
dataset. Prints one line per check and what to do if it fails. Changes nothing. Exit code 0: HML will run; 1: it will
not.
"""

EXAMPLES = """\
hml doctor --sgb YOUR/SGB --data YOUR/vg
hml doctor                                 the bundled benchmark, unless SGB_HOME or the current folder is a checkout
"""


def add_doctor_parser(subparsers: Any) -> None:
    """Add ``hml doctor`` to the command line."""
    parser = subparsers.add_parser("doctor", **texts("doctor", DESCRIPTION, EXAMPLES))
    parser.add_argument("--sgb", metavar="DIR", help="the checkout (default: the one that hml run would use)")
    parser.add_argument(
        "--data", metavar="DIR", help="a dataset folder (default: HML_DATA, else the paths in the checkout's catalog)"
    )
    parser.set_defaults(handler=run_doctor)


def run_doctor(args: argparse.Namespace) -> int:
    """Handler of ``hml doctor``."""
    from ..host.doctor.examine import examine, report, verdict
    from ..host.locate import locate

    benchmark = locate(args.sgb)
    sections = examine(benchmark, args.data or os.environ.get("HML_DATA"))
    code, line = verdict(finding for findings in sections.values() for finding in findings)
    print(f"{benchmark.describe()}\n{report(sections)}\n\n{line}")
    return code
