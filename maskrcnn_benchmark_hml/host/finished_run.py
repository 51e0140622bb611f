"""What a finished run's folder holds for prediction: its benchmark, settings, checkpoint, and the names of its classes.

Nothing is written, and no annotation file is needed: the names and counts come from the run's statistics cache.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from yacs.config import CfgNode

from ..compat.checkpoint_file import LOAD_ERRORS
from ..config import add_hml_config
from ..errors import HMLError
from ..files import load_torch, read_json
from ..merge import merge_file
from ..resources import embedded_root
from ..run_folder import CONFIG, FINAL, LABELS, STATISTICS, RunFolder, newest_checkpoint, status_file
from ..run_status import run_status
from ..yaml_file import read_config
from . import hook_points, settings
from .launch import enter
from .locate import Benchmark, locate

_log = logging.getLogger("maskrcnn_benchmark.hml")
#: Settings that the bundled benchmark alone has, as sections and name.
_BUNDLED = (("SOLVER", "SEED"), ("MODEL", "PARTIAL_LOAD"))


@dataclass(frozen=True)
class FinishedRun:
    """A run that can predict.

    Attributes:
        folder: its OUTPUT_DIR.
        benchmark: the host that trained it, which is importable from now on.
        cfg: its settings in that host, frozen, with this machine's paths and device.
        checkpoint: the file with its weights.
        statistics: as the host's ``get_dataset_statistics`` returns them.
        task: predcls, sgcls or sgdet.
    """

    folder: Path
    benchmark: Benchmark
    cfg: CfgNode
    checkpoint: Path
    statistics: Mapping[str, Any]
    task: str

    @property
    def object_names(self) -> tuple[str, ...]:
        """In index order, background first."""
        return tuple(self.statistics["obj_classes"])

    @property
    def predicate_names(self) -> tuple[str, ...]:
        """In index order, background first."""
        return tuple(self.statistics["rel_classes"])


def read_run(run: str | Path, sgb: str | None = None, device: str | None = None) -> FinishedRun:
    """Read and check a run's folder; enter its benchmark.

    Args:
        run: the OUTPUT_DIR.
        sgb: folder of the checkout that trained it; None: SGB_HOME, the current folder, or the bundled benchmark.
        device: ``cpu`` or ``cuda``; None: that of the run, the CPU if this machine has no such GPU.

    Raises:
        HMLError: not a finished run with relations, or not of that benchmark.
    """
    folder = Path(run)
    given = _settings_of(folder)
    checkpoint = _checkpoint_of(folder)
    benchmark = _benchmark_of(folder, given, sgb)
    enter(benchmark)
    cfg = _merged(folder, benchmark)
    _for_this_machine(cfg, folder, device)
    task = _task_of(folder, cfg)
    statistics = _statistics_of(folder, cfg)
    _check_counts(folder, cfg, statistics)
    return FinishedRun(folder, benchmark, cfg, checkpoint, statistics, task)


def _settings_of(folder: Path) -> Mapping[str, Any]:
    if not folder.is_dir():
        raise HMLError(f"there is no folder {folder}; give the OUTPUT_DIR of a finished run")
    if not (folder / CONFIG).is_file():
        raise HMLError(f"{folder} has no {CONFIG}, so it is not the OUTPUT_DIR of a run; give that of a finished run")
    return read_config(folder / CONFIG)


def _checkpoint_of(folder: Path) -> Path:
    """The weights of the last stage's end.

    Raises:
        HMLError: there are none yet.
    """
    found = newest_checkpoint(folder)
    begun = status_file(folder).is_file()
    if found is None and (begun or RunFolder(folder).stages.is_file()):
        how = run_status(folder).text.replace("\n", "; ") if begun else "its last stage has no checkpoint"
        raise HMLError(f"the run in {folder} is not finished ({how}); train it to its end first")
    if found is None:
        raise HMLError(f"{folder} has no checkpoint (no file last_checkpoint); give the OUTPUT_DIR of a finished run")
    if begun and found.stem != FINAL and (status := run_status(folder)).state != "finished":
        how = status.text.replace("\n", "; ")
        raise HMLError(f"the run in {folder} is not finished ({how}); train it to its end first")
    return found


def _benchmark_of(folder: Path, given: Mapping[str, Any], sgb: str | None) -> Benchmark:
    bundled = any(isinstance(given.get(part), Mapping) and name in given[part] for part, name in _BUNDLED)
    if bundled and not sgb:
        return Benchmark(embedded_root(), True, "the run's settings")
    found = locate(sgb)
    if bundled and not found.embedded:
        raise HMLError(f"the run in {folder} is of the bundled benchmark, not of {found.root}; leave out --sgb")
    if not bundled and found.embedded:
        raise HMLError(f"the run in {folder} is of a checkout of SGB or a fork; name that checkout with --sgb DIR")
    return found


def _merged(folder: Path, benchmark: Benchmark) -> CfgNode:
    """The run's settings; a checkout's own tree holds them too, because parts of its code read that."""
    cfg = hook_points.benchmark_config()
    if benchmark.embedded:
        cfg = cfg.clone()
    cfg.defrost()
    add_hml_config(cfg)
    try:
        merge_file(cfg, str(folder / CONFIG))
    except HMLError as error:
        remedy = "use the version that trained it" if benchmark.embedded else "name the right checkout with --sgb DIR"
        raise HMLError(
            f"the run in {folder} was trained by another version or fork than {benchmark.describe()}, so {remedy}: "
            f"{error}"
        ) from error
    return cfg


def _for_this_machine(cfg: CfgNode, folder: Path, device: str | None) -> None:
    """Replace paths of the machine that trained, and the device; freeze."""
    try:
        wanted = torch.device(device or cfg.MODEL.DEVICE)
    except RuntimeError as error:
        raise HMLError(f"there is no device {device or cfg.MODEL.DEVICE}; use cpu or cuda") from error
    if wanted.type == "cuda" and not torch.cuda.is_available():
        if device:
            raise HMLError(f"the device {device} is asked for, but torch sees no GPU here; use cpu")
        _log.info("HML: the run was trained on a GPU, and there is none here; the CPU is used")
        wanted = torch.device("cpu")
    cfg.OUTPUT_DIR, cfg.MODEL.DEVICE = str(folder), str(wanted)
    cfg.MODEL.WEIGHT = ""
    if cfg.get("GLOVE_DIR") and not Path(cfg.GLOVE_DIR).exists():
        cfg.GLOVE_DIR = ""  # the embeddings are in the checkpoint
    cfg.freeze()


def _task_of(folder: Path, cfg: CfgNode) -> str:
    if not cfg.MODEL.RELATION_ON:
        raise HMLError(f"the run in {folder} trained a detector without relations; give that of a relation head")
    head = cfg.MODEL.ROI_RELATION_HEAD
    if not head.USE_GT_BOX:
        return "sgdet"
    return "predcls" if head.USE_GT_OBJECT_LABEL else "sgcls"


def _statistics_of(folder: Path, cfg: CfgNode) -> Mapping[str, Any]:
    caches = sorted(folder.glob("*" + STATISTICS))
    named = [path for path in caches if path.name == "".join(settings.training_sets(cfg)) + STATISTICS]
    if not caches or (len(caches) > 1 and not named):
        raise HMLError(f"{folder} has no {''.join(settings.training_sets(cfg))}{STATISTICS}, which holds the names of "
                       "the classes; copy it from where the run was trained")
    path = (named or caches)[0]
    try:
        content = load_torch(path)
    except LOAD_ERRORS as error:
        if isinstance(error, HMLError):
            raise
        raise HMLError(f"{path} cannot be read ({str(error).partition(chr(10))[0]}); copy it again from where the run "
                       "was trained") from error
    missing = [key for key in ("obj_classes", "rel_classes") if not (isinstance(content, dict) and content.get(key))]
    if missing:
        raise HMLError(f"{path} holds no {missing[0]}, which are the names of the classes; copy it again from where "
                       "the run was trained")
    return content


def _check_counts(folder: Path, cfg: CfgNode, statistics: Mapping[str, Any]) -> None:
    """Refuse names that are not those of the model's classes."""
    for key, count, names, what in (
        (settings.object_count_key(cfg), settings.object_count(cfg), statistics["obj_classes"], "object classes"),
        (settings.class_count_key(cfg), settings.class_count(cfg), statistics["rel_classes"], "predicates"),
    ):
        if count != len(names):
            raise HMLError(f"{folder}: {key} is {count}, but its statistics cache names {len(names)} {what} with the "
                           "background; the cache is of another run: copy it again from where the run was trained")
    _check_labels(folder, statistics["obj_classes"])


def _check_labels(folder: Path, objects: Sequence[str]) -> None:
    path = folder / LABELS
    if not path.is_file():
        return
    try:
        labels = {int(key): name for key, name in read_json(path).items()}
    except (ValueError, AttributeError) as error:
        raise HMLError(f"{path} holds no class names; copy it again from where the run was trained") from error
    wrong = [k for k, name in labels.items() if not 0 <= k < len(objects) or objects[k] != name]
    if wrong:
        raise HMLError(f"{path} names object class {wrong[0]} {labels[wrong[0]]!r}, the statistics cache does not; one "
                       "of them is of another run: copy both again from where the run was trained")
