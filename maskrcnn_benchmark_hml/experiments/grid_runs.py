"""A grid's cells as runs: their overrides, their folders, and in which order they can run."""

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
from .cell import TRAIN_SCRIPT, Cell
from .cells_catalog import run_overrides
from .grid import Grid, GridCell, override_text
from .grid_file import grid_folder
from .tree_choice import DataTrees, TreeChoice

TEST_SCRIPT = "tools/relation_test_net.py"
CHECKPOINT = f"{FINAL}.pth"
_SPLITS = {"test": "VG_stanford_filtered_with_attribute_test", "val": "VG_stanford_filtered_with_attribute_val"}


@dataclass(frozen=True)
class Options:
    """What the command line decides for all runs of a grid.

    Attributes:
        data: dataset folder. out: holds ``runs/`` and ``trees/``.
        profile: HML's, for cells that do not choose one.
        split: evaluated part: ``test``, or ``val`` (cut from the training split) for choosing settings.
        iterations: of a one-stage run; ``budget`` (a key of BUDGETS) says what HML's stages get.
        tree: of the HML runs, where neither the cell nor its profile has one.
    """

    data: Path
    out: Path
    profile: str
    split: str
    iterations: int
    seeds: tuple[int, ...]
    budget: str = "equal"
    tree: TreeChoice = TreeChoice()

    @cached_property
    def trees(self) -> DataTrees:
        return DataTrees(self.tree, self.data, self.out / "trees")


@dataclass(frozen=True)
class GridRun:
    """One run of a cell: what it is in the table, and the process that makes it."""

    grid_cell: GridCell
    predictor: str
    task: str
    seed: int
    cell: Cell

    def results(self) -> list[tuple[float | None, Path]]:
        """(tau, folder of the results) of each of its rows; tau is None without logit adjustment."""
        folder = self.cell.results()
        if not self.grid_cell.after:
            return [(None, folder)]
        return [(tau, folder / tau_folder(tau)) for tau in self.grid_cell.taus]


def training_runs(grid: Grid, options: Options, detector: Path | None) -> list[GridRun]:
    """The runs that train, seed by seed, so that a whole grid of one seed is there early."""
    return [
        GridRun(cell, predictor, task, seed, _training(cell, predictor, task, seed, options, detector))
        for seed in options.seeds
        for cell in grid.cells if not cell.after
        for predictor in cell.predictors
        for task in cell.tasks
    ]


def test_runs(grid: Grid, options: Options, trained: Sequence[GridRun]) -> list[GridRun]:
    """The runs that test checkpoints of ``trained`` once more, for the cells that come after others."""
    runs = []
    for cell in grid.cells:
        for parent in trained if cell.after else ():
            fits = parent.predictor in cell.predictors and parent.task in cell.tasks
            if fits and parent.grid_cell.name == cell.after:
                runs.append(GridRun(cell, parent.predictor, parent.task, parent.seed, _test(cell, parent, options)))
    return runs


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(words[::2], words[1::2]))


