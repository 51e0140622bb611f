"""Tree + settings -> the list of stages, and the loop over them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import HMLError
from ..method.choices import ONE_STAGE
from ..method.memory import StageMemory
from ..method.tree import PredicateTree
from ..run_folder import RunFolder

_log = logging.getLogger("maskrcnn_benchmark.hml")

LENGTHS = "HML.STAGES.ITERATIONS"
#: The released code's repeat factors, for the control that oversamples.
RELEASED_REPEATS = (1, 5, 20)


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        index: k, 1..K.
        count: K.
        labels: class indices (background excluded) whose relations are this stage's.
        old_classes: C_old of eq. 5: background 0 and every predicate of earlier stages.
        policy: which images and labels the stage trains on, see ``settings_notes.POLICIES``.
        iterations: length of the stage.
        class_balanced: l_new (eq. 4) or plain cross entropy.
        folder: where the host writes this stage's checkpoints.
        memory_file: what the stage hands on; the last stage writes none, since nothing would read it.
        exponent: power of eq. 4's weights.
        repeats: how often an image is repeated, by the rank of its rarest predicate; empty = never.
    """

    index: int
    count: int
    labels: tuple[int, ...]
    old_classes: tuple[int, ...]
    policy: str
    iterations: int
    class_balanced: bool
    folder: Path
    memory_file: Path
    exponent: float = 1.0
    repeats: tuple[int, ...] = ()

    def label_mask(self, num_classes: int) -> np.ndarray:
        """Boolean (C,): the predicates that make an image this stage's; under the policy ``all`` every predicate."""
        mask = np.zeros(num_classes, bool)
        mask[list(range(1, num_classes) if self.policy == "all" else self.labels)] = True
        return mask

    @property
    def is_last(self) -> bool:
        return self.index == self.count

    def title(self) -> str:
        return f"stage {self.index} of {self.count}"


def entry(values: Sequence, at: int):
    """The value of stage ``at`` (from 0) in a list per stage, whose last value goes for all later stages."""
    return values[min(at, len(values) - 1)]


def total_iterations(hml, tree: PredicateTree) -> int:
    """Iterations of all stages together, those of every entry at least: the budget of a one-stage control."""
    return sum(entry(hml.STAGES.ITERATIONS, k) for k in range(max(tree.num_layers, len(hml.STAGES.ITERATIONS))))


def plan_stages(hml, tree: PredicateTree, rel_classes: Sequence[str], output_dir: str | Path) -> list[Stage]:
    """The stages of a run, coarse to fine.

    Args:
        hml: the ``HML`` config node.
        tree: predicate tree over the same predicates as ``rel_classes``.
        rel_classes: class names by index, ``rel_classes[0]`` the background.
        output_dir: the run's folder; the last stage trains in it, the others in ``hml/stage<k>`` below.

    Raises:
        HMLError: tree and dataset differ in vocabulary, a layer is empty, or a per-stage list has the wrong length.
    """
    run = RunFolder(output_dir)
    if hml.CONTROL in ONE_STAGE:
        return [_one_stage(hml, run, len(rel_classes), total_iterations(hml, tree))]
    tree.check_vocabulary(list(rel_classes))
    stages = _staged(hml, run, [tuple(tree.layer_indices(k, list(rel_classes))) for k in range(1, tree.num_layers + 1)])
    if hml.CONTROL == "last_stage":
        total = total_iterations(hml, tree)
        return [replace(stages[-1], index=1, count=1, iterations=total, memory_file=run.memory(1))]
    return stages


def _one_stage(hml, run: RunFolder, num_classes: int, iterations: int) -> Stage:
    """The stage of an ablation baseline that trains once on all labels."""
    repeats = tuple(hml.STAGES.OVERSAMPLE_REPEATS) or RELEASED_REPEATS
    return Stage(
        index=1,
        count=1,
        labels=tuple(range(1, num_classes)),
        old_classes=(0,),
        policy="all",
        iterations=iterations,
        class_balanced=hml.CONTROL == "class_balanced",
        folder=run.root,
        memory_file=run.memory(1),
        exponent=hml.LOSS.EXPONENT[-1],
        repeats=repeats if hml.CONTROL == "oversampled" else (),
    )


def _staged(hml, run: RunFolder, layers: Sequence[tuple[int, ...]]) -> list[Stage]:
    """A stage per layer, given each layer's class indices."""
    count = len(layers)
    policies = tuple(hml.STAGES.LABELS) or ("only",) * (count - 1) + ("containing",)
    for key, given, rule in (("LABELS", policies, "one policy per layer"),
                             ("ITERATIONS", hml.STAGES.ITERATIONS, "at most one per layer")):
        if len(given) > count or (key == "LABELS" and len(given) < count):
            raise HMLError(f"HML.STAGES.{key} has {len(given)} entries but the tree has {count} layers; give {rule}")
    stages, earlier = [], [0]
    for k, labels in enumerate(layers, 1):
        if not labels:
            raise HMLError(f"layer {k} of the predicate tree is empty; build it with fewer layers (hml tree --help)")
        stages.append(Stage(
            index=k,
            count=count,
            labels=labels,
            old_classes=tuple(earlier),
            policy=policies[k - 1],
            iterations=entry(hml.STAGES.ITERATIONS, k - 1),
            class_balanced=entry(hml.LOSS.CLASS_BALANCED, k - 1),
            folder=run.stage(k, count),
            memory_file=run.memory(k),
            exponent=entry(hml.LOSS.EXPONENT, k - 1),
            repeats=tuple(hml.STAGES.OVERSAMPLE_REPEATS) if policies[k - 1] == "containing" else (),
        ))  # fmt: skip
        earlier += labels
    return stages


def run_stages(stages: Sequence[Stage], train_stage: Callable[[Stage, StageMemory | None], object]) -> object:
    """Train the stages in order; a stage whose memory is on disk is not trained again, except the last.

    The last stage always runs, since its model is what the caller tests; a finished one takes no step.

    Args:
        train_stage: trains one stage, given the previous stage's memory (None for the first), writes
            ``stage.memory_file`` unless it is the last, and returns the trained model.

    Returns:
        The last stage's model.
    """
    memory, model = None, None
    for stage in stages:
        if not stage.is_last and stage.memory_file.is_file():
            _log.info("HML: %s is finished; its memory is read from %s", stage.title(), stage.memory_file)
        else:
            model = train_stage(stage, memory)
        memory = None if stage.is_last else StageMemory.load(stage.memory_file)
    return model
