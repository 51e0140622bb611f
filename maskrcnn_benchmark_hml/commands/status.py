"""``hml status``: how the run in an OUTPUT_DIR goes or ended, for people and scripts."""

from __future__ import annotations

import argparse
from typing import Any

from .help import texts

DESCRIPTION = """\
Prints whether the training in OUTPUT_DIR has finished, was interrupted and saved, has failed (with the sentence) or is
still running, and which checkpoint is the newest. Changes nothing.

exit codes:
  0  finished
  1  failed; the same command would fail again
  2  there is no training by hml run in this folder
  3  interrupted or killed; the same command continues it
  4  running
"""

EXAMPLES = """\
hml status out/motifs-hml
"""


def add_status_parser(subparsers: Any) -> None:
    """Add ``hml status`` to the command line."""
    parser = subparsers.add_parser("status", **texts("status", DESCRIPTION, EXAMPLES))
    parser.add_argument("folder", metavar="OUTPUT_DIR", help="the folder of a run")
    parser.set_defaults(handler=run_status)


def run_status(args: argparse.Namespace) -> int:
    """Handler of ``hml status``."""
    from ..run_status import run_status as look

    status = look(args.folder)
    print(f"{args.folder}: {status.text}")
    return status.exit_code
