"""``python -m maskrcnn_benchmark_hml.compat [--sgb DIR] [--data DIR] SCRIPT ARGUMENTS``: runs the host, no plugin."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path

from ..errors import HMLError
from ..openmp import limit_spinning
from . import install
from .launcher import local_rank_argument, take_local_rank


def run(script: str, arguments: list[str], sgb: str | None = None, data: str | None = None) -> None:
    """Installs the shims, loads ``script`` (looked for here, then in the checkout) and calls its ``main()``."""
    root = Path(sgb or os.environ.get("SGB_HOME") or os.getcwd()).expanduser().absolute()
    install(root, data)
    path = next((p for p in (Path(script), root / script) if p.is_file()), None)
    if path is None:
        raise HMLError(f"there is no script {script} here or in {root}; name one of its tools/*.py")
    spec = importlib.util.spec_from_file_location(f"host_{path.stem}", path.absolute())
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.argv = [str(path), *local_rank_argument(arguments, os.environ)]
    spec.loader.exec_module(module)
    module.main()


def main() -> int:
    limit_spinning()
    parser = argparse.ArgumentParser(prog="python -m maskrcnn_benchmark_hml.compat", description=__doc__)
    parser.add_argument("--sgb", help="the checkout; default SGB_HOME, then the current folder")
    parser.add_argument("--data", help="a dataset folder for the Visual Genome entries")
    parser.add_argument("script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    rank, arguments = take_local_rank(sys.argv[1:], os.environ)
    if rank is not None:
        os.environ["LOCAL_RANK"] = rank
    options = parser.parse_args(arguments)
    try:
        run(options.script, options.arguments, options.sgb, options.data)
    except HMLError as error:
        print(f"hml: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
