"""Settings of the host that have no effect, or another one, under HML: the log names those that a run has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from yacs.config import CfgNode

from ..training.stages import Stage


def scaled_steps(cfg: CfgNode, iterations: int) -> tuple[int, ...]:
    """SOLVER.STEPS at the same fractions of a stage of this length."""
    return tuple(round(step * iterations / cfg.SOLVER.MAX_ITER) for step in cfg.SOLVER.STEPS)


def unused_settings(cfg: CfgNode, stages: Sequence[Stage]) -> list[str]:
    """One sentence for each such setting: its value, and what acts instead.

    Args:
        cfg: the run's, with ``HML``.
        stages: the run's stages.
    """
    solver, head = cfg.SOLVER, cfg.MODEL.ROI_RELATION_HEAD
    lengths = [stage.iterations for stage in stages]
    found = []
    if solver.MAX_ITER != sum(lengths):
        found.append(f"SOLVER.MAX_ITER {solver.MAX_ITER} is not used: HML.STAGES.ITERATIONS gives the stages "
                     f"{', '.join(map(str, lengths))} iterations")
    steps = [scaled_steps(cfg, length) for length in lengths]
    if solver.SCHEDULE.TYPE == "WarmupMultiStepLR" and any(given != tuple(solver.STEPS) for given in steps):
        found.append(f"SOLVER.STEPS {tuple(solver.STEPS)}, of SOLVER.MAX_ITER {solver.MAX_ITER}, become "
                     f"{' and '.join(map(str, steps))} in the stages: the same parts of their lengths")
    if head.get("LABEL_SMOOTHING_LOSS", False):
        found.append("MODEL.ROI_RELATION_HEAD.LABEL_SMOOTHING_LOSS True acts on the objects' loss alone: the relation "
                     "loss is HML's (HML.LOSS)")
    if solver.get("UPDATE_SCHEDULE_DURING_LOAD", False):
        found.append("SOLVER.UPDATE_SCHEDULE_DURING_LOAD True is not used: a resumed stage has the schedule of its "
                     "resume file")
    if solver.get("SEED", 0) not in (0, cfg.HML.SEED):
        found.append(f"SOLVER.SEED {solver.SEED} is not used: HML.SEED {cfg.HML.SEED} seeds the run")
    return found


def small_groups(groups: Sequence[int], batch: int) -> str:
    """What a batch larger than a stage's images, or than those of one orientation, means; "" if none is.

    Args:
        groups: the orientation of each image. batch: SOLVER.IMS_PER_BATCH.
    """
    smallest = min(Counter(groups).values())
    if smallest >= batch:
        return ""
    what = "images" if smallest == len(groups) else "images of one orientation (DATALOADER.ASPECT_RATIO_GROUPING)"
    return f"it has {smallest} {what}, fewer than SOLVER.IMS_PER_BATCH {batch}: batches contain an image several times"
