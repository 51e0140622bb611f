"""A script's own command line, as its own parser reads it: a fork's options are nothing that HML must know."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
from collections.abc import Callable, Iterator


def config_file(argv: list[str]) -> str:
    """The file after ``--config-file``, wherever it stands among options that are not known here; '' without."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--config-file", default="")
    # Without a value this parser would end the program; the script's own will say it.
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()):
        return parser.parse_known_args(argv)[0].config_file
    return ""


@contextlib.contextmanager
def on_parsed(check: Callable[[argparse.Namespace], None]) -> Iterator[None]:
    """While entered: ``check`` is called once, with the first parsed arguments that hold ``opts`` or ``config_file``.

    It is called before the script gets them, so it may refuse the run (HMLError) or change the arguments.
    """
    originals = {name: getattr(argparse.ArgumentParser, name) for name in ("parse_args", "parse_known_args")}
    depth = 0

    def restore() -> None:
        for name, original in originals.items():
            setattr(argparse.ArgumentParser, name, original)

    def watched(name: str) -> Callable:
        original = originals[name]

        @functools.wraps(original)
        def parse(self, *args, **kwargs):
            nonlocal depth
            depth += 1
            try:
                result = original(self, *args, **kwargs)  # parse_args itself calls parse_known_args
            finally:
                depth -= 1
            parsed = result[0] if isinstance(result, tuple) else result
            if depth == 0 and (hasattr(parsed, "opts") or hasattr(parsed, "config_file")):
                restore()
                check(parsed)
            return result

        return parse

    for name in originals:
        setattr(argparse.ArgumentParser, name, watched(name))
    try:
        yield
    finally:
        restore()
