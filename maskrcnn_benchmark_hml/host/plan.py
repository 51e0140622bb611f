"""Everything that can be known, and refused, before a stage trains: settings, tree, stages, resume points."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from .. import __version__
from ..config import check_config, settings
from ..errors import HMLError
from ..files import write_json, written_aside
from ..method.memory import StageMemory
from ..method.tree import PredicateTree
from ..run_folder import RunFolder, last_checkpoint, run_above
from ..training.checkpoint import check_settings, read_state, record_extension
from ..training.data import label_counts, select_images
from ..training.stages import ONE_STAGE, Stage, plan_stages
from ..training.trees import one_stage_tree, resolve_tree
from . import hook_points
from . import settings as host_settings
from .extend import HINT, check_schedule, extension
from .fine_tune import check_start, start_file
from .idle import check_idle
from .training_data import aside

#: Host settings that may change between start and resume without changing the result.
_FREE = ("MODEL.DEVICE", "SOLVER.CHECKPOINT_PERIOD", "SOLVER.PRINT_GRAD_FREQ", "SOLVER.PRE_VAL")
_BOUND = ("MODEL", "SOLVER", "INPUT", "DTYPE", host_settings.BY_DATASET)


@dataclass(frozen=True)
class Plan:
    """A checked run: the tree, its stages, the training split's statistics file, and the settings it is bound to."""

    tree: PredicateTree
    stages: list[Stage]
    statistics_name: str
    statistics: bytes
    num_classes: int
    settings: dict[str, Any]
    output_dir: str
    extended: str = ""  # what HML.EXTEND changes, in words

    def fits(self, cfg: CfgNode) -> bool:
        """Whether this plan was made from the same settings and folder."""
        return cfg.OUTPUT_DIR == self.output_dir and _bound_settings(cfg, self.tree) == self.settings

    def provenance(self, stage: Stage) -> dict[str, Any]:
        return {
            "hml_version": __version__, "stage": stage.index, "stages": stage.count, "tree": self.tree.digest,
            "settings": json.dumps(self.settings, sort_keys=True),
        }

    def write(self) -> None:
        """Bind the run's folder to this plan (rank 0): settings, tree, stages and the statistics of each stage."""
        run = RunFolder(self.output_dir)
        run.hml.mkdir(parents=True, exist_ok=True)
        check_settings(run.hml, self.settings, HINT, self.extended)
        if self.extended:
            record_extension(run.hml, self.settings, self.extended)
        self.tree.save(run.tree)
        rows = [
            {"stage": s.index, "policy": s.policy, "iterations": s.iterations, "class_balanced": s.class_balanced,
             "exponent": s.exponent, "repeats": list(s.repeats),
             "labels": list(s.labels), "old_classes": list(s.old_classes)}
            for s in self.stages
        ]
        write_json(run.stages, rows, indent=1)
        for stage in self.stages:
            stage.folder.mkdir(parents=True, exist_ok=True)
            target = stage.folder / self.statistics_name
            if not target.is_file():
                with written_aside(target) as part:
                    part.write_bytes(self.statistics)


