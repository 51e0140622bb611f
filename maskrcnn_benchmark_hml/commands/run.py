"""``hml run``: a script of the benchmark, with HML's settings available."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .help import texts

DESCRIPTION = """\
Runs a script of the benchmark with the HML.* settings added to the benchmark's own. Everything after SCRIPT is passed
to the script unchanged. With HML.ENABLED False, the default, the script runs without HML.
"""

EXAMPLES = """\
hml run tools/relation_train_net.py --config-file FILE OUTPUT_DIR out/motifs HML.ENABLED True
hml run tools/relation_test_net.py --config-file FILE OUTPUT_DIR out/motifs
torchrun --nproc_per_node=2 -m maskrcnn_benchmark_hml run tools/relation_train_net.py ...
"""


def run_parser() -> argparse.ArgumentParser:
    """The parser of ``hml run``: options of ours stand before the script, what follows it belongs to the script."""
    parser = argparse.ArgumentParser(prog="hml run", allow_abbrev=False, **texts("run", DESCRIPTION, EXAMPLES))
    parser.add_argument(
        "--sgb",
        metavar="DIR",
        help="a checkout of Scene-Graph-Benchmark.pytorch or a fork (default: SGB_HOME, else the current folder if it "
        "is a checkout, else the bundled benchmark)",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="a dataset folder in the VG format, see hml data --help (default: HML_DATA, else the paths in the "
        "benchmark's catalog)",
    )
    parser.add_argument("script", metavar="SCRIPT", help="for instance tools/relation_train_net.py")
    parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="...", help="the script's own arguments")
    return parser


def run(words: Sequence[str], launcher_words: Sequence[str] = ()) -> int:
    """``hml run``; ``launcher_words`` (such as ``--local-rank=0``) are handed to the script. Returns the exit code."""
    args = run_parser().parse_args(words)
    from ..host.launch import run_script

    run_script(args.script, [*launcher_words, *args.argv], sgb=args.sgb, data=args.data)
    return 0
