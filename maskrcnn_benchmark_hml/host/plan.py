"""Everything that can be known, and refused, before a stage trains: settings, tree, stages, resume points."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from .. import __version__
from ..config import check_config
from ..errors import HMLError
from ..files import write_json, written_aside
from ..method.memory import StageMemory
from ..method.tree import PredicateTree
from ..run_folder import STATISTICS, RunFolder, newest_checkpoint, run_above
from ..training.checkpoint import (
    changed_on_purpose,
    check_provenance,
    check_settings,
    read_state,
    record_settings,
    recorded_settings,
    remove_halves,
    state_file,
)
from ..training.data import label_counts, select_images
from ..training.stages import LENGTHS, ONE_STAGE, Stage, plan_stages
from ..training.trees import one_stage_tree, resolve_tree
from . import hook_points
from . import settings as host_settings
from .bound import HINTS, TRAINING_DATA, bound_settings, file_digests
from .extend import check_schedule, extension
from .fine_tune import check_start
from .idle import check_idle
from .training_data import aside, data_digest
from .values import check_values


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
    digests: Mapping[str, str]
    extended: str = ""  # what HML.EXTEND changes, in words
    accepted: tuple[str, ...] = ()  # HML.ACCEPT_CHANGED

    def fits(self, cfg: CfgNode) -> bool:
        """Whether this plan was made from the same settings and folder."""
        return cfg.OUTPUT_DIR == self.output_dir and bound_settings(cfg, self.tree, self.digests) == self.settings

    @property
    def free(self) -> set[str]:
        """Settings that may differ from the folder's."""
        return {*self.accepted, *([LENGTHS] if self.extended else [])}

    def provenance(self, stage: Stage) -> dict[str, Any]:
        return {
            "hml_version": __version__, "stage": stage.index, "stages": stage.count, "tree": self.tree.digest,
            "settings": json.dumps(self.settings, sort_keys=True),
        }

    def write(self) -> None:
        """Write what the host reads when a stage starts (rank 0): its folder, with the statistics.

        What killed runs left half written goes first.
        """
        for stage in self.stages:
            stage.folder.mkdir(parents=True, exist_ok=True)
            remove_halves(stage.folder)
            remove_halves(stage.memory_file.parent)
            target = stage.folder / self.statistics_name
            if not target.is_file() or target.read_bytes() != self.statistics:
                with written_aside(target) as part:
                    part.write_bytes(self.statistics)

    def bind(self) -> None:
        """Bind the run's folder to this plan: settings, tree and stages.

        It is called when a checkpoint is saved, before it becomes the last one: a start that fails binds nothing, and
        a folder with something to resume is bound.

        Raises:
            HMLError: the folder is bound to other settings.
        """
        run = RunFolder(self.output_dir)
        changed = check_settings(run.hml, self.settings, HINTS, self.free) if run.settings.is_file() else {}
        if run.settings.is_file() and not changed:
            return
        self.tree.save(run.tree)
        rows = [
            {"stage": s.index, "policy": s.policy, "iterations": s.iterations, "class_balanced": s.class_balanced,
             "exponent": s.exponent, "repeats": list(s.repeats),
             "labels": list(s.labels), "old_classes": list(s.old_classes)}
            for s in self.stages
        ]
        write_json(run.stages, rows, indent=1)
        notes = [self.extended if name == LENGTHS else f"{name} {how}" for name, how in changed.items()]
        record_settings(run.hml, self.settings, notes)


def prepare(cfg: CfgNode) -> Plan:
    """Check a run's settings against each other, the dataset and the folder; write nothing.

    Raises:
        HMLError: one sentence naming what is wrong and the remedy.
    """
    check_config(cfg)
    if not cfg.OUTPUT_DIR:
        raise HMLError("OUTPUT_DIR is empty; HML needs a folder for its stages: add OUTPUT_DIR <folder>")
    check_values(cfg, trains=True)
    classes = host_settings.class_count(cfg)
    statistics, dataset, name, content, data_digests = _read_data(cfg)
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
    run = RunFolder(cfg.OUTPUT_DIR)
    digests = {**data_digests, **file_digests(cfg, recorded_settings(run.hml))}
    bound = bound_settings(cfg, tree, digests)
    extended = extension(run.hml, stages, bound) if cfg.HML.EXTEND else ""
    plan = Plan(tree, stages, name, content, len(rel_classes), bound, cfg.OUTPUT_DIR, digests, extended,
                tuple(cfg.HML.ACCEPT_CHANGED))
    _check_folder(plan, run, cfg.SOLVER.SCHEDULE.MAX_DECAY_STEP)
    if not (stages[0].memory_file.is_file() or newest_checkpoint(stages[0].folder)):
        check_start(cfg)
    return plan


def _read_data(cfg: CfgNode) -> tuple[Mapping[str, Any], Any, str, bytes, dict[str, str]]:
    """The host's statistics and training dataset, and digests of the data.

    Its other loaders are built once, so that bad data shows now.

    All of it writes into OUTPUT_DIR, so it gets a folder of our own: a refused run leaves nothing behind.
    """
    name = "".join(host_settings.training_sets(cfg)) + STATISTICS
    with aside(cfg) as own:
        cached = Path(cfg.OUTPUT_DIR) / name
        if cached.is_file():
            shutil.copy2(cached, own.OUTPUT_DIR)  # with its time, by which the host sees whether it is stale
        dataset = hook_points.training_dataset(own)
        validation = hook_points.build_test_loaders(own)
        digests = {TRAINING_DATA: data_digest([dataset]), "DATASETS.VAL.DIGEST": data_digest(validation)}
        counted = recorded_settings(RunFolder(cfg.OUTPUT_DIR).hml).get(TRAINING_DATA, digests[TRAINING_DATA])
        if counted != digests[TRAINING_DATA]:  # the folder's statistics are of other data
            (Path(own.OUTPUT_DIR) / name).unlink(missing_ok=True)
        statistics = hook_points.dataset_statistics(own)
        return statistics, dataset, name, (Path(own.OUTPUT_DIR) / name).read_bytes(), digests


def _check_folder(plan: Plan, run: RunFolder, max_decays: int) -> None:
    whole = run_above(run.root)
    if whole not in (None, run.root.absolute()):
        raise HMLError(f"{run.root} is a stage's folder in the run of {whole}; give OUTPUT_DIR {whole} to resume that "
                       "run, or choose another OUTPUT_DIR")
    if run.settings.is_file():
        check_settings(run.hml, plan.settings, HINTS, plan.free)
    free = plan.free | changed_on_purpose(run.hml)
    for stage in plan.stages:
        if stage.memory_file.is_file() and not stage.is_last:
            memory = StageMemory.load(stage.memory_file)
            check_provenance(stage.memory_file, memory.provenance, plan.provenance(stage), free)
        elif checkpoint := newest_checkpoint(stage.folder):
            state = read_state(checkpoint)
            check_provenance(state_file(checkpoint), state.get("provenance", {}), plan.provenance(stage), free)
            if plan.extended:
                check_schedule(state, max_decays, checkpoint)
