"""A grid's variants as runs: their overrides, their folders, and in which order they can run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import HMLError
from ..method.adjustment import tau_folder
from ..method.layers import RELEASED_BOUNDARIES
from ..method.tree import PredicateTree
from ..run_folder import FINAL
from ..training.stages import ONE_STAGE
from ..training.trees import find_tree
from .budget import equal_lengths, stage_lengths, stage_shares
from .grid import Grid, Variant, override_text
from .grid_file import grid_folder
from .presets import run_overrides
from .run import TRAIN_SCRIPT, Run, data_digest
from .tree_choice import DataTrees, TreeChoice

TEST_SCRIPT = "tools/relation_test_net.py"
CHECKPOINT = f"{FINAL}.pth"
SPLITS = {"test": "VG_stanford_filtered_with_attribute_test", "val": "VG_stanford_filtered_with_attribute_val"}


@dataclass(frozen=True)
class Options:
    """What the command line decides for all runs of a grid.

    Attributes:
        data: dataset folder. out: holds ``runs/`` and ``trees/``.
        profile: HML's, for variants that do not choose one.
        split: evaluated part: ``test``, or ``val`` (cut from the training split) for choosing settings.
        iterations: of a one-stage run; ``budget`` (a key of BUDGETS) says what HML's stages get.
        tree: of the HML runs, where neither the variant nor its profile has one.
    """

    data: Path
    out: Path
    profile: str
    split: str
    iterations: int
    seeds: tuple[int, ...]
    budget: str = "equal"
    tree: TreeChoice = TreeChoice()

    @property
    def detector_folder(self) -> Path:
        """Where the detector of this dataset is trained."""
        return self.out / "detectors" / data_digest(self.data)

    @cached_property
    def trees(self) -> DataTrees:
        return DataTrees(self.tree, self.data, self.out / "trees")


@dataclass(frozen=True)
class GridRun:
    """One run of a variant: what it is in the table, and the process that makes it."""

    variant: Variant
    predictor: str
    task: str
    seed: int
    run: Run

    @property
    def output(self) -> Path:
        """The run's own folder."""
        return self.run.output

    def results(self) -> list[tuple[float | None, Path]]:
        """(tau, folder of the results) of each of its rows; tau is None without logit adjustment."""
        folder = self.run.results() or self.run.output / "inference"  # without results read_rows names the file
        if not self.variant.after:
            return [(None, folder)]
        return [(tau, folder / tau_folder(tau)) for tau in self.variant.taus]


def training_runs(grid: Grid, options: Options, detector: Path | None) -> list[GridRun]:
    """The runs that train, seed by seed, so that a whole grid of one seed is there early."""
    return [
        GridRun(variant, predictor, task, seed, _training(variant, predictor, task, seed, options, detector))
        for seed in options.seeds
        for variant in grid.variants if not variant.after
        for predictor in variant.predictors
        for task in variant.tasks
    ]


def test_runs(grid: Grid, options: Options, trained: Sequence[GridRun]) -> list[GridRun]:
    """The runs that test checkpoints of ``trained`` once more, for the variants that come after others."""
    runs = []
    for variant in grid.variants:
        for parent in trained if variant.after else ():
            fits = parent.predictor in variant.predictors and parent.task in variant.tasks
            if fits and parent.variant.name == variant.after:
                test = _test(variant, parent, options)
                runs.append(GridRun(variant, parent.predictor, parent.task, parent.seed, test))
    return runs


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(words[::2], words[1::2]))


