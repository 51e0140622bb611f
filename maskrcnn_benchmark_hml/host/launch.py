"""``hml run``: load a host script as a module, add the HML keys, wrap ``train``, call ``main()``."""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import compat
from ..compat import leave_process_group, local_rank_argument
from ..config import add_hml_config, merge_profile, normalise_options, requested_profile
from ..datasets.layout import check_folder
from ..errors import HMLError
from ..merge import merge_settings, our_reader, read_config
from ..resources import config_root
from ..run_folder import check_not_hml, newest_checkpoint
from . import environment, hook_points
from .adjust import check_test, wrap_tests
from .data_numbers import check_data
from .events import check_package
from .idle import check_enabled
from .locate import Benchmark, locate
from .plan import Plan, prepare
from .run_lock import RunLock
from .script_options import config_file, on_parsed
from .train import wrap_train
from .values import check_output, check_values
from .weights import wrap_weights


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
    environment.prepare_process()
    benchmark = locate(sgb)
    path = benchmark.script(script)
    argv = prepare_command_line(argv, benchmark)
    if data is not None:
        os.environ["HML_DATA"] = str(check_folder(data).resolve())
    enter(benchmark)
    add_settings(argv)
    if str(path.parent) not in sys.path:  # as Python does: a script may import what is beside it
        sys.path.insert(0, str(path.parent))
    old_argv, sys.argv = sys.argv, [str(path), *argv]
    try:
        namespace = vars(load_script(path))  # some read their arguments while they are imported
        attach(namespace, benchmark, script)
        namespace["main"]()
        leave_process_group()
    except SystemExit as leaving:
        ours = [word for word in argv if word.partition("=")[0] in ("--data", "--sgb")]
        if leaving.code == 2 and ours:  # the script's parser has refused it
            raise HMLError(f"{ours[0]} is an option of hml run; put it before {script}") from leaving
        raise
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
    cfg = add_hml_config(hook_points.benchmark_config())
    merge_profile(cfg, requested_profile(argv, config_file(argv)))


def attach(namespace: dict[str, Any], benchmark: Benchmark, script: str) -> None:
    """Wrap a script's ``train``, tests and ``main``, so that ``main`` checks the run first; say what is driven."""
    if "main" not in namespace:
        raise HMLError(f"{script} has no function main(), which hml run calls; start it with python, without HML")
    line, lock = f"using {benchmark.describe()}", RunLock()
    plans: list[Plan] = []
    if not benchmark.embedded:
        wrap_weights(namespace)
    if "train" in namespace:
        line += f"; {hook_points.probe(namespace).describe()}"
        wrap_train(namespace, script, lock, plans)
    wrap_tests(namespace)
    if {"train", "inference"} & namespace.keys():
        _check_first(namespace, script, lock, plans)
    _say(line)


def _say(line: str) -> None:
    """A line, if it is not empty, from one process."""
    if line and int(os.environ.get("RANK", 0)) == 0:
        print(f"hml: {line}", file=sys.stderr)


def _gives_enabled(parsed: argparse.Namespace) -> bool:
    """Whether the script's arguments or its config file say HML.ENABLED, with either value."""
    file = getattr(parsed, "config_file", None)
    node = read_config(file).get("HML") if file and not file.endswith(".py") else None
    return "HML.ENABLED" in (getattr(parsed, "opts", None) or []) or isinstance(node, dict) and "ENABLED" in node


def _check_first(namespace: dict[str, Any], script: str, lock: RunLock, plans: list[Plan]) -> None:
    """Let ``main`` check the run as soon as the script has read its own arguments, before it writes its first file.

    A training then holds the lock of its folder until ``main`` ends.
    """
    main = namespace["main"]

    @functools.wraps(main)
    def checked(*args, **kwargs):
        with lock, our_reader(), on_parsed(lambda parsed: plans.extend(_preflight(parsed, namespace, script, lock))):
            result = main(*args, **kwargs)
            lock.check()
            return result

    namespace["main"] = checked


def load_script(path: Path) -> ModuleType:
    """Import a script under a name of its own, so that its ``__main__`` block does not run."""
    spec = importlib.util.spec_from_file_location(f"hml_host_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise HMLError(f"{path} is no Python script; name one, such as tools/relation_train_net.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise HMLError(f"{error.filename or path} is not Python that can be read ({error}); correct it") from error
    except ModuleNotFoundError as error:
        raise HMLError(f"{path} needs the module {error.name}, which is not installed here; install it, or correct the "
                       "import") from error  # fmt: skip
    return module


def _with_config_path(argv: list[str], benchmark: Benchmark) -> list[str]:
    """Resolve ``--config-file``: as given, below the benchmark, or one of the configs that ship with this package."""
    given = config_file(argv)
    if not given or Path(given).is_file():
        return argv
    shipped = config_root() / Path(given).relative_to("configs") if given.startswith("configs/") else None
    for candidate in (benchmark.root / given, shipped):
        if candidate is not None and candidate.is_file():
            return [word.replace(given, str(candidate)) if given in word else word for word in argv]
    if Path(given).is_dir():
        raise HMLError(f"the config file {given} is a folder; name a YAML file in it")
    raise HMLError(f"the config file {given} does not exist here, in {benchmark.root}, nor among the shipped configs")


def _preflight(parsed: argparse.Namespace, namespace: dict[str, Any], script: str, lock: RunLock) -> list[Plan]:
    """Refuse a bad run before the script's ``main`` writes its first file; the plan of a good one under HML.

    Args:
        parsed: the script's arguments as its own parser read them; loader workers may be lowered in them.
    """
    trains = "train" in namespace
    if not getattr(parsed, "config_file", True):
        raise HMLError("no configuration is given; add --config-file FILE (configs/ has some to start from)")
    own = hook_points.benchmark_config().clone()
    own.defrost()
    merge_settings(own, getattr(parsed, "config_file", None) or "", getattr(parsed, "opts", None) or [])
    own.freeze()
    check_values(own, trains)
    newest_checkpoint(own["OUTPUT_DIR"])  # refuses a last_checkpoint that names none
    if own["OUTPUT_DIR"]:
        check_output(own["OUTPUT_DIR"])
    if trains:
        lock.take(own.OUTPUT_DIR, existing=True)
    environment.check_run(own, parsed, trains)
    check_test(own, namespace, script)
    check_data(own, trains)
    if not trains:
        return []
    check_package(own)
    if hook_points.OWN_CHECK in namespace:
        namespace[hook_points.OWN_CHECK](own)
    plans = []
    if own.HML.ENABLED:
        hook_points.require(namespace, script)
        plans = [prepare(own)]
    else:
        check_not_hml(own.OUTPUT_DIR)
        _say(check_enabled(own, _gives_enabled(parsed)))
    lock.begin(own.OUTPUT_DIR)
    return plans
