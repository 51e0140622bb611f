"""``hml demo``: a one-stage baseline, a class-balanced control and HML, trained and tested side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..resources import config_file
from ..run_folder import FINAL
from .budget import equal_lengths, stage_lengths, stage_shares
from .demo_report import LABELS
from .grid import override_text
from .pool import run_all
from .presets import DETECTOR_CONFIG, DETECTOR_ITERATIONS, DETECTOR_SCRIPT, NO_VALIDATION, class_counts
from .run import Run
from .tree_choice import DataTrees, TreeChoice

ITERATIONS = 280
MOST_LAYERS = 4
RUNS = ("baseline", "class_balanced", "hml")
@dataclass(frozen=True)
class Demo:
    """What the command line decides for all runs of a demo.

    Attributes:
        config: the benchmark's YAML config. common: overrides of all runs.
        data: dataset folder. out: holds a folder for each run.
        iterations: of a one-stage run; ``budget`` says what HML's stages get.
        layers: of the predicate tree, HML's stages. tree: which one.
        validated: runs validate three times, for a schedule that depends on it.
    """

    config: Path
    common: tuple[str, ...]
    data: Path
    out: Path
    seeds: tuple[int, ...] = (0,)
    profile: str = "paper"
    iterations: int = ITERATIONS
    budget: str = "paper"
    layers: int = 2
    tree: TreeChoice = TreeChoice()
    validated: bool = True

    @cached_property
    def trees(self) -> DataTrees:
        return DataTrees(self.tree, self.data, self.out / "trees")

    def lengths(self) -> dict[str, tuple[int, ...]]:
        """Iterations of the stages of each run."""
        staged = stage_lengths(self.budget, self.iterations, stage_shares(self.layers, self.profile))
        return {"baseline": (self.iterations,), "class_balanced": (self.iterations,), "hml": staged}

    def runs(self) -> list[Run]:
        """The runs, seed by seed, in the order of RUNS."""
        enabled = ("HML.ENABLED", "True", "HML.PROFILE", self.profile)
        lengths = self.lengths()
        # A control trains for the sum of the stages, in one stage: the number of layers is no matter to it.
        control = equal_lengths(self.iterations, stage_shares(2, self.profile))
        tree = [word for pair in self.trees.overrides(self.layers, self.profile).items() for word in pair]
        overrides = {
            "baseline": ("HML.ENABLED", "False"),
            "class_balanced": (*enabled, *_stages(control), "HML.CONTROL", "class_balanced"),
            "hml": (*enabled, *_stages(lengths["hml"]), *tree),
        }
        return [self._run(run, seed, overrides[run], sum(lengths[run])) for seed in self.seeds for run in RUNS]

    def _run(self, run: str, seed: int, overrides: tuple[str, ...], total: int) -> Run:
        parts = [run] if run == "baseline" else [run, self.profile]
        if run == "hml":
            parts += [f"layers{self.layers}"] if self.layers != 2 else []
            parts += [f"{self.budget}-budget"] if self.budget != "paper" else []
        name = LABELS[run] + (f" seed {seed}" if len(self.seeds) > 1 else "")
        words = (*self.common, *overrides, "SOLVER.MAX_ITER", str(total), *self._schedule(total))
        return Run(name, self.config, words, seed, self.data, self.out / "-".join([*parts, f"seed{seed}"]))

    def _schedule(self, total: int) -> tuple[str, ...]:
        if self.validated:
            return ("SOLVER.VAL_PERIOD", str(max(total // 3, 1)))
        return (*NO_VALIDATION, "SOLVER.STEPS", override_text((total * 7 // 10, total * 9 // 10)))


def _stages(lengths: Sequence[int]) -> tuple[str, str]:
    return "HML.STAGES.ITERATIONS", override_text(lengths)


def prepare_data(out: Path) -> Path:
    """The demo's own mini-VG in ``out/data``, made if it is not there."""
    from ..datasets.mini_vg import make_mini_vg

    folder = out / "data"
    return folder if folder.is_dir() else make_mini_vg(folder, seed=0)


def prepare_detector(data: Path, out: Path) -> Path:
    """Weights of the demo's own detector of this dataset, trained in ``out/detector`` if it is not there.

    Raises:
        HMLError: the folder holds another detector.
        RunFailed: the training failed.
    """
    run = Run(
        "detector", config_file(DETECTOR_CONFIG), class_counts(data), 0, data, out / "detector", DETECTOR_SCRIPT
    )
    run_all([run], DETECTOR_ITERATIONS, jobs=1)
    return run.output / f"{FINAL}.pth"
