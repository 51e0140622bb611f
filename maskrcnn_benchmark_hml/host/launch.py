"""``hml run``: load a host script as a module, add the HML keys, wrap ``train``, call ``main()``."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import compat
from ..compat import leave_process_group, local_rank_argument
from ..config import add_hml_config, merge_profile, normalise_options, requested_profile
from ..errors import HMLError
from ..resources import config_root
from . import seams
from .adjust import check_test, wrap_tests
from .locate import Benchmark, locate
from .plan import Plan, prepare
from .train import wrap_train


def run_script(script: str, argv: list[str], sgb: str | None = None, data: str | None = None) -> None:
    """Run a script of the benchmark with HML available.

    Args:
        script: path of the script, relative to the benchmark or to the current folder.
        argv: the script's own command line.
        sgb: the benchmark's folder; None looks at SGB_HOME, the current folder, and takes the embedded one last.
        data: dataset folder in VG format (see docs/data.md); None leaves the host's own paths.

    Raises:
        HMLError: anything wrong that can be known before the script's work starts.
    """
    benchmark = locate(sgb)
    path = benchmark.script(script)
    argv = prepare_command_line(argv, benchmark)
    if data is not None:
        if not Path(data).is_dir():
            raise HMLError(f"the dataset folder {data} does not exist; make one with hml data make-mini-vg {data}")
        os.environ["HML_DATA"] = str(Path(data).resolve())
    enter(benchmark)
    add_settings(argv)
    namespace = vars(load_script(path))
    attach(namespace, argv, benchmark, script)
    old_argv, sys.argv = sys.argv, [str(path), *argv]
    try:
        namespace["main"]()
        leave_process_group()
    finally:
        sys.argv = old_argv


def prepare_command_line(argv: list[str], benchmark: Benchmark) -> list[str]:
    """The script's command line: HML's options checked, config file found, the launcher's rank translated."""
    return _with_config_path(local_rank_argument(normalise_options(list(argv)), os.environ), benchmark)


def enter(benchmark: Benchmark) -> None:
    """Make ``import maskrcnn_benchmark`` mean this benchmark, with the compatibility layer if it is a checkout."""
    loaded = sys.modules.get("maskrcnn_benchmark")
    if loaded is not None and benchmark.root not in Path(loaded.__file__ or "").resolve().parents:
        raise HMLError(f"another benchmark is loaded already ({loaded.__file__}); run one benchmark per process")
    if str(benchmark.root) not in sys.path:
        sys.path.insert(0, str(benchmark.root))
    if not benchmark.embedded:
        compat.install(benchmark.root)


def add_settings(argv: list[str]) -> None:
    """Add the ``HML`` keys to the host's config tree, with the numbers of the profile that is asked for."""
    cfg = add_hml_config(seams.benchmark_config())
    merge_profile(cfg, requested_profile(argv))


def attach(namespace: dict[str, Any], argv: list[str], benchmark: Benchmark, script: str) -> None:
    """Check the run that a script is about to do, wrap its ``train`` if it has one, and say what is driven."""
    line = f"hml: driving {benchmark.describe()}"
    plan = _preflight(argv, namespace, script) if {"train", "inference"} & namespace.keys() else None
    if "train" in namespace:
        line += f"; {seams.probe(namespace).describe()}"
        wrap_train(namespace, script, plan)
    wrap_tests(namespace)
    if int(os.environ.get("RANK", 0)) == 0:
        print(line, file=sys.stderr)


def load_script(path: Path) -> ModuleType:
    """Import a script under a name of its own, so that its ``__main__`` block does not run."""
    spec = importlib.util.spec_from_file_location(f"hml_host_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _script_options(argv: list[str]) -> tuple[str, list[str]]:
    """The config file and the KEY VALUE pairs of a host command line."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--config-file", default="")
    parser.add_argument("--local_rank", "--local-rank", type=int)
    parser.add_argument("--skip-test", action="store_true")
    parser.add_argument("opts", nargs=argparse.REMAINDER, default=[])
    known, _ = parser.parse_known_args(argv)
    return known.config_file, known.opts


def _with_config_path(argv: list[str], benchmark: Benchmark) -> list[str]:
    """Resolve ``--config-file``: as given, below the benchmark, or one of the configs that ship with this package."""
    given, _ = _script_options(argv)
    if not given or Path(given).is_file():
        return argv
    shipped = config_root() / Path(given).relative_to("configs") if given.startswith("configs/") else None
    for candidate in (benchmark.root / given, shipped):
        if candidate is not None and candidate.is_file():
            return [word.replace(given, str(candidate)) if given in word else word for word in argv]
    raise HMLError(f"the config file {given} does not exist here, in {benchmark.root}, nor among the shipped configs")


def _preflight(argv: list[str], namespace: dict[str, Any], script: str) -> Plan | None:
    """Refuse a bad HML run before the script's ``main`` writes its first file; the plan of a good one."""
    file, options = _script_options(argv)
    own = seams.benchmark_config().clone()
    own.defrost()
    try:
        if file:
            own.merge_from_file(file)
        own.merge_from_list(options)
    except (KeyError, ValueError, AssertionError) as error:
        raise HMLError(f"the settings do not fit the benchmark: {str(error).strip(chr(34))}") from error
    own.freeze()
    check_test(own, namespace, script)
    if not own.HML.ENABLED or "train" not in namespace:
        return None
    seams.require(namespace, script)
    return prepare(own)