def _training(
    cell: GridCell, predictor: str, task: str, seed: int, options: Options, detector: Path | None
) -> Cell:
    lengths = run_lengths(cell, options)
    total = sum(lengths)
    own = None if task == "predcls" else detector
    config, words = run_overrides(predictor, task, options.data, detector=own)
    chosen = dict(_pairs(words))
    # Decays at fixed shares (of each stage): a plateau schedule would compare how noisy the runs' validations are.
    decays = override_text((total * 7 // 10, total * 9 // 10))
    chosen.update({"SOLVER.MAX_ITER": str(total), "SOLVER.VAL_PERIOD": str(total), "TEST.SAVE_PREDICTIONS": "False",
                   "SOLVER.SCHEDULE.TYPE": "WarmupMultiStepLR", "SOLVER.STEPS": decays})
    if options.split != "test":
        chosen["DATASETS.TEST"] = f"('{_SPLITS[options.split]}',)"
    if cell.staged:
        profile = _profile(cell, options)
        if len(lengths) != cell.layers:  # a control: one stage that trains for the sum of these
            lengths = equal_lengths(total, _shares(cell, options))
        chosen.update({"HML.ENABLED": "True", "HML.PROFILE": profile,
                       "HML.STAGES.ITERATIONS": override_text(lengths)})
        chosen.update(_tree(cell, profile, options))
    chosen.update({key: override_text(value) for key, value in cell.set.items()})
    return _placed(_title(cell.name, predictor, task), config, chosen, seed, options)


def _title(name: str, predictor: str, task: str) -> str:
    usual = (predictor, task) == ("motifs", "predcls")
    return name if usual else f"{name}, {predictor} {task}"


def _profile(cell: GridCell, options: Options) -> str:
    return str(cell.set.get("HML.PROFILE", options.profile))


def _shares(cell: GridCell, options: Options) -> tuple[int, ...]:
    return stage_shares(cell.layers, _profile(cell, options), cell.shares)


def run_lengths(cell: GridCell, options: Options) -> tuple[int, ...]:
    """Iterations of the stages of a cell's runs; the plain benchmark and the controls have one stage."""
    if not cell.staged or cell.set.get("HML.CONTROL"):
        return (options.iterations,)
    try:
        return stage_lengths(options.budget, options.iterations, _shares(cell, options))
    except HMLError:
        raise HMLError(
            f"{options.iterations} iterations are too few for the stages of {cell.name!r}; give more --iterations"
        ) from None


def _tree(cell: GridCell, profile: str, options: Options) -> dict[str, str]:
    """Overrides for the cell's tree; nothing for the shipped one as it is, nor for a control, which needs none."""
    trees = options.trees
    if cell.set.get("HML.CONTROL") in ONE_STAGE and (options.tree.which or not trees.shipped):
        return {}
    if cell.tree == "frequency":
        if cell.layers not in RELEASED_BOUNDARIES:
            raise HMLError(f"{cell.name!r}: the frequency tree has no {cell.layers} layers; give 2, 3 or 4")
        edges = override_text(trees.released_boundaries(cell.layers))
        return {"HML.TREE.BUILDER": "frequency", "HML.TREE.BOUNDARIES": edges, "HML.TREE.LAYERS": str(cell.layers)}
    if cell.tree:
        tree = _named_tree(cell, trees.names).with_layers(cell.layers)
        return {"HML.TREE.FILE": str(trees.saved(tree))}
    if any(key.startswith("HML.TREE.") for key in cell.set):
        return {}
    return trees.overrides(cell.layers, profile)


def check_trees(grid: Grid, options: Options) -> None:
    """HMLError if the tree of a cell cannot be made; called before anything is trained."""
    for cell in grid.cells:
        if cell.staged and not cell.after:
            _tree(cell, _profile(cell, options), options)


def _named_tree(cell: GridCell, names: Sequence[str]) -> PredicateTree:
    tree = find_tree(grid_folder() / "trees", f"*_{cell.tree}.json", names)
    if tree is None:
        raise HMLError(
            f"{cell.name!r}: configs/experiments/trees has no tree {cell.tree!r} with this dataset's {len(names)} "
            "predicates; leave the cell's tree out, or make one with hml tree"
        )
    return tree


def _test(cell: GridCell, parent: GridRun, options: Options) -> Cell:
    chosen = dict(_pairs(parent.cell.overrides))
    chosen.update({"HML.TEST.TAU": override_text(cell.taus), "HML.TEST.PRIOR": cell.prior,
                   "MODEL.WEIGHT": str(parent.cell.output / CHECKPOINT)})
    title = _title(cell.name, parent.predictor, parent.task)
    return _placed(title, parent.cell.config_file, chosen, parent.seed, options, script=TEST_SCRIPT)


def _placed(
    name: str, config: Path, chosen: dict[str, str], seed: int, options: Options, *, script: str = TRAIN_SCRIPT
) -> Cell:
    """The cell in the folder of its settings: grids that hold the same run share it, other settings never meet."""
    words = tuple(word for pair in chosen.items() for word in pair)
    cell = Cell(f"{name}, seed {seed}", config, words, seed, options.data, options.out, script, options.split)
    content: dict[str, Any] = {key: value for key, value in cell.settings().items() if key != "seed"}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
    there = sorted((options.out / "runs").glob(f"*-{digest}-seed{seed}"))
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60]
    folder = there[0] if there else options.out / "runs" / f"{slug}-{digest}-seed{seed}"
    return Cell(cell.name, config, words, seed, options.data, folder, script, cell.split)