def _training(
    variant: Variant, predictor: str, task: str, seed: int, options: Options, detector: Path | None
) -> Run:
    lengths = run_lengths(variant, options)
    total = sum(lengths)
    own = None if task == "predcls" else detector
    config, words = run_overrides(predictor, task, options.data, detector=own)
    chosen = dict(_pairs(words))
    # Decays at fixed shares (of each stage): a plateau schedule would compare how noisy the runs' validations are.
    decays = override_text((total * 7 // 10, total * 9 // 10))
    chosen.update({"SOLVER.MAX_ITER": str(total), "SOLVER.VAL_PERIOD": str(total), "TEST.SAVE_PREDICTIONS": "False",
                   "SOLVER.SCHEDULE.TYPE": "WarmupMultiStepLR", "SOLVER.STEPS": decays})
    if options.split != "test":
        chosen["DATASETS.TEST"] = f"('{SPLITS[options.split]}',)"
    if variant.staged:
        profile = _profile(variant, options)
        if len(lengths) != variant.layers:  # a control: one stage that trains for the sum of these
            lengths = equal_lengths(total, _shares(variant, options))
        chosen.update({"HML.ENABLED": "True", "HML.PROFILE": profile,
                       "HML.STAGES.ITERATIONS": override_text(lengths)})
        chosen.update(_tree(variant, profile, options))
    chosen.update({key: override_text(value) for key, value in variant.set.items()})
    return _placed(_title(variant.name, predictor, task), config, chosen, seed, options)


def _title(name: str, predictor: str, task: str) -> str:
    usual = (predictor, task) == ("motifs", "predcls")
    return name if usual else f"{name}, {predictor} {task}"


def _profile(variant: Variant, options: Options) -> str:
    return str(variant.set.get("HML.PROFILE", options.profile))


def _shares(variant: Variant, options: Options) -> tuple[int, ...]:
    return stage_shares(variant.layers, _profile(variant, options), variant.shares)


def run_lengths(variant: Variant, options: Options) -> tuple[int, ...]:
    """Iterations of the stages of a variant's runs; the plain benchmark and the controls have one stage."""
    if not variant.staged or variant.set.get("HML.CONTROL"):
        return (options.iterations,)
    try:
        return stage_lengths(options.budget, options.iterations, _shares(variant, options))
    except HMLError:
        raise HMLError(
            f"{options.iterations} iterations are too few for the stages of {variant.name!r}; give more --iterations"
        ) from None


def _tree(variant: Variant, profile: str, options: Options) -> dict[str, str]:
    """Overrides for the variant's tree; nothing for the shipped one as it is, nor for a control, which needs none."""
    trees = options.trees
    if variant.set.get("HML.CONTROL") in ONE_STAGE and (options.tree.which or not trees.shipped):
        return {}
    if variant.tree == "frequency":
        if variant.layers not in RELEASED_BOUNDARIES:
            raise HMLError(f"{variant.name!r}: the frequency tree has no {variant.layers} layers; give 2, 3 or 4")
        edges = override_text(trees.released_boundaries(variant.layers))
        return {"HML.TREE.BUILDER": "frequency", "HML.TREE.BOUNDARIES": edges, "HML.TREE.LAYERS": str(variant.layers)}
    if variant.tree:
        tree = _named_tree(variant, trees.names).with_layers(variant.layers)
        return {"HML.TREE.FILE": str(trees.saved(tree))}
    if any(key.startswith("HML.TREE.") for key in variant.set):
        return {}
    return trees.overrides(variant.layers, profile)


def check_trees(grid: Grid, options: Options) -> None:
    """HMLError if the tree of a variant cannot be made; called before anything is trained."""
    for variant in grid.variants:
        if variant.staged and not variant.after:
            _tree(variant, _profile(variant, options), options)


def _named_tree(variant: Variant, names: Sequence[str]) -> PredicateTree:
    tree = find_tree(grid_folder() / "trees", f"*_{variant.tree}.json", names)
    if tree is None:
        raise HMLError(
            f"{variant.name!r}: configs/experiments/trees has no tree {variant.tree!r} with this dataset's "
            f"{len(names)} predicates; leave the variant's tree out, or make one with hml tree"
        )
    return tree


def _test(variant: Variant, parent: GridRun, options: Options) -> Run:
    chosen = dict(_pairs(parent.run.overrides))
    chosen.update({"HML.TEST.TAU": override_text(variant.taus), "HML.TEST.PRIOR": variant.prior,
                   "MODEL.WEIGHT": str(parent.output / CHECKPOINT)})
    title = _title(variant.name, parent.predictor, parent.task)
    return _placed(title, parent.run.config_file, chosen, parent.seed, options, script=TEST_SCRIPT)


def _placed(
    name: str, config: Path, chosen: dict[str, str], seed: int, options: Options, *, script: str = TRAIN_SCRIPT
) -> Run:
    """The run, in the folder of its settings: grids that hold the same run share it, other settings never meet."""
    words = tuple(word for pair in chosen.items() for word in pair)
    run = Run(f"{name}, seed {seed}", config, words, seed, options.data, options.out, script, options.split)
    content: dict[str, Any] = {key: value for key, value in run.settings().items() if key != "seed"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
    there = sorted((options.out / "runs").glob(f"*-{digest}-seed{seed}"))
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60]
    folder = there[0] if there else options.out / "runs" / f"{slug}-{digest}-seed{seed}"
    return Run(run.name, config, words, seed, options.data, folder, script, run.split)