def prepare(cfg: CfgNode) -> Plan:
    """Check a run's settings against each other, the dataset and the folder; write nothing.

    Raises:
        HMLError: one sentence naming what is wrong and the remedy.
    """
    check_config(cfg)
    if not cfg.OUTPUT_DIR:
        raise HMLError("OUTPUT_DIR is empty; HML needs a folder for its stages: add OUTPUT_DIR <folder>")
    world = int(os.environ.get("WORLD_SIZE", 1))
    for name, images in (("SOLVER", cfg.SOLVER.IMS_PER_BATCH), ("TEST", cfg.TEST.IMS_PER_BATCH)):
        if images % world:
            raise HMLError(
                f"{name}.IMS_PER_BATCH is {images}, which {world} processes cannot share; give a multiple of {world} "
                "(it counts all of them together)"
            )
    known = hook_points.known_predictors()
    predictor, classes = host_settings.predictor_name(cfg), host_settings.class_count(cfg)
    if predictor not in known:
        raise HMLError(f"there is no relation predictor {predictor!r}; the benchmark has: {', '.join(known)}")
    statistics, dataset, name, content = _read_data(cfg)
    rel_classes = list(statistics["rel_classes"])
    if len(rel_classes) != classes:
        raise HMLError(
            f"the dataset has {len(rel_classes)} predicate classes (background included) but "
            f"{host_settings.class_count_key(cfg)} is {classes}; set it to {len(rel_classes)}"
        )
    counts = label_counts(dataset.relationships, classes)
    find_tree = one_stage_tree if cfg.HML.CONTROL in ONE_STAGE else resolve_tree
    tree = find_tree(cfg.HML.TREE, rel_classes, dict(zip(rel_classes[1:], counts[1:].tolist())))
    stages = plan_stages(cfg.HML, tree, rel_classes, cfg.OUTPUT_DIR)
    check_idle(cfg, stages)
    for stage in stages:
        select_images(dataset.relationships, stage, counts, cfg.HML, rel_classes)  # an empty stage is refused now
    bound, run = _bound_settings(cfg, tree), RunFolder(cfg.OUTPUT_DIR)
    extended = extension(run.hml, stages, bound) if cfg.HML.EXTEND else ""
    plan = Plan(tree, stages, name, content, len(rel_classes), bound, cfg.OUTPUT_DIR, extended)
    _check_folder(plan, run, cfg.SOLVER.SCHEDULE.MAX_DECAY_STEP)
    if not (stages[0].memory_file.is_file() or last_checkpoint(stages[0].folder).is_file()):
        check_start(cfg)
    return plan


def _read_data(cfg: CfgNode) -> tuple[Mapping[str, Any], Any, str, bytes]:
    """The host's statistics and training dataset; its other loaders are built once, so that bad data shows now.

    All of it writes into OUTPUT_DIR, so it gets a folder of our own: a refused run leaves nothing behind.
    """
    name = "".join(host_settings.training_sets(cfg)) + "_statistics.cache"
    with aside(cfg) as own:
        cached = Path(cfg.OUTPUT_DIR) / name
        if cached.is_file():
            shutil.copy2(cached, own.OUTPUT_DIR)  # with its time, by which the host sees whether it is stale
        statistics = hook_points.dataset_statistics(own)
        dataset = hook_points.training_dataset(own)
        hook_points.build_test_loaders(own)
        return statistics, dataset, name, (Path(own.OUTPUT_DIR) / name).read_bytes()


def _flatten(node: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = list(value) if isinstance(value, (tuple, list)) else value
    return flat


def _bound_settings(cfg: CfgNode, tree: PredicateTree) -> dict[str, Any]:
    bound = {k: v for k, v in _flatten({key: cfg[key] for key in _BOUND if key in cfg}, "").items() if k not in _FREE}
    bound.update(settings(cfg))
    bound["DATASETS.TRAIN"] = host_settings.training_sets(cfg)
    bound["predicate tree"] = tree.digest
    # The file may have gone or changed since: later stages would then start without its detector.
    bound["relation head in MODEL.WEIGHT"] = bool(start_file(cfg))
    # The digest stands for the tree's file; the adjustment comes after training.
    for free in ("HML.EXTEND", "HML.KEEP_STATES", "HML.TREE.FILE", "HML.TEST.TAU", "HML.TEST.PRIOR"):
        bound.pop(free)
    return bound


def _check_folder(plan: Plan, run: RunFolder, max_decays: int) -> None:
    whole = run_above(run.root)
    if whole not in (None, run.root.absolute()):
        raise HMLError(f"{run.root} is a stage's folder in the run of {whole}; give OUTPUT_DIR {whole} to resume that "
                       "run, or choose another OUTPUT_DIR")
    if run.settings.is_file():
        check_settings(run.hml, plan.settings, HINT, plan.extended)
    for stage in plan.stages:
        last = last_checkpoint(stage.folder)
        if stage.memory_file.is_file() and not stage.is_last:
            StageMemory.load(stage.memory_file)
        elif last.is_file():
            checkpoint = resolve_checkpoint(stage.folder, last.read_text())
            state = read_state(checkpoint)
            if plan.extended:
                check_schedule(state, max_decays, checkpoint)


def resolve_checkpoint(folder: Path, named: str) -> Path:
    """The checkpoint that a ``last_checkpoint`` file names, also after the folder was moved."""
    path = Path(named.strip())
    return path if path.is_file() or not path.name else folder / path.name
