"""``hml patch``: two lines in a checkout's own training script."""

from __future__ import annotations

import argparse
from typing import Any

from .help import texts

DESCRIPTION = """\
Adds two lines to a checkout's tools/relation_train_net.py (apply) or removes them again (revert). Then
`python -m torch.distributed.launch tools/relation_train_net.py ... HML.ENABLED True` trains with HML. `hml run` needs
no patch.
"""

EXAMPLES = """\
hml patch check DIR
hml patch apply DIR --dry-run
hml patch revert DIR
"""

ACTIONS = ("check", "apply", "revert")


def add_patch_parser(subparsers: Any) -> None:
    """Add ``hml patch`` to the command line."""
    parser = subparsers.add_parser("patch", **texts("patch", DESCRIPTION, EXAMPLES))
    parser.add_argument("action", choices=ACTIONS, help="check changes nothing")
    parser.add_argument("dir", metavar="DIR", help="the checkout")
    parser.add_argument("--dry-run", action="store_true", help="show what would change, write nothing")
    parser.set_defaults(handler=run_patch)


def run_patch(args: argparse.Namespace) -> int:
    """Handler of ``hml patch``."""
    from ..errors import HMLError
    from ..host.patch import marked_lines, patched, replace, reverted, script_of, state, uncommitted

    script = script_of(args.dir)
    source = script.read_bytes()
    if args.action == "check":
        print(f"{script}: {state(script, source)}")
        return 0
    text = patched(source) if args.action == "apply" else reverted(source)
    against = uncommitted(script) if args.action == "apply" else ""
    if against:
        raise HMLError(f"{script} {against}; commit it, or undo the changes, then patch it")
    if args.dry_run:
        sign, whole = ("+", text) if args.action == "apply" else ("-", source)
        for number, line in marked_lines(whole):
            print(f"{script}:{number}: {sign} {line}")
        return 0
    replace(script, text)
    print(f"{script}: {'patched' if args.action == 'apply' else 'as it was before the patch'}")
    return 0
