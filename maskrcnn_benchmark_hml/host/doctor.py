"""``hml doctor``: will HML run on this checkout, on this machine, with this data? And what to do where not."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Iterable
from typing import Any

from .data_checks import check_data, written_paths
from .environment_checks import check_environment
from .finding import BREAKS, HANDLED, OK, PARTLY, Finding
from .locate import Benchmark, locate
from .machine_checks import check_machine
from .seam_checks import check_seams
from .source import Source

_WORDS = {OK: "ok", HANDLED: "differs, handled", PARTLY: "works in part", BREAKS: "breaks"}
_WIDTH = 118


def examine(benchmark: Benchmark, data: str | None) -> dict[str, list[Finding]]:
    """Everything the doctor looks at, by section. Reads the checkout's files; imports and runs nothing of it."""
    source = Source(benchmark.root)
    return {
        "machine": list(check_machine(source, benchmark.embedded)),
        "environment": list(check_environment()),
        "seams": [*check_seams(source), *(() if benchmark.embedded else written_paths(source))],
        "data": list(check_data(source, data)) if data is not None or not benchmark.embedded else [],
    }


def report(sections: dict[str, list[Finding]]) -> str:
    """The findings as text, one line each (longer ones are wrapped)."""
    lines = []
    for title, findings in sections.items():
        lines += ["", title] if findings else []
        for finding in findings:
            line = f"  {finding.subject:<34}{_WORDS[finding.state]:<18}{finding.text}".rstrip()
            lines += textwrap.wrap(line, _WIDTH, subsequent_indent=" " * 54, break_long_words=False,
                                   break_on_hyphens=False, drop_whitespace=True, replace_whitespace=False)
    return "\n".join(lines)


def verdict(findings: Iterable[Finding]) -> tuple[int, str]:
    """Exit code and closing line."""
    findings = list(findings)
    broken = [f.subject for f in findings if f.state == BREAKS]
    partly = [f.subject for f in findings if f.state == PARTLY]
    if broken:
        return 1, f"HML will not run: {len(broken)} to mend ({', '.join(broken)})"
    if partly:
        return 0, f"HML will run, with limits: {', '.join(partly)}"
    return 0, "HML will run"


def add_doctor_parser(subparsers: Any) -> None:
    """Add ``hml doctor`` to the command line."""
    parser = subparsers.add_parser(
        "doctor",
        help="check whether HML will run on this checkout, machine and data",
        description="Checks a checkout of Scene-Graph-Benchmark or a fork (without importing or running it), this "
        "machine and the dataset. Prints one line per check and what to do if it fails. "
        "Changes nothing. Exit code 0: HML will run; 1: it will not.",
    )
    parser.add_argument("--sgb", metavar="DIR", help="the checkout (default: the one that hml run would use)")
    parser.add_argument("--data", metavar="DIR", help="a dataset folder (default: the paths in the checkout's catalog)")
    parser.set_defaults(handler=run_doctor)


def run_doctor(args: argparse.Namespace) -> int:
    """Handler of ``hml doctor``."""
    benchmark = locate(args.sgb)
    sections = examine(benchmark, args.data or os.environ.get("HML_DATA"))
    code, line = verdict(finding for findings in sections.values() for finding in findings)
    print(f"{benchmark.describe()}\n{report(sections)}\n\n{line}")
    return code
