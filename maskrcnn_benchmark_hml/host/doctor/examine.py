"""All checks of ``hml doctor``, its report, and its exit code."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from ..locate import Benchmark
from .data_checks import check_data, written_paths
from .environment_checks import check_environment
from .finding import BREAKS, HANDLED, OK, PARTLY, Finding
from .hook_point_checks import check_hook_points
from .machine_checks import check_machine
from .source import Source

_WORDS = {OK: "ok", HANDLED: "differs, handled", PARTLY: "works in part", BREAKS: "breaks"}
_WIDTH = 118


def examine(benchmark: Benchmark, data: str | None) -> dict[str, list[Finding]]:
    """All findings by section. Reads the checkout's files; imports and runs nothing of it."""
    source = Source(benchmark.root)
    return {
        "machine": list(check_machine(source, benchmark.embedded)),
        "environment": list(check_environment()),
        "hook points": [
            *check_hook_points(source, own_loop=benchmark.embedded),
            *(() if benchmark.embedded else written_paths(source)),
        ],
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
        return 1, f"HML will not run: {len(broken)} to fix ({', '.join(broken)})"
    if partly:
        return 0, f"HML will run, with limits: {', '.join(partly)}"
    return 0, "HML will run"
