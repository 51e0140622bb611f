"""The console script ``hml``: parses, hands over, and turns errors into one sentence.

A subcommand's module is imported only when that subcommand is used, so ``hml --help`` needs neither torch nor a second.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from . import __version__
from .errors import HMLError
from .openmp import limit_spinning

LAUNCHER_FLAG = re.compile(r"--local[-_]rank=\d+$")

EPILOG = """\
start here:
  hml demo                        compare a baseline, a control and HML on synthetic data, in minutes
  hml run tools/relation_train_net.py --config-file FILE HML.ENABLED True
                                  your own training command with HML enabled
  hml COMMAND --help              the options of a command
"""

RUN_DESCRIPTION = """\
Runs a script of the benchmark with the HML.* settings added to the benchmark's own. Everything after SCRIPT is passed
to the script unchanged. With HML.ENABLED False, the default, the script runs without HML.
"""

RUN_EPILOG = """\
examples:
  hml run tools/relation_train_net.py --config-file FILE OUTPUT_DIR out/motifs HML.ENABLED True
  hml run tools/relation_test_net.py --config-file FILE OUTPUT_DIR out/motifs
  torchrun --nproc_per_node=2 -m maskrcnn_benchmark_hml run tools/relation_train_net.py ...
"""


_CONTINUES = "the same command continues where it stopped"
_RUN_CONTINUES = "the same command continues a training from its last checkpoint; a test starts from the beginning"
_STARTS_AGAIN = "the same command starts from the beginning"


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        help: its line in ``hml --help``.
        adder: the function ``module:adder(subparsers)`` that describes it.
        interrupted: what the same command does after Ctrl-C.
    """

    name: str
    help: str
    adder: str
    interrupted: str = _STARTS_AGAIN


COMMANDS = (
    Command("run", "run a benchmark script with HML's settings available", "", _RUN_CONTINUES),
    Command("demo", "train, test and compare a baseline, a control and HML", "commands.demo:add_demo_parser",
            _CONTINUES),
    Command("experiment", "train and test a named grid of runs", "commands.experiment:add_experiment_parser",
            _CONTINUES),
    Command("tree", "build, print or draw a predicate tree", "treecmd:add_tree_parser"),
    Command("data", "check, make or convert a dataset folder", "datasets.cli:add_data_parser"),
    Command("report", "print the metrics of finished runs, Mean@K, merged recall", "report.command:add_report_parser"),
    Command("doctor", "check whether HML will run on this checkout, machine and data", "host.doctor:add_doctor_parser"),
    Command("patch", "add two lines to a training script, or remove them", "host.patch:add_patch_parser"),
)


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The parser, with the arguments of the ``chosen`` subcommand only (all others by their help line)."""
    parser = argparse.ArgumentParser(
        prog="hml",
        description="Hierarchical Memory Learning for scene graph generation (Deng et al., ECCV 2022).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hml {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in COMMANDS:
        if command.name == chosen and command.adder:
            module, function = command.adder.split(":")
            getattr(importlib.import_module(f"{__package__}.{module}"), function)(subparsers)
        else:
            subparsers.add_parser(command.name, help=command.help, add_help=False)
    return parser


def run_parser() -> argparse.ArgumentParser:
    """The parser of ``hml run``: options of ours stand before the script, what follows it belongs to the script."""
    parser = argparse.ArgumentParser(
        prog="hml run",
        description=RUN_DESCRIPTION,
        epilog=RUN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--sgb",
        metavar="DIR",
        help="a checkout of Scene-Graph-Benchmark.pytorch or a fork (default: SGB_HOME, else the current folder if it "
        "is a checkout, else the bundled benchmark)",
    )
    parser.add_argument("--data", metavar="DIR", help="a dataset folder in the VG format (see: hml data --help)")
    parser.add_argument("script", metavar="SCRIPT", help="for instance tools/relation_train_net.py")
    parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="...", help="the script's own arguments")
    return parser


def run(words: Sequence[str], launcher_words: Sequence[str] = ()) -> int:
    """``hml run``; ``launcher_words`` (such as ``--local-rank=0``) are handed to the script. Returns the exit code."""
    args = run_parser().parse_args(words)
    from .host.launch import run_script

    return run_script(args.script, [*launcher_words, *args.argv], sgb=args.sgb, data=args.data) or 0


def dispatch(words: Sequence[str]) -> int:
    """Run one command line (without the program's name); returns the exit code."""
    # torch.distributed.launch puts its rank flag before the words that its user wrote.
    launcher_words = list(itertools.takewhile(LAUNCHER_FLAG.match, words))
    words = words[len(launcher_words) :]
    if words and words[0] == "run":
        return run(words[1:], launcher_words)
    parser = build_parser(_chosen(words))
    args = parser.parse_args(words)
    if args.command is None:
        parser.print_help()
        return 0
    return args.handler(args) or 0


def _chosen(words: Sequence[str]) -> str | None:
    """The subcommand of a command line."""
    return next((word for word in words if not word.startswith("-")), None)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``hml``. Exit codes: 0 done, 1 a part of the work failed, 2 bad input, 130 interrupted."""
    words = sys.argv[1:] if argv is None else list(argv)
    limit_spinning()
    try:
        code = dispatch(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader (head, less) has seen enough; the interpreter would complain when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except HMLError as error:
        print(f"hml: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        chosen = _chosen(words)
        known = [command.interrupted for command in COMMANDS if command.name == chosen]
        print("; ".join(["hml: interrupted", *known]), file=sys.stderr)
        return 130
