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
from .commands.help import command_list, texts
from .commands.report import with_kind
from .commands.run import run
from .errors import HMLError
from .file_faults import full_or_read_only
from .openmp import limit_spinning

LAUNCHER_FLAG = re.compile(r"--local[-_]rank=\d+$")

DESCRIPTION = """\
Hierarchical Memory Learning for scene graph generation (Deng et al., ECCV 2022).
"""

EXAMPLES = """\
hml demo                     compare a baseline, an ablation baseline and HML on synthetic data, in minutes
hml run tools/relation_train_net.py --config-file FILE HML.ENABLED True
                             your own training command with HML enabled
hml COMMAND --help           the options of a command
"""


_CONTINUES = "the same command continues where it stopped"
_RUN_CONTINUES = "the same command continues a training from its last checkpoint; a test starts from the beginning"
_STARTS_AGAIN = "the same command starts from the beginning"


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        name: its first word. help: its line in ``hml --help``.
        adder: the function ``module:adder(subparsers)`` that describes it.
        interrupted: what the same command does after Ctrl-C.
    """

    name: str
    help: str
    adder: str
    interrupted: str = _STARTS_AGAIN


COMMANDS = (
    Command("run", "run a benchmark script with HML's settings available", "", _RUN_CONTINUES),
    Command("demo", "train, test and compare a baseline, an ablation baseline and HML", "commands.demo:add_demo_parser",
            _CONTINUES),
    Command("experiment", "train and test a named grid of runs", "commands.experiment:add_experiment_parser",
            _CONTINUES),
    Command("tree", "build, print or draw a predicate tree", "commands.tree:add_tree_parser"),
    Command("data", "check, make or convert a dataset folder", "commands.data:add_data_parser"),
    Command("report", "metrics of finished runs as tables or as one page", "commands.report:add_report_parser"),
    Command("predict", "predict the scene graphs of your own pictures", "commands.predict:add_predict_parser",
            _CONTINUES),
    Command("draw", "draw the scene graphs of test pictures, runs side by side", "commands.draw:add_draw_parser"),
    Command("doctor", "check whether HML will run on this checkout, machine and data",
            "commands.doctor:add_doctor_parser"),
    Command("status", "print whether a run has finished, was interrupted or has failed",
            "commands.status:add_status_parser"),
    Command("patch", "add two lines to a training script, or remove them", "commands.patch:add_patch_parser"),
)


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The parser, with the arguments of the ``chosen`` subcommand only."""
    listed = command_list((command.name, command.help) for command in COMMANDS)
    parser = argparse.ArgumentParser(
        prog="hml",
        usage="hml [-h] [--version] COMMAND ...",
        **texts("hml", f"{DESCRIPTION}\n{listed}", EXAMPLES),
    )
    parser.add_argument("--version", action="version", version=f"hml {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", prog="hml", help=argparse.SUPPRESS)
    for command in COMMANDS:
        if command.name == chosen and command.adder:
            module, function = command.adder.split(":")
            getattr(importlib.import_module(f"{__package__}.{module}"), function)(subparsers)
        else:
            subparsers.add_parser(command.name, add_help=False)
    return parser


def dispatch(words: Sequence[str]) -> int:
    """Run one command line (without the program's name); returns the exit code."""
    # torch.distributed.launch puts its rank flag before the words that its user wrote.
    launcher_words = list(itertools.takewhile(LAUNCHER_FLAG.match, words))
    words = words[len(launcher_words) :]
    if words and words[0] == "run":
        return run(words[1:], launcher_words)
    parser = build_parser(_chosen(words))
    if words and words[0] == "report":
        words = with_kind(words)
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
    except (OSError, RuntimeError) as error:
        if not (sentence := full_or_read_only(error)):
            raise
        print(f"hml: error: {sentence}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        chosen = _chosen(words)
        known = [command.interrupted for command in COMMANDS if command.name == chosen]
        print("; ".join(["hml: interrupted", *known]), file=sys.stderr)
        return 130
